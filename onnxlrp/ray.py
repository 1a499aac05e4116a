"""BatchExplainer: explanations of batches in workers of Ray, Spark or a pool of processes. Nothing here imports Ray."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, UsageError, of_type
from .runtime import ForkLock

if TYPE_CHECKING:
    from .model import Model

_MADE = ("relevance", "target", "label", "logit", "output")


class BatchExplainer:
    """Explain batches of a dataset: a dict of arrays in, a dict of arrays out.

    >>> dataset.map_batches(onnxlrp.ray.BatchExplainer, fn_constructor_args=["model.onnx"], concurrency=2)

    It is pickled as what it was made with; the model is opened by the first batch, in the process that runs it. A model
    that is a path has to be there in every worker, and to be the same file as where the explainer was made; bytes
    travel with it.

    Args:
        model: A path, or the bytes of a file.
        column: The column of samples: arrays in the model's own layout, or the paths of files.
        pictures: The arrays of the column are pictures, uint8 [N, height, width, 3] or [N, height, width], which the
            model's preprocessing makes its input of. Paths are read as `explain` reads them.
        targets: A column of the classes to explain, ids or labels, in the place of `target`.
        keep: Columns that go into the result as they are; None for all but the samples.
        target: As of `Model.explain`: one class for each sample.
        method: As of `Model.explain`.
        load: Further arguments of `onnxlrp.load`, by name: prep, engine, providers, size, …
        **keywords: Further arguments of `Model.explain`, by name: rules, options of the method, …

    Raises:
        UsageError: Neither a path nor bytes.
        InputError: The file cannot be read.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        *,
        column: str = "input",
        pictures: bool = False,
        targets: str | None = None,
        keep: Sequence[str] | None = None,
        target: Any = "top1",
        method: Any = "auto",
        load: Mapping[str, Any] | None = None,
        **keywords: Any,
    ) -> None:
        of_type((str, os.PathLike, bytes), "a path, or the bytes of a file", model=model)
        self.model = model if isinstance(model, bytes) else os.path.abspath(model)
        self.column, self.pictures, self.targets, self.keep = column, pictures, targets, keep
        self.target, self.method, self.load, self.keywords = target, method, dict(load or {}), keywords
        self._sha256 = "" if isinstance(model, bytes) else _digest(self.model)
        self._lock = ForkLock()
        self._opened: Model | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_opened": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=ForkLock())

    def opened(self) -> Model:
        """Return the model, opened in this process when it is first asked for.

        Raises:
            OnnxLrpError: It cannot be loaded, or is another file than where the explainer was made.
        """
        with self._lock:
            if self._opened is None:
                from .model import load

                if self._sha256 and _digest(self.model) != self._sha256:
                    raise InputError(
                        f"{self.model!r}: the file is another one than where the explainer was made",
                        "give every worker the same file, or the bytes of it: BatchExplainer(path.read_bytes())",
                    )
                self._opened = load(self.model, **self.load)
            return self._opened

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Explain the samples of a batch.

        Args:
            batch: Columns by name, N rows each.

        Returns:
            The kept columns, "relevance" [N, …], "target" [N] (int64), "label" [N] (text, "" where the classes have no
            names), "logit" [N] and "output" [N, K], the model's scores.

        Raises:
            UsageError: A column is missing, or has the name of a result; or several targets of each sample.
            OnnxLrpError: The samples cannot be read, or the method does not fit.
        """
        asked = [self.column, *filter(None, [self.targets]), *(self.keep or ())]
        for name in asked:
            if name not in batch:
                raise UsageError(f'the batch has no column "{name}"', f"it has {', '.join(map(repr, batch))}")
        kept = [name for name in batch if name != self.column] if self.keep is None else list(self.keep)
        if taken := [name for name in kept if name in _MADE]:
            raise UsageError(
                f"the batch has a column {taken[0]!r}, as the result has", "rename it, or leave it out: keep=[…]"
            )
        explained = self.opened().explain(
            self._samples(batch[self.column]),
            self.target if self.targets is None else list(batch[self.targets]),
            self.method,
            **self.keywords,
        )
        if explained.target.ndim != 1:
            raise UsageError("a row of a dataset has one target", "explain one: target='top1', a class, or a column")
        names: Any = explained.labels
        made = {
            "relevance": explained.relevance,
            "target": explained.target.astype(np.int64),
            "label": np.array([names[k] if names else "" for k in explained.target], dtype=object),
            "logit": explained.logit,
            "output": explained.output,
        }
        return {name: batch[name] for name in kept} | made

    def _samples(self, column: Any) -> Any:
        """Return what `explain` takes: an array of inputs, a list of pictures, or a list of paths."""
        values = np.asarray(column)
        if values.dtype.kind in "UO" and len(values) and all(isinstance(one, str) for one in values):
            return [str(one) for one in values]
        if values.dtype == object:  # rows of arrays
            values = np.stack([np.asarray(one) for one in values])
        if not self.pictures:
            return values
        if values.dtype != np.uint8 or values.ndim not in (3, 4):
            raise InputError(
                f"pictures are uint8 [N, height, width, 3], and the column has {values.dtype} {list(values.shape)}",
                "leave out pictures=True for arrays in the model's own layout",
            )
        from PIL import Image

        return [Image.fromarray(one) for one in values]


def _digest(path: str | bytes) -> str:
    """Return the SHA-256 of a file."""
    import hashlib

    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path!r} cannot be read: {error.strerror}", "check the path") from None
