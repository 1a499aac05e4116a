"""Clusters of heatmaps: what was found, its files and its sheet."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import files
from ...errors import UsageError, did_you_mean
from ...explanation.saving import encode_png
from ...files import to_jsonable
from ...preprocessing import labels as class_labels
from .decision import Decision
from .graph import Array
from .sheet import Example, Row, draw

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("json", "npz", "png")


@dataclass(frozen=True, eq=False)
class ClusterResult:
    """Clusters of the heatmaps of a class: the strategies that the model has for it (SpRAy).

    Cluster 0 is the largest.

    Attributes:
        labels: The cluster of each sample [n]; 0 for all where nothing was found, -1 where there is no relevance.
        names: The names of the samples.
        decision: The number of clusters and what it was decided by.
        means: The mean of each cluster's pooled and normalised maps [K, rows, columns].
        embedding: The lowest eigenvectors of the graph's Laplacian [n, m], over the roots of the degrees.
        eigenvalues: Their eigenvalues [m].
        targets: The class that each sample was explained for [n].
        answers: The best class of each sample [n].
        examples: Of each cluster, the samples nearest to its mean.
        class_names: Names of the classes.
        provenance: Model, method, options and preprocessing.

    References:
        Lapuschkin et al. 2019, "Unmasking Clever Hans predictors and assessing what machines really learn".
    """

    labels: Array
    names: Sequence[str]
    decision: Decision
    means: Array
    embedding: Array
    eigenvalues: Array
    targets: Array
    answers: Array
    examples: Sequence[Sequence[Example]] = ()
    class_names: Sequence[str] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def found(self) -> bool:
        """Whether there is more than one cluster."""
        return self.decision.count > 1

    @property
    def sizes(self) -> list[int]:
        """The samples of each cluster."""
        return [int((self.labels == n).sum()) for n in range(self.decision.count)]

    def members(self, cluster: int) -> list[str]:
        """Return the names of a cluster's samples."""
        return [name for name, label in zip(self.names, self.labels, strict=True) if label == cluster]

    def right(self, cluster: int) -> float:
        """Return the share of a cluster's samples whose best class is the one explained."""
        inside = self.labels == cluster
        return float((self.answers == self.targets)[inside].mean())

    def target_name(self) -> str:
        """Return the label of the class, or "several classes"."""
        ids = np.unique(self.targets)
        return class_labels.name(self.class_names, int(ids[0])) if len(ids) == 1 else "several classes"

    def to_dict(self) -> dict[str, Any]:
        """Return all but arrays in JSON's types."""
        conductance = self.decision.conductance.get(self.decision.count, [None])
        clusters = [
            {"size": size, "answers_target": self.right(n), "conductance": cut, "members": self.members(n)}
            for n, (size, cut) in enumerate(zip(self.sizes, conductance, strict=False))
        ]
        made = {
            "found": self.found,
            "target": self.target_name(),
            "samples": len(self.names),
            "without_relevance": self.members(-1),
            "clusters": clusters,
            "decision": self.decision.to_dict(),
            "eigenvalues": self.eigenvalues,
            "provenance": self.provenance,
        }
        plain: dict[str, Any] = to_jsonable(made)
        return plain

    def save(self, folder: str | Path, formats: Sequence[str] = ("json", "png")) -> list[Path]:
        """Write clusters.json, clusters.npz (labels, mean maps, embedding) and clusters.png (the sheet).

        Args:
            folder: Where; it is made if need be.
            formats: Of "json", "npz" and "png".

        Raises:
            UsageError: There is no such format.
            InputError: A file cannot be written.
        """
        for word in formats:
            if word not in FORMATS:
                raise UsageError(f'no format "{word}"', did_you_mean(word, FORMATS))
        writers = {"json": self._json, "npz": self._npz, "png": self._png}
        return [files.replace(Path(folder) / f"clusters.{word}", writers[word]()) for word in formats]

    def sheet(self) -> Image:
        """Draw the mean map of each cluster beside the pictures nearest to it."""
        rows = [Row(self.caption(n), mean, self.examples[n]) for n, mean in enumerate(self.means)]
        return draw(rows, self.headline(), self.why())

    def headline(self) -> str:
        """Return what was found, in a line."""
        of = f"heatmaps of {self.target_name()}"
        if not self.found:
            return f"Nothing found: {len(self.names)} {of} are one cluster"
        return f"{self.decision.count} clusters of {len(self.names)} {of}"

    def caption(self, cluster: int) -> str:
        """Return the size of a cluster, and how often the model answers with the class there."""
        size, whole = self.sizes[cluster], len(self.names)
        right = f"the model answers with the class in {self.right(cluster):.0%}"
        return f"cluster {cluster}: {size} of {whole} ({size / whole:.0%}); {right}"

    def why(self) -> str:
        """Return what the number of clusters was decided by."""
        d = self.decision
        agree = d.agreement.get(d.count if self.found else 2, 0.0)
        return (
            f"lowest conductance {d.lowest:.3f} ({len(d.null)} shuffled sets: {d.null.min():.3f} or more); "
            f"second eigenvalue {d.eigenvalue:.3f} ({np.median(d.null_eigenvalues):.3f}); {d.components} components; "
            f"agreement {agree:.2f}"
        )

    def _json(self) -> bytes:
        return (json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()

    def _npz(self) -> bytes:
        arrays = {name: getattr(self, name) for name in ("labels", "means", "embedding", "eigenvalues", "targets")}
        arrays |= {"answers": self.answers, "names": np.array(self.names)}
        arrays["provenance"] = np.array(json.dumps(to_jsonable(self.provenance), allow_nan=False))
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    def _png(self) -> bytes:
        words = {"Software": "onnxlrp", "Title": f"clusters of {self.target_name()}"}
        words["onnxlrp.provenance"] = json.dumps(to_jsonable(self.provenance), allow_nan=False)
        return encode_png(self.sheet(), words)
