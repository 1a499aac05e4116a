"""Make the pictures of gallery.md by the commands that the page shows: `python docs/gallery.py [WORD…]`.

With words, only the commands that hold one of them are run.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent
PICTURES = "docs/pictures/"


def commands() -> list[str]:
    """Return the commands of the page that write pictures of the documentation."""
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / "gallery.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = re.sub(r" \\\n\s*", " ", "\n".join(blocks)).splitlines()
    return [line for line in lines if PICTURES in line]


def make(command: str, pictures: str = PICTURES) -> None:
    """Run a command of the page from the root of the sources; its files go to the folder `pictures`."""
    program, *words = shlex.split(command.replace(PICTURES, pictures))
    start = {"onnxlrp": [sys.executable, "-m", "onnxlrp"], "python": [sys.executable]}[program]
    subprocess.run([*start, *words], cwd=DOCS.parent, check=True)


if __name__ == "__main__":
    for command in commands():
        if len(sys.argv) == 1 or any(word in command for word in sys.argv[1:]):
            print(command, flush=True)
            make(command)
