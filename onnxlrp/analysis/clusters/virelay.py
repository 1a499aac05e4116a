"""ViRelAy's files: input, attributions and analysis as HDF5, a label map and a project."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ... import files
from ...errors import InputError, UnsupportedError
from ...explanation import Explanation
from ...streaming.batches import Batch
from ..extras import library
from .result import ClusterResult

INPUT, ATTRIBUTION, ANALYSIS = "input.h5", "attribution.h5", "analysis.h5"
LABELS, PROJECT = "label-map.json", "project.yaml"


class Writer:
    """Writes a project that ViRelAy opens: pictures and relevance batch by batch, clusters and embedding at the end.

    Used as a context; files appear under their names when `close` has written all of them.

    Args:
        folder: The folder of the project.

    Raises:
        UsageError: h5py is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self.h5 = library("h5py", "--format virelay")
        self.folder = folder
        mark = os.urandom(8).hex()
        self.temporary = {name: folder / f".{mark}.{name}.tmp" for name in (INPUT, ATTRIBUTION, ANALYSIS)}
        self.open: dict[str, Any] = {}
        self.count = 0

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.open = {name: self.h5.File(self.temporary[name], "w") for name in (INPUT, ATTRIBUTION)}
        except OSError as error:
            self.__exit__(None, None, None)
            raise InputError(
                f"{self.folder}: cannot be written ({files.reason(error)})", "choose another folder"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self.open.values():
            file.close()
        for path in self.temporary.values():
            with contextlib.suppress(OSError):
                path.unlink()

    def add(self, batch: Batch, explained: Explanation) -> None:
        """Append a batch: its pictures as the model saw them, in 0 to 1, and its relevance [n, colours, H, W].

        Raises:
            UnsupportedError: The input is no picture.
        """
        pictures = [one for one in explained.images or () if one is not None]
        if not explained.kind.is_image or len(pictures) < len(explained):
            raise UnsupportedError("ViRelAy shows pictures, and the input is none", "leave out --format virelay")
        colours = explained.kind.channels_last(explained.relevance).transpose(0, 3, 1, 2)
        seen = [np.asarray(one.convert("L" if colours.shape[1] == 1 else "RGB"), np.float32) for one in pictures]
        data = np.stack([one[None] if one.ndim == 2 else one.transpose(2, 0, 1) for one in seen]) / 255
        self._append(INPUT, data=data, label=explained.target.astype(np.uint16))
        self._append(
            ATTRIBUTION,
            attribution=colours.astype(np.float32),
            prediction=explained.output.reshape(len(explained), -1).astype(np.float32),
            label=explained.target.astype(np.uint16),
            index=np.arange(self.count, self.count + len(explained), dtype=np.uint32),
        )
        self.count += len(explained)

    def _append(self, name: str, **arrays: Any) -> None:
        file = self.open[name]
        for key, values in arrays.items():
            if key not in file:
                shape = values.shape[1:]
                kind = {"compression": "gzip", "chunks": (1 if shape else 1024, *shape)}
                file.create_dataset(key, shape=(0, *shape), maxshape=(None, *shape), dtype=values.dtype, **kind)
            file[key].resize(len(file[key]) + len(values), axis=0)
            file[key][-len(values) :] = values

    def close(self, found: ClusterResult) -> list[Path]:
        """Write the analysis, the label map and the project, and give all files their names.

        Args:
            found: The clusters.

        Returns:
            The files.
        """
        with self.h5.File(self.temporary[ANALYSIS], "w") as file:
            group = file.create_group(_word_net_id(int(found.targets[0])))
            used = np.flatnonzero(found.labels >= 0)
            group["name"] = found.target_name()
            group["index"] = used.astype(np.uint32)
            group["embedding/spectral"] = found.embedding[used].astype(np.float32)
            group["embedding/spectral"].attrs["eigenvalue"] = found.eigenvalues.astype(np.float32)
            name = f"cluster/kmeans-{found.decision.count:02d}"
            group[name] = found.labels[used].astype(np.uint32)
            group[name].attrs["embedding"] = "spectral"
            group[name].attrs["k"] = found.decision.count
            group[name].attrs["index"] = np.arange(found.decision.count, dtype=np.uint32)
        height, width = self.open[INPUT]["data"].shape[2:]
        for file in self.open.values():
            file.close()
        written = []
        for name, path in self.temporary.items():
            os.replace(path, self.folder / name)
            written.append(self.folder / name)
        written.append(files.replace(self.folder / LABELS, _label_map(found)))
        written.append(files.replace(self.folder / PROJECT, _project(found, width, height)))
        return written


def _word_net_id(class_id: int) -> str:
    """The name of a class's analysis: ViRelAy finds it by the `word_net_id` of the label map."""
    return f"{class_id:08d}"


def _label_map(found: ClusterResult) -> bytes:
    count = max(len(found.class_names or ()), int(max(found.targets.max(), found.answers.max())) + 1)
    names: Sequence[str] = found.class_names or [str(n) for n in range(count)]
    rows = [{"index": n, "word_net_id": _word_net_id(n), "name": name} for n, name in enumerate(names)]
    return json.dumps(rows, indent=1).encode()


def _project(found: ClusterResult, width: int, height: int) -> bytes:
    """The project: JSON's strings and numbers are YAML's too."""
    model = Path(str(found.provenance.get("model") or "model")).name
    project = {
        "name": f"{model}: {found.target_name()}",
        "model": model,
        "label_map": LABELS,
        "dataset": {
            "name": "pictures",
            "type": "hdf5",
            "path": INPUT,
            "input_width": width,
            "input_height": height,
            "down_sampling_method": "none",
            "up_sampling_method": "none",
        },
        "attributions": {
            "attribution_method": str(found.provenance.get("method", "")),
            "attribution_strategy": "true_label",
            "sources": [ATTRIBUTION],
        },
        "analyses": [{"analysis_method": "Spectral", "sources": [ANALYSIS]}],
    }
    return (json.dumps({"project": project}, indent=2) + "\n").encode()
