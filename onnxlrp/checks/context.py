"""Context of a run of checks: the model, its samples, and explanations that are computed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OnnxLrpError, UsageError
from ..explanation import Explanation
from ..explanation.targets import for_samples, from_scores
from ..findings.finding import MissingData
from ..methods.registry import METHODS
from ..model import Model, load
from ..model.finite import NotFiniteError
from ..preprocessing.samples import Samples
from ..streaming import collect
from .settings import Settings

Array = npt.NDArray[Any]


@dataclass(eq=False)
class CheckContext:
    """A model with its samples and settings; everything else is computed on first use.

    Data that is not there raises `MissingData`, so that the check that needs it is skipped.

    Attributes:
        model: The model.
        settings: The settings of the run.
        given: The samples, None where none are given.
    """

    model: Model
    settings: Settings
    given: Samples | None = None

    @property
    def name(self) -> str:
        """The model's file name."""
        return (self.model.path or Path(self.model.graph.source or "model")).name

    @property
    def samples(self) -> Samples:
        """The samples. Raises MissingData where none are given."""
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
        if not METHODS[str(self.settings.method)].is_composite:
            return None
        pictures = self.given is None or self.given.pictures
        return self.model.composite(self.settings, pictures=pictures)

    def explain(self, model: Model, samples: Any, target: Any, **more: Any) -> Explanation:
        """Explain samples by the method of the settings.

        Args:
            model: The model of the run, or a changed one.
            samples: Anything that `Model.explain` takes.
            target: The target of the explanation, or the class id of each sample.
            **more: Further options of `Model.explain`.

        Raises:
            MissingData: The method cannot explain this model.
        """
        try:
            return model.explain(samples, self.settings.at(target=target, **more))
        except UsageError:
            raise
        except NotFiniteError as error:  # the check "finite" counts what is wrong
            return error.explanation
        except OnnxLrpError as error:
            raise MissingData(f"the method gives no explanation: {error.message}", error.fix) from None

    @cached_property
    def maps(self) -> Array:
        """Heatmaps [N, H, W]; [N, 1, L] where the input is no picture."""
        return self.heat(self.explanation)

    def heat(self, explanation: Explanation) -> Array:
        """Sum the relevance of an explanation over channels: heatmaps [N, H, W]."""
        return explanation.kind.to_maps(explanation.relevance)

    @cached_property
    def pictures(self) -> Array:
        """Heatmaps [N, H, W] of pictures. Raises MissingData for inputs without spatial axes."""
        kind = self.samples.kind
        if not kind.is_image:
            raise MissingData(f"the input is no picture ({kind.describe()}): it has no height and width", "")
        return self.maps

    @cached_property
    def masks(self) -> list[Array | None]:
        """The mask [H, W] of each sample, None where it has none. Raises MissingData where no folder is given."""
        if self.settings.masks is None:
            raise MissingData("no masks are given", 'give a folder with a mask for each sample: masks = "masks/"')
        folder, grid = self.settings.path(self.settings.masks), self.pictures.shape[1:]
        return collect.masks(folder, self.samples, self.model, grid)

    @cached_property
    def logits(self) -> Array:
        """Logits [N, K] of the samples, by a forward pass."""
        return self.forward(self.model, self.samples.values)["logits"].reshape(len(self.samples), -1)

    def forward(self, model: Model, x: Array) -> Mapping[str, Array]:
        """Compute logits and scores of inputs [N, …]."""
        return model.outputs(x.astype(model.graph.inputs[0].dtype, copy=False), batch_size=self.settings.batch_size)

    @cached_property
    def targets(self) -> Array:
        """The class explained of each sample [N]."""
        target = self.settings.target
        model = self.model
        found = for_samples(target, model.labels, model.classes, len(self.samples), model.place)
        if isinstance(found, np.ndarray):
            return found
        fixed = model.fixed(self.samples.values, self.settings.batch_size)
        return from_scores(found, fixed.ranked(self.logits))


def open_model(path: Path, settings: Settings) -> Model:
    """Load a model with the engine, preprocessing, output and inputs of the settings.

    Raises:
        UsageError: The settings name something that does not exist.
        InputError: The file is no readable model.
        UnsupportedError: The model, or an input of it, is not supported.
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
    words: dict[str, Any] = {"kind": settings.kind, "task": settings.task, "head": settings.head}
    return model.choose(settings.output, settings.input, settings.given or None, **words).for_target(settings.target)
