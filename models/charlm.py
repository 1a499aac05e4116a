"""Train and export charlm.onnx: an LSTM that predicts the next character of Python source code (Karpathy et al. 2015).

Run `python models/charlm.py`. The text is Python's own standard library. Training takes some four minutes on one
processor core; torch is needed only here.
"""

from __future__ import annotations

import sysconfig
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
FILE = HERE / "charlm.onnx"
UNKNOWN = "<unk>"
CHARACTERS = (UNKNOWN, "\n", *map(chr, range(32, 127)))
NAMES = {"\n": "\\n", " ": "space"}
"""What classes are called whose character has no look of its own."""

_SKIPPED = {"test", "tests", "site-packages", "lib2to3", "idlelib", "pydoc_data", "turtledemo", "encodings"}
_EMBEDDED, _WIDTH, _STREAMS, _LENGTH, _STEPS, _RATE = 32, 128, 64, 128, 1000, 8e-3

Ids = NDArray[np.int64]


def files(held_out: bool) -> list[Path]:
    """Return the sources of the standard library in a fixed order: a tenth is held out, by a hash of the name."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = [path.relative_to(root) for path in root.rglob("*.py")]
    kept = [path for path in found if not _SKIPPED.intersection(path.parts) and not path.name.startswith("_sysconfig")]
    return [root / path for path in sorted(kept) if (zlib.crc32(path.as_posix().encode()) % 10 == 0) == held_out]


def text(held_out: bool, characters: int | None = None) -> str:
    """Return the sources, one behind the other, with tabs as spaces; the first `characters` of them."""
    parts = (path.read_text(encoding="utf-8", errors="replace").expandtabs() for path in files(held_out))
    return "".join(parts)[:characters]


def ids(source: str) -> Ids:
    """Return the ids of the characters of a text; that of no other is 0."""
    known = {character: n for n, character in enumerate(CHARACTERS)}
    return np.array([known.get(character, 0) for character in source], np.int64)


def network() -> Any:
    """Return the network: embeddings, one LSTM, a score for each character that may come next."""
    import torch
    from torch import nn

    class Model(nn.Module):
        """From ids [batch, length] to scores [batch, length, characters]."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(len(CHARACTERS), _EMBEDDED)
            self.lstm = nn.LSTM(_EMBEDDED, _WIDTH, batch_first=True)
            self.head = nn.Linear(_WIDTH, len(CHARACTERS))

        def from_state(self, x: Any, state: Any) -> tuple[Any, Any]:
            """Return scores and the state behind the last character, which training goes on from."""
            hidden, state = self.lstm(self.embedding(x), state)
            return self.head(hidden), state

        def forward(self, ids: Any) -> Any:
            return self.from_state(ids, None)[0]

    torch.manual_seed(0)
    return Model()


def train(net: Any, x: Ids) -> float:
    """Train over streams of text that run side by side, each from the state that it has; return the processor seconds.

    A stream starts anew, at another place and from a zero state, one time in fifty: the file has no other state to
    start from.
    """
    import time

    import torch

    began = time.process_time()
    optimiser = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=_STEPS, pct_start=0.1)
    rng, known = np.random.default_rng(0), torch.from_numpy(x)
    last = len(x) - _LENGTH - 1
    at, state = rng.integers(last, size=_STREAMS), None
    for step in range(_STEPS):
        again = (rng.random(_STREAMS) < 0.02) | (at > last)
        at = np.where(again, rng.integers(last, size=_STREAMS), at)
        if state is not None:
            kept = torch.from_numpy(~again)[None, :, None]
            state = tuple(part.detach() * kept for part in state)
        rows = known[torch.from_numpy(at)[:, None] + torch.arange(_LENGTH + 1)]
        scores, state = net.from_state(rows[:, :-1], state)
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), rows[:, 1:].flatten())
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        at = at + _LENGTH
        if step % 100 == 99:
            bits = loss.item() / np.log(2)
            print(f"step {step + 1}/{_STEPS}  {bits:.3f} bits  {time.process_time() - began:.0f} s", flush=True)
    net.eval()
    return time.process_time() - began


def main() -> None:
    """Train, export and measure on held-out files."""
    import platform

    import onnxruntime as ort
    import torch
    from finish import finish, record

    torch.set_num_threads(1)
    net, source = network(), text(held_out=False)
    seconds = train(net, ids(source))
    torch.onnx.export(
        net, torch.from_numpy(ids("import os\n")[None]), str(FILE), dynamo=False, opset_version=17,
        input_names=["ids"], output_names=["logits"],
        dynamic_axes={"ids": {0: "batch", 1: "length"}, "logits": {0: "batch", 1: "length"}},
    )  # fmt: skip
    finish(FILE, {"labels": [NAMES.get(c, c) for c in CHARACTERS]}, tokens=list(CHARACTERS))
    rows = ids(text(held_out=True))[: 200 * 1001].reshape(200, 1001)
    scores = ort.InferenceSession(FILE.read_bytes(), providers=["CPUExecutionProvider"]).run(
        None, {"ids": np.ascontiguousarray(rows[:, :-1])}
    )[0]
    with torch.no_grad():
        own = net(torch.from_numpy(rows[:20, :-1])).numpy()
        lost = torch.nn.functional.cross_entropy(
            torch.from_numpy(scores).flatten(0, 1), torch.from_numpy(rows[:, 1:]).flatten()
        )
    record(
        "charlm",
        held_out_bits_per_character=round(float(lost) / float(np.log(2)), 4),
        held_out_characters=int(rows[:, 1:].size),
        training_characters=len(source),
        training_processor_seconds=round(seconds),
        python=platform.python_version(),
        largest_difference_torch_onnxruntime=float(np.abs(scores[:20] - own).max()),
        bytes=FILE.stat().st_size,
    )


if __name__ == "__main__":
    main()
