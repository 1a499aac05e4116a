"""TCAV: is a class sensitive to a concept in a layer, more than to random sets of pictures?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, UsageError, at_least, one_of
from ...explanation.targets import for_samples
from ...files import to_jsonable
from ...preprocessing import labels as class_labels
from ...preprocessing.images import SUFFIXES
from ...streaming.sources import Source
from ..reading import Progress, Reject, go_on, refuse, source_of
from .cav import CLASSIFIERS, Fit, LinearClassifier, fitted_by, mean_difference
from .layer import Array, LayerView, Reader
from .significance import Verdict, is_degenerate, is_same_everywhere, judge, needed, random_sets

LEAST = 10  # samples of a concept, a random set or a class
BLOCK = 1 << 28  # numbers of gradients that are held at a time: 1 GB
STATISTICS = ("magnitude", "sign")


@dataclass(frozen=True)
class TcavOptions:
    """How concepts are tested.

    Attributes:
        classifier: "fastcav" (difference of means), "svm" or "logistic".
        statistic: The score that decides: "magnitude", the mean derivative at the class's samples, or "sign", the share
            of them whose derivative is positive, which saturates: many random sets have 0 or 1 too.
        space: Of a layer's activation, "flat" or "mean".
        runs: Resamplings of the interval.
        alpha: The level, before its correction for the number of tests.
        tests: The number of tests that the level is corrected for.
        permutations: Random sets; 0 for as many as the corrected level needs.
        seed: The seed.
    """

    classifier: str = "fastcav"
    statistic: str = "magnitude"
    space: str = "flat"
    runs: int = 200
    alpha: float = 0.05
    tests: int = 1
    permutations: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        one_of(CLASSIFIERS, classifier=self.classifier)
        one_of(STATISTICS, statistic=self.statistic)
        at_least(2, whole=True, runs=self.runs)
        at_least(1, whole=True, tests=self.tests)
        at_least(0, whole=True, permutations=self.permutations, seed=self.seed)
        if not 0 < self.alpha < 1:
            raise UsageError(f"alpha={self.alpha}", "give a level such as 0.05")

    @property
    def sets(self) -> int:
        """The number of random sets."""
        return self.permutations or needed(self.tests, self.alpha)


@dataclass(frozen=True, eq=False)
class ConceptTest:
    """The result of one concept, class and layer.

    Attributes:
        concept: The name of the concept.
        target: The class.
        layer: The layer.
        sign: The test of the share of positive derivatives (TCAV's score).
        magnitude: The test of the mean derivative.
        statistic: The one that decides.
        degenerate: Why the sign score cannot decide, "" where it can.
        samples: Samples of the concept, the random set and the class.
        vector: The concept activation vector [d].
        options: How it was tested.
        provenance: The model.
    """

    concept: str
    target: str
    layer: str
    sign: Verdict
    magnitude: Verdict
    statistic: str
    degenerate: str
    samples: tuple[int, int, int]
    vector: Array
    options: TcavOptions
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The test that decides."""
        return self.sign if self.statistic == "sign" else self.magnitude

    @property
    def significant(self) -> bool:
        """Whether the class is sensitive to the concept, more than to random sets."""
        return self.verdict.significant

    def to_dict(self) -> dict[str, Any]:
        """Return all but the vector in JSON's types."""
        made: dict[str, Any] = {name: getattr(self, name) for name in ("concept", "target", "layer", "statistic")}
        made["degenerate"] = self.degenerate or None
        made["samples"] = dict(zip(("concept", "random", "class"), self.samples, strict=True))
        for name in ("sign", "magnitude"):
            one: Verdict = getattr(self, name)
            made[name] = {
                "score": one.score,
                "interval": one.interval,
                "random_mean": one.centre,
                "random_deviation": float(one.null.std()),
                "effect": one.effect,
                "p": one.p,
                "significant": one.significant,
            }
        made |= {"level": self.verdict.level, "random_sets": len(self.verdict.null), "significant": self.significant}
        plain: dict[str, Any] = to_jsonable({**made, "options": self.options.__dict__, "provenance": self.provenance})
        return plain


class Concept:
    """A concept: samples that show it, and samples that do not.

    Args:
        samples: Files, folders, globs; or arrays and pictures.
        name: Its name; by default that of the folder.

    References:
        Kim et al. 2018, "Interpretability Beyond Feature Attribution: Quantitative Testing with Concept Activation
        Vectors (TCAV)".
    """

    def __init__(self, samples: Any, name: str = "") -> None:
        self.source = source_of(samples)
        self.name = name or (Path(samples).name if isinstance(samples, str | Path) else "concept")

    def test(
        self,
        model: Any,
        images: Any,
        target: Any,
        layer: str,
        random: Any = None,
        *,
        batch_size: int = 8,
        progress: Progress = go_on,
        reject: Reject = refuse,
        **options: Any,
    ) -> ConceptTest:
        """Test whether a class is sensitive to the concept in a layer.

        Directional derivatives of the class's logit along the concept activation vector are taken at the samples of the
        class. The score counts as significant where it is further from the mean score of random sets, drawn from the
        concept's and the random samples together, than all but a share α / tests of these sets. (The usual t-test over
        runs is wrong: runs share samples, and a fixed random set becomes significant with their number.)

        Args:
            model: The model, as `onnxlrp.load` returns it.
            images: Samples; those that the model answers with the class are the class's.
            target: The class, an id or a label.
            layer: The layer.
            random: Samples that do not show the concept; by default those of `images` with other answers.
            batch_size: Samples of a batch.
            progress: Told of the items done of each pass.
            reject: Told of items that cannot be read.
            **options: Fields of TcavOptions.

        Raises:
            UsageError: A layer, class or option that does not exist.
            InputError: Fewer than 10 samples of the concept, the class or the random set, or no gradient.
        """
        reader = Reader(model, batch_size, progress, reject)
        chosen = TcavOptions(**options)
        view, class_id = check(model, self, images, target, layer, random, chosen)
        images, random = source_of(images), None if random is None else source_of(random)
        return test(reader, self, images, class_id, view, random, chosen)


def check(
    model: Any, concept: Concept, images: Any, target: Any, layer: str, random: Any, o: TcavOptions
) -> tuple[LayerView, int]:
    """Return the layer and the class id of a test; raise what can be known to be wrong before a sample is run.

    Args:
        model: The model.
        concept: The concept.
        images: The samples of the class.
        target: The class, an id or a label.
        layer: The layer.
        random: The samples that do not show the concept, if given.
        o: How it is tested.

    Raises:
        UsageError: A layer or class that does not exist, or a library that is not installed.
        InputError: Fewer than 10 pictures.
    """
    fitted_by(o.classifier)
    view, class_id = LayerView.of(model, layer, o.space), _class_id(model, target)
    if (count := _most(concept.source)) < LEAST:
        raise _few_of_concept(concept, int(count))
    if random is not None and (count := _most(source_of(random))) < LEAST:
        raise _few_random(int(count))
    if (count := _most(source_of(images))) < LEAST:
        raise InputError(
            f"{count:g} samples: {LEAST} or more of the class are needed", "give more pictures of the class"
        )
    return view, class_id


def _most(source: Source) -> float:
    """How many samples a source has at most: a picture is one, any other file may hold any number."""
    alone = (item.path is not None and Path(item.origin).suffix.lower() in SUFFIXES for item in source)
    return len(source) if all(alone) else math.inf


def _few_of_concept(concept: Concept, count: int) -> InputError:
    return InputError(
        f"{concept.name}: {count} samples of the concept, {LEAST} or more are needed", "give more of them"
    )


def _few_random(count: int) -> InputError:
    return InputError(f"{count} random samples, {LEAST} or more are needed", "give more of them: --random DIR")


@dataclass(eq=False)
class _Gathered:
    """What one pass over the concept's and the random samples leaves."""

    products: list[Array] = field(default_factory=list)
    sums: list[Array] = field(default_factory=list)  # of the concept, of all
    kept: list[Array] = field(default_factory=list)
    counts: tuple[int, int] = (0, 0)


def test(
    reader: Reader,
    concept: Concept,
    images: Source,
    class_id: int,
    view: LayerView,
    random: Source | None,
    o: TcavOptions,
) -> ConceptTest:
    """Test a concept, as `Concept.test` does, once `check` has passed."""
    model = view.model
    others: list[bool] = []
    blocks: list[tuple[_Gathered, Array]] = []
    for gradients in _blocks(reader, images, view, class_id, others):
        if random is None:
            rest = sum(others)
            if rest < LEAST:
                raise InputError(
                    f"{rest} samples have another answer: a random set needs {LEAST} or more",
                    "give samples that do not show the concept: --random DIR",
                )
        passed = _gather(reader, concept, images, random, others, view, gradients, keep=o.classifier != "fastcav")
        blocks.append((passed, gradients))
    if not blocks:
        raise InputError("no samples", "give pictures of the class")
    first = blocks[0][0]
    products = np.concatenate([np.concatenate(one.products, axis=1) for one, _ in blocks]).astype(np.float64)
    cosine = _cosines([gradients for _, gradients in blocks])
    n, m = first.counts, len(products)
    fit: Fit = mean_difference if o.classifier == "fastcav" else _classifier(first, o)
    own = np.arange(sum(n)) < n[0]
    if o.classifier == "fastcav":
        vector = first.sums[0] / n[0] - first.sums[1] / sum(n)
    else:
        vector = fit(own) @ np.concatenate(first.kept)
    sets = random_sets(sum(n), n[0], o.sets, np.random.default_rng(o.seed))
    level, verdicts = o.alpha / o.tests, {}
    weights = np.stack([fit(inside) for inside in sets])
    for kind in ("sign", "magnitude"):
        verdicts[kind] = judge(products, n[0], kind, fit, weights, o.runs, level, np.random.default_rng(o.seed + 1))
    why = _degenerate(cosine, verdicts["sign"].null, view)
    about = {"model": model.graph.source, "sha256": model.graph.sha256, "engine": model.engine.name}
    name = class_labels.name(model.labels, class_id)
    return ConceptTest(concept.name, name, view.unit.label, verdicts["sign"], verdicts["magnitude"], o.statistic, why,
                       (*n, m), np.asarray(vector, np.float32), o, about)  # fmt: skip


def _class_id(model: Any, target: Any) -> int:
    found = for_samples(target, model.labels, model.classes, 1)
    if not isinstance(found, np.ndarray) or found.ndim > 1:
        raise UsageError(f"target {target!r}: concepts are tested for one class", "name it: -t CLASS")
    return int(found[0])


def _blocks(reader: Reader, images: Source, view: LayerView, class_id: int, others: list[bool]) -> Iterator[Array]:
    """Yield the gradients [m, d] of the class's samples, as many at a time as a block holds.

    `others` gets for each sample of `images` whether its answer is another class; it is complete with the first block,
    for which all samples are looked at.
    """
    rows = max(1, BLOCK // view.size)
    held: list[Array] = []
    count = 0
    for samples in reader(images):
        slope, logits = view.gradients(samples.values, class_id)
        mine = logits.argmax(axis=1) == class_id if logits.shape[1] > 1 else np.ones(len(logits), bool)
        others += (~mine).tolist()
        held.append(slope[mine])
        count += int(mine.sum())
    whole = np.concatenate(held) if held else np.zeros((0, view.size), np.float32)
    if count < LEAST:
        raise InputError(
            f"{count} of {len(others)} samples are answered with the class: {LEAST} or more are needed",
            "give more pictures of the class",
        )
    if not np.any(whole):
        raise InputError(
            f"{view.unit.label}: the gradient of the class is zero there at all samples",
            "name a layer between the input and the output",
        )
    for start in range(0, count, rows):
        yield whole[start : start + rows]


def _gather(
    reader: Reader,
    concept: Concept,
    images: Source,
    random: Source | None,
    others: Sequence[bool],
    view: LayerView,
    gradients: Array,
    keep: bool,
) -> _Gathered:
    """Pass over the concept's and the random samples: products with the gradients, and sums; nothing else is kept."""
    found = _Gathered(sums=[np.zeros(view.size), np.zeros(view.size)])

    def add(x: Array, is_concept: bool) -> None:
        vectors = view.vectors(view.activations(x))
        found.products.append(gradients @ vectors.T)
        total = vectors.sum(axis=0, dtype=np.float64)
        found.sums[1] += total
        if is_concept:
            found.sums[0] += total
        if keep:
            found.kept.append(vectors)

    counts = [0, 0]
    for samples in reader(concept.source):
        add(samples.values, True)
        counts[0] += len(samples)
    if counts[0] < LEAST:
        raise _few_of_concept(concept, counts[0])
    position = 0
    for samples in reader(images if random is None else random):
        chosen = np.ones(len(samples), bool)
        if random is None:
            chosen = np.array(others[position : position + len(samples)])
            position += len(samples)
        if chosen.any():
            add(samples.values[chosen], False)
            counts[1] += int(chosen.sum())
    if counts[1] < LEAST:
        raise _few_random(counts[1])
    found.counts = (counts[0], counts[1])
    return found


def _classifier(found: _Gathered, o: TcavOptions) -> LinearClassifier:
    vectors = np.concatenate(found.kept).astype(np.float64)
    vectors -= vectors.mean(axis=0)
    return LinearClassifier.of(vectors @ vectors.T, o.classifier)


def _cosines(blocks: Sequence[Array]) -> Array:
    """The cosine of each sample's gradient [m] with the mean of all."""
    mean = np.mean([block.mean(axis=0, dtype=np.float64) for block in blocks], axis=0)
    size = np.concatenate([np.linalg.norm(block, axis=1) for block in blocks]) * np.linalg.norm(mean)
    along = np.concatenate([block @ mean for block in blocks])
    return np.asarray(along / np.where(size, size, 1))


def _degenerate(cosine: Array, null: Array, view: LayerView) -> str:
    """Why the sign score cannot tell a concept from random sets, "" where it can."""
    if is_same_everywhere(cosine):
        return f"the gradient at {view.unit.label} is the same for every sample, so the share is 0 or 1 for any vector"
    if is_degenerate(null):
        return "the share is 0 or 1 for most random sets too"
    return ""
