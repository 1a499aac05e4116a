"""Context of a run of checks: the model, its samples, and explanations that are computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import OnnxLrpError, UsageError
from ..explanation import Explanation
from ..explanation.targets import for_samples, from_scores
from ..files import unique_names
from ..findings.finding import MissingData
from ..methods.registry import METHODS
from ..model import Model, load
from ..model.finite import NotFiniteError
from ..model.interface.several_sizes import Group, groups, in_order
from ..preprocessing.samples import Samples
from ..streaming import collect
from .settings import Settings

Array = npt.NDArray[Any]
T = TypeVar("T")


@dataclass(eq=False)
class CheckContext:
    """A model with its samples and settings; everything else is computed on first use.

    Samples may differ in size. A check asks for what every sample has one by one (`names`, `logits`, `targets`,
    `in_order`), or for the `parts`, each a context of samples of one size; `samples`, `explanation` and `maps` of
    several sizes are missing data. Data that is not there raises `MissingData`, so that the check that needs it is
    skipped.

    Attributes:
        model: The model, for samples of this size where they have one.
        settings: The settings of the run.
        given: The samples of one size, None where none are given or they are of several.
        groups: Samples of several sizes.
        ids: The class explained of each sample [N], where the settings do not tell.
    """

    model: Model
    settings: Settings
    given: Samples | None = None
    groups: Sequence[Group] = ()
    ids: Array | None = None

    @classmethod
    def of(cls, model: Model, settings: Settings, x: Any) -> CheckContext:
        """Return the context of samples of any sizes.

        Args:
            model: The model.
            settings: The settings.
            x: Anything that `Model.read` takes; None for no samples.
        """
        found = [] if x is None else groups(model, x)
        if not found:
            return cls(model, settings)
        names = unique_names(map(str, in_order(found, [one.samples.names for one in found])))
        named = [replace(one, samples=replace(one.samples, names=[names[n] for n in one.places])) for one in found]
        if len(named) > 1:
            return cls(model, settings, groups=named)
        (one,) = named
        return cls(_fixed(one.model(model), settings, one.samples), settings, one.samples)

    @property
    def name(self) -> str:
        """The model's file name."""
        return (self.model.path or Path(self.model.graph.source or "model")).name

    @property
    def samples(self) -> Samples:
        """The samples. Raises MissingData where none are given, or where they are of several sizes."""
        if self.groups:
            raise MissingData(
                f"samples of {len(self.groups)} sizes: this check compares those of one",
                "bring them to one size: --size 224x224, size = [224, 224]; or check each size alone",
            )
        if self.given is None:
            raise MissingData(
                "no samples are given", 'give pictures: onnxlrp check MODEL images/, or samples = ["images/"]'
            )
        return self.given

    @property
    def has_samples(self) -> bool:
        """Whether there are samples, of one size or several."""
        return self.given is not None or bool(self.groups)

    @property
    def names(self) -> list[str]:
        """The names of all samples. Raises MissingData where none are given."""
        return self.in_order(lambda part: list(part.samples.names))

    @property
    def are_pictures(self) -> bool:
        """Whether all samples are pictures; so they are where none are given."""
        return not self.has_samples or all(part.samples.pictures for part in self.parts)

    @cached_property
    def parts(self) -> list[CheckContext]:
        """A context for the samples of each size; this one itself where they have one. Raises MissingData."""
        if not self.groups:
            _ = self.samples
            return [self]
        count = sum(len(one.samples) for one in self.groups)
        model = self.model
        asked = for_samples(self.settings.target, model.labels, model.classes, count, model.place)
        ids = asked if isinstance(asked, np.ndarray) else None
        return [
            CheckContext(
                _fixed(one.model(model), self.settings, one.samples),
                self.settings,
                one.samples,
                ids=None if ids is None else ids[one.places],
            )
            for one in self.groups
        ]

    @property
    def places(self) -> list[Array]:
        """The number of each sample of each part among all samples. Raises MissingData."""
        return [one.places for one in self.groups] if self.groups else [np.arange(len(self.samples))]

    def in_order(self, of: Callable[[CheckContext], Sequence[T]]) -> list[T]:
        """Return what each part says of its samples, in the order of all samples. Raises MissingData.

        Args:
            of: Gives a value for each sample of a part.
        """
        values = [of(part) for part in self.parts]
        return in_order(self.groups, values) if self.groups else list(values[0])

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
        return self.model.composite(self.settings, pictures=self.are_pictures)

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
        if self.groups:
            return np.stack(self.in_order(lambda part: list(part.logits)))
        return self.forward(self.model, self.samples.values)["logits"].reshape(len(self.samples), -1)

    def forward(self, model: Model, x: Array) -> Mapping[str, Array]:
        """Compute logits and scores of inputs [N, …]."""
        return model.outputs(x.astype(model.graph.inputs[0].dtype, copy=False), batch_size=self.settings.batch_size)

    @cached_property
    def targets(self) -> Array:
        """The class explained of each sample [N]."""
        if self.groups:
            return np.array(self.in_order(lambda part: list(part.targets)))
        if self.ids is not None:
            return self.ids
        target = self.settings.target
        model = self.model
        found = for_samples(target, model.labels, model.classes, len(self.samples), model.place)
        if isinstance(found, np.ndarray):
            return found
        fixed = model.fixed(self.samples.values, self.settings.batch_size)
        return from_scores(found, fixed.ranked(self.logits))


def _fixed(model: Model, settings: Settings, samples: Samples) -> Model:
    return model.fixed(samples.values, settings.batch_size)


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
