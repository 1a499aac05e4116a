"""Make an atlas: collect, write, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from ... import files
from ...errors import OnnxLrpError
from ...files import refuse_other
from ...graph.outputs.units import Unit
from ...graph.recognition.receptive_field import receptive_field
from ...version import __version__
from . import store
from .asked import FORMATS, Asked
from .atlas import AtlasData, LayerUnits, shown_rows
from .collect import SECONDS, Collector, Progress, Reject
from .source import Pictures, pictures
from .tops import Array


class Interrupted(Exception):
    """A run was stopped; its state is in the folder."""


class Atlas(AtlasData):
    """The samples that every unit of a model answers to most (ActMax, RelMax), and the units of every class.

    >>> atlas = Atlas.build(model, "images/", "atlas/")
    >>> atlas.top("layer4:12", by="relevance")

    References:
        Achtibat et al. 2023, "From attribution maps to human-understandable explanations through concept relevance
        propagation".
    """

    @classmethod
    def build(
        cls,
        model: Any,
        images: str | Path | Sequence[str | Path],
        folder: str | Path,
        method: Any = "auto",
        *,
        options: Mapping[str, Any] | None = None,
        formats: Sequence[str] = FORMATS,
        resume: bool = False,
        progress: Progress = lambda done, total: True,
        reject: Reject | None = None,
        every: float = SECONDS,
        **asked: Any,
    ) -> Self:
        """Read samples once and keep what every unit answers to most; memory does not grow with their number.

        A unit's value is Σ_space a, or the maximum; its relevance Σ_space R / Σ_channels |Σ_space R|.

        Args:
            model: The model, as `onnxlrp.load` returns it.
            images: Files, folders and globs; folders may have subfolders of classes.
            folder: Where the atlas is written.
            method: The composite of relevance.
            options: Options of the method.
            formats: "json", "npz": the files of data.
            resume: Go on with a run that was cut; the files are those of a run that was not.
            progress: Called as progress(done, of); returning False stops, and keeps the state.
            reject: Called with each item that cannot be read; by default such items are rows with their error.
            every: Seconds between two states that a run can go on from.
            **asked: Fields of `asked.Asked`: layers, top, by, value, target, folders, batch_size, heatmaps.

        Raises:
            UsageError: An option, layer or class that does not exist; a folder that another run made.
            InputError: Samples that do not fit together, or files that cannot be written.
            UnsupportedError: A layer without a rule.
            Interrupted: `progress` returned False.
        """
        wanted, folder = Asked.of(asked), Path(folder)
        words = [images] if isinstance(images, str | Path) else images
        source = pictures([str(word) for word in words])
        rules, about = propagation(model, method, options or {})
        return cls.collect(model, source, folder, wanted, rules, about, formats=formats, resume=resume,
                           progress=progress, reject=reject or (lambda row: None), every=every)  # fmt: skip

    @classmethod
    def collect(
        cls,
        model: Any,
        source: Pictures,
        folder: Path,
        asked: Asked,
        rules: Callable[[bool], Any],
        method: Mapping[str, Any],
        *,
        formats: Sequence[str] = FORMATS,
        resume: bool = False,
        progress: Progress,
        reject: Reject,
        every: float = SECONDS,
    ) -> Self:
        """Collect as `build` does, of what is ready: the source, and the rules with the words for them."""
        about = identity(model, source, asked, method)
        finished = store.manifest(folder) if resume else None
        store.clear(folder)
        if finished is not None:
            refuse_other(folder, finished["identity"], about, store.OTHER)
            if (folder / store.UNITS).exists():
                (folder / store.STATE).unlink(missing_ok=True)
                return cls.read(folder)  # type: ignore[no-any-return]
        collector = Collector(model, asked, rules, source, folder, about, every)
        if not collector.run(resume, progress, reject):
            raise Interrupted
        layers = [_layer(collector.model, unit, collector, n) for n, unit in enumerate(collector.layers)]
        numbers = {"samples": collector.number, "rejected": collector.rejected}
        words = {"identity": files.to_jsonable(about), **numbers, "labels": model.labels, "formats": list(formats)}
        words["kind"] = collector.model.kind.to_dict()
        words["layers"] = [
            {"label": unit.label, "tensor": unit.tensor, "shape": list(unit.shape), "axis": unit.axis}
            for unit in collector.layers
        ]
        shown = [top.samples for one in layers for top in one.tops.values()]
        made = cls(folder, layers, collector.sums.ordered(), words, shown_rows(folder / store.ROWS, shown))
        made.save(formats)
        (folder / store.STATE).unlink(missing_ok=True)
        return made


def propagation(model: Any, method: Any, options: Mapping[str, Any]) -> tuple[Callable[[bool], Any], dict[str, Any]]:
    """Return what gives the composite of a method (told whether samples are pictures), and the words for it.

    Args:
        model: The model.
        method: A name, a Composite, or ExplainOptions that are ready.
        options: Options of a method that is named.

    Raises:
        UsageError: No such method or option, or a method that is no composite.
    """
    if hasattr(method, "recorded"):
        method = model.decided(method)
        words = {"method": str(getattr(method.method, "name", method.method)), "options": dict(method.options)}
        words |= dict(method.recorded())

        def rules(pictures: bool) -> Any:
            return model.composite(method, pictures=pictures)
    else:
        words = {"method": model.composite(method, pictures=False, **options).name, "options": dict(options)}

        def rules(pictures: bool) -> Any:
            return model.composite(method, pictures=pictures, **options)

    rules(False)
    return rules, words


def identity(model: Any, source: Pictures, asked: Asked, method: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be the same for a run to go on."""
    graph = model.graph
    try:
        preprocessing = model.preprocessing.to_dict()
    except OnnxLrpError:  # the input is no picture
        preprocessing = None
    how = {name: value for name, value in vars(asked).items() if name != "heatmaps"}
    made = {"model": graph.sha256, "input": graph.inputs[0].name, "output": graph.outputs[0].name}
    relevance = dict(method) if "relevance" in asked.by else {"method": None}
    made |= {**relevance, "preprocessing": preprocessing, **how, "given": sorted(model.given)}
    made |= {"pictures": f"{len(source.items)} ({source.digest})", "engine": model.engine.name, "onnxlrp": __version__}
    return made


def _layer(model: Any, unit: Unit, collector: Collector, number: int) -> LayerUnits:
    field = receptive_field(model.graph, unit.tensor, unit.axis)
    space = unit.space
    positions = [field.box(tuple(int(i) for i in at)) for at in np.ndindex(*space)] if space else [field.box(())]
    boxes: Array = np.array(positions, np.int32).reshape(len(positions), len(field.shape), 2)
    tops = {by: top[number] for by, top in collector.tops.items()}
    return LayerUnits(unit, boxes, tops)
