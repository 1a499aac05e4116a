"""Patterns of a model's linear layers (Kindermans et al. 2018), and the .npz files that hold them."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import files
from .errors import InputError, UsageError

Array = npt.NDArray[Any]
FORMAT = "onnxlrp patterns 1"
MAKE = "onnxlrp patterns MODEL.onnx IMAGES... -o MODEL.patterns.npz"


@dataclass(frozen=True, eq=False)
class Patterns:
    """The patterns of a model's linear layers, the directions of the signal in their inputs.

    Args:
        arrays: Pattern of each layer by node name or path, in the shape of the layer's weight.
        sha256: Digest of the model's file; "" where it is not known.
        about: How they were estimated.

    References:
        Kindermans et al., Learning how to explain neural networks: PatternNet and PatternAttribution, ICLR 2018.
    """

    arrays: Mapping[str, Array]
    sha256: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def digest(self) -> str:
        """A hash of the arrays, the key under which compiled programs are kept."""
        made = hashlib.sha256()
        for name in sorted(self.arrays):
            array = np.ascontiguousarray(self.arrays[name])
            made.update(f"{name}\0{array.shape}{array.dtype}".encode())
            made.update(array.view(np.uint8).reshape(-1).data if array.size else b"")
        return made.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Patterns) and (self.sha256, self.digest) == (other.sha256, other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Patterns of {len(self.arrays)} layers"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write an .npz file, completely or not at all.

        Args:
            path: The file.

        Returns:
            The path of the file.

        Raises:
            InputError: The file cannot be written.
        """
        names = list(self.arrays)
        stated = {"format": FORMAT, "sha256": self.sha256, "layers": names, **self.about}
        buffer = io.BytesIO()
        arrays = {f"pattern{i}": self.arrays[name] for i, name in enumerate(names)}
        np.savez(buffer, about=np.array(json.dumps(stated)), **arrays)  # type: ignore[arg-type]
        return files.replace(Path(path), [buffer.getbuffer()])


def of(given: Any, method: str) -> Patterns:
    """Return the value of a method's option `patterns` as Patterns.

    Args:
        given: Path of an .npz file, mapping of arrays by layer, or Patterns.
        method: The method's name, for messages.

    Raises:
        UsageError: There are none, or they are of another type.
        InputError: The file holds no patterns.
    """
    if given is None:
        raise UsageError(
            f'method "{method}" needs the patterns of the model, estimated from images',
            f"{MAKE}, then --patterns MODEL.patterns.npz",
        )
    if isinstance(given, Patterns):
        return given
    if isinstance(given, Mapping):
        return Patterns({name: np.asarray(array) for name, array in given.items()})
    if isinstance(given, str | os.PathLike):
        return load(Path(given))
    raise UsageError(f"patterns: {type(given).__name__} is neither a path nor a mapping", "give a path of an .npz file")


def load(path: Path) -> Patterns:
    """Return the patterns in a file, read again only if it has changed.

    Args:
        path: The .npz file.

    Raises:
        InputError: It is missing or holds no patterns.
    """
    files.check(path)
    stat = path.stat()
    return _load(path.resolve(), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _load(path: Path, *_: int) -> Patterns:
    try:
        with np.load(path, allow_pickle=False) as found:
            about = json.loads(str(found["about"][()]))
            if about.pop("format") != FORMAT:
                raise ValueError("another format")
            arrays = {name: found[f"pattern{i}"] for i, name in enumerate(about.pop("layers"))}
            made = Patterns(arrays, str(about.pop("sha256")), about)
    except Exception as error:  # zipfile, numpy and json raise anything from BadZipFile to zlib.error on a damaged file
        raise InputError(f"{path}: no patterns ({files.reason(error)})", MAKE) from None
    if any(a.dtype.kind != "f" or not np.isfinite(a).all() for a in arrays.values()):
        raise InputError(f"{path}: patterns must be finite floating-point numbers", MAKE)
    return made
