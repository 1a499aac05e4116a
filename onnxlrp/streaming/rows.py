"""Files of rows: a line of JSON for each, appended while a run goes."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError


@dataclass(eq=False)
class Rows:
    """Rows that are appended to a file, which gets its name at the end.

    Attributes:
        final: The file at the end of the run; until then it is called NAME.part.
        size: Bytes that are written.
    """

    final: Path
    size: int = 0

    @property
    def path(self) -> Path:
        """The file, under its name of a run that is not at its end."""
        return self.final.with_name(self.final.name + ".part")

    def begin(self, size: int = 0) -> None:
        """Cut the file to what a run knows of. Raises InputError where that is more than there is."""
        try:
            self.final.parent.mkdir(parents=True, exist_ok=True)
            if size and not self.path.exists() and self.final.exists():
                os.replace(self.final, self.path)  # the run was cut at its very end
            with open(self.path, "ab") as file:
                there = file.seek(0, os.SEEK_END)
                if there < size:
                    raise InputError(f"{self.path}: shorter than the run left it", "start anew in another folder: -o")
                file.truncate(size)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({files.reason(error)})", "another folder: -o") from None
        self.size = size

    def written(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that a run knows of, of a file that may hold more. Raises InputError."""
        path = self.path if self.path.exists() else self.final
        if self.size and not path.exists():
            raise InputError(f"{path}: the rows of the run were deleted", "start anew in another folder: -o")
        return rows(path, self.size) if self.size else iter(())

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows. Raises InputError."""
        text = "".join(json.dumps(files.to_jsonable(row), ensure_ascii=True) + "\n" for row in rows).encode()
        try:
            with open(self.path, "ab") as file:
                file.write(text)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({files.reason(error)})", "free some space") from None
        self.size += len(text)

    def end(self) -> Path:
        """Give the file its name."""
        os.replace(self.path, self.final)
        return self.final

    def discard(self) -> None:
        """Remove the file of a run that did not come to its end."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def rows(path: Path, size: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, one at a time.

    Args:
        path: The file.
        size: The number of its bytes that are read; all, if not given.

    Raises:
        InputError: It cannot be read, a row is damaged, or there are less bytes.
    """
    files.check(path)
    read = 0
    with path.open("rb") as file:
        for line in file:
            if read == size:
                return
            read += len(line)
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError
            except ValueError:
                raise InputError(f"{path}: a damaged row", "start anew in another folder: -o") from None
            yield row
    if size is not None and read != size:
        raise InputError(f"{path}: shorter than the run left it", "start anew in another folder: -o")
