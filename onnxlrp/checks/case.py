"""What the checks of one run share: the model, its samples, and explanations that are computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import rules
from ..composites import PRESETS
from ..errors import OnnxLrpError, UsageError
from ..explanation import Explanation, maps
from ..explanation.targets import for_samples, from_scores
from ..findings.finding import MissingData
from ..model import Model, load
from ..preprocessing.samples import Samples
from ..streaming import collect
from .settings import Settings

Array = npt.NDArray[Any]


@dataclass(eq=False)
class Case:
    """A model under examination. What it lacks raises `Missing`, so that the check that needs it is skipped."""

    model: Model
    settings: Settings
    given: Samples | None = None

    @property
    def name(self) -> str:
        """The model's file name."""
        return (self.model.path or Path(self.model.graph.source or "model")).name

    @property
    def samples(self) -> Samples:
        """The samples."""
        if self.given is None:
            raise MissingData(
                "no samples are given", 'give pictures: onnxlrp check MODEL images/, or samples = ["images/"]'
            )
        return self.given

    @cached_property
    def explanation(self) -> Explanation:
        """The explanation of every sample for its target, with the ledger where the method has one."""
        return self.explain(self.model, self.samples, self.targets, ledger=self.conserves)

    @property
    def conserves(self) -> bool:
        """Whether the method is a composite that starts from the logit: its ledger can close."""
        return self.composite is not None and self.composite.seed != "one"

    @cached_property
    def composite(self) -> Any:
        """The composite of the method; None for a method that is none."""
        if self.settings.method not in PRESETS:
            return None
        pictures = self.given is None or self.given.pictures
        return self.model.composite(self.settings.method, pictures=pictures, **self._how)

    def explain(self, model: Model, samples: Any, target: Any, **more: Any) -> Explanation:
        """The explanation of some samples by this method, of this model or a changed one. Raises Missing."""
        settings = self.settings
        try:
            return model.explain(
                samples, target, settings.method, batch_size=settings.batch_size, **self._how, **_stated(more)
            )
        except UsageError:
            raise
        except OnnxLrpError as error:
            raise MissingData(f"there is no explanation: {error.message}", error.fix) from None

    @property
    def _how(self) -> dict[str, Any]:
        settings = self.settings
        entries = [(match, rules.parse(rule)) for match, rule in settings.rules.items()]
        on_unsupported = "" if settings.on_unsupported == "error" else settings.on_unsupported
        return {**_stated({"rules": entries, "on_unsupported": on_unsupported}), **settings.options}

    @cached_property
    def maps(self) -> Array:
        """The heatmaps [N, H, W]; [N, 1, L] where the input is no picture."""
        return self.heat(self.explanation)

    def heat(self, explanation: Explanation) -> Array:
        """The heatmaps [N, H, W] of an explanation."""
        prep = self.model.preprocessing if self.samples.pictures else None
        return maps.of(explanation.relevance, prep.layout if prep else None)

    @cached_property
    def pictures(self) -> Array:
        """The heatmaps [N, H, W], of pictures alone."""
        if self.maps.shape[1] < 8 and not self.samples.pictures:
            shape = self.samples.values.shape[1:]
            raise MissingData(f"an input of shape {shape} is no picture: it has no places", "")
        return self.maps

    @cached_property
    def masks(self) -> list[Array | None]:
        """The mask of each sample, None where it has none."""
        if self.settings.masks is None:
            raise MissingData("no masks are given", 'give a folder with a mask for each sample: masks = "masks/"')
        folder, grid = self.settings.path(self.settings.masks), self.pictures.shape[1:]
        names = enumerate(self.samples.names)
        return [collect.mask(folder, name, self.samples, i, self.model, grid) for i, name in names]

    @cached_property
    def logits(self) -> Array:
        """The logits [N, K] of the samples, by the forward pass alone."""
        return self.forward(self.model, self.samples.values)["logits"].reshape(len(self.samples), -1)

    def forward(self, model: Model, x: Array) -> Mapping[str, Array]:
        """Logits and scores of inputs [N, …]."""
        return model.outputs(x.astype(model.graph.inputs[0].dtype, copy=False), batch_size=self.settings.batch_size)

    @cached_property
    def targets(self) -> Array:
        """The class [N] that each sample is explained for."""
        asked = self.settings.target
        found = for_samples(asked, self.model.labels, self.model.classes, len(self.samples))
        return found if isinstance(found, np.ndarray) else from_scores(found, self.logits)


def opened(path: Path, settings: Settings) -> Model:
    """A model with the engine, preprocessing, output and inputs of the settings.

    Raises UsageError, InputError, UnsupportedError.
    """
    model = load(
        path,
        settings.engine,
        prep=settings.prep,
        strict=settings.strict,
        size=settings.size,
        max_memory=settings.max_memory,
        allow_linked_data=settings.allow_linked_data,
    )
    return model.choose(settings.output, settings.input, settings.given or None)


def _stated(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say something: a method that is no composite takes no others."""
    return {name: value for name, value in options.items() if value not in ("", None, False, [])}
