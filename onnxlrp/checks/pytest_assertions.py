"""Assertions of the pytest fixture `onnxlrp`, and the findings that the plugin turns into test items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import model
from ..errors import InputError, UsageError, listed
from ..explanation import Explanation, ledger, maps
from ..findings.finding import Finding
from ..model import Model
from ..preprocessing import images
from . import baseline, regression, suite, toml

Array = npt.NDArray[Any]


class PytestAssertions:
    """The fixture `onnxlrp` of one test; relative paths start at the test's folder.

    Assertions that do not hold raise AssertionError; wrong arguments raise UsageError or InputError.
    """

    def __init__(self, file: Path, test: str, update: bool, models: dict[Any, Model]) -> None:
        self._file, self._test, self._update, self._models = file, test, update, models
        self._calls = 0

    def load(self, path: str | Path, *engine: Any, **options: Any) -> Model:
        """Load a model by `onnxlrp.load`; equal arguments give the same model throughout the test run.

        Args:
            path: The file, relative to the test's folder.
            *engine: The engine, as of `onnxlrp.load`.
            **options: Further options of `onnxlrp.load`.
        """
        place = self._file.parent / path
        key = (place, repr(engine), repr(sorted(options.items())))
        if key not in self._models:
            self._models[key] = model.load(place, *engine, **options)
        return self._models[key]

    def path(self, name: str | Path) -> Path:
        """Return a path that starts at the test's folder, as those of `load` and of masks do, for `Model.explain`.

        Args:
            name: The path, relative to the test's folder.
        """
        return self._file.parent / name

    def assert_conserves(self, explanation: Explanation, tolerance: float = 1e-4) -> None:
        """Assert that no relevance is lost, neither in a layer nor in all of them together.

        |arrived − passed − bias − epsilon − gate| of every layer is at most `tolerance` of its Σ|R|; ΣR at the input
        plus all that was absorbed equals the relevance of the output, to `tolerance` of the largest Σ|R|.

        Args:
            explanation: An explanation with a ledger.
            tolerance: The largest loss, as a share of Σ|R|.

        Raises:
            UsageError: The explanation has no ledger.
        """
        __tracebackhide__ = True
        rows = explanation.ledger or ()
        if not rows:
            raise UsageError("this explanation has no ledger", "explain with ledger=True, by a method that conserves")
        free = [f"{row.layer} ({row.rule})" for row in rows if not row.conserves]
        assert not free, f"{len(free)} layers have a rule that does not conserve relevance: {listed(free)}"
        # `not <=` also finds NaN.
        open_ = [f"{row.layer} ({row.rule}) by {row.error:.1e}" for row in rows if not row.error <= tolerance]
        assert not open_, f"the ledger does not close, beyond {tolerance:g} of Σ|R|: {listed(open_)}"
        gone = sum(ledger.sums(rows).values())
        lost = np.abs(rows[0].arrived - explanation.total - gone)
        size = np.max([row.scale for row in rows], axis=0)
        worst = float(np.max(lost / np.maximum(size, 1e-30)))
        assert worst <= tolerance, (
            f"ΣR and what layers absorbed are not what the walk began with, by {worst:.1e} of the largest Σ|R|"
        )

    def assert_inside(self, explanation: Explanation, mask: Any, energy: float = 0.5) -> None:
        """Of every sample at least the share `energy` of Σ|R| lies inside the mask.

        `mask` [H, W], or [N, H, W] for a mask each, is true inside, or a file of one (above black); it has the
        heatmap's size, or that of the picture before it was resized and cropped. Raises UsageError, InputError.
        """
        __tracebackhide__ = True
        if not 0 < energy <= 1:
            raise UsageError(f"energy = {energy!r} is out of range", "give a number above 0, up to 1, such as 0.5")
        heat = maps.shares(_maps(explanation))
        per = explanation.target.shape[0] if explanation.target.ndim == 2 else 1
        inside = self._mask(mask)
        for n in range(len(explanation)):
            here = inside[n] if inside.ndim == 3 and len(inside) == len(explanation) else inside
            here = _fitted(here, explanation, n, heat.shape[1:])
            for t in range(per):
                share = float(heat[t * len(explanation) + n][here].sum())
                name = explanation.names[n] if explanation.names else n
                assert share >= energy, (
                    f"{name}, {explanation.title(n, t)}: the mask holds {share:.1%} of Σ|R|, not {energy:.1%}; "
                    f"it is {here.mean():.1%} of the area"
                )

    def regression(self, explanation: Explanation, cosine: float = 0.98, name: str | None = None) -> None:
        """Assert that every heatmap equals that of the stored baseline.

        The baseline lies in a folder named like the test's module, in a file named like the test (and `name`, or the
        number of the call). A missing one is written, and the test fails once; --onnxlrp-update writes it again.

        Args:
            explanation: The explanation.
            cosine: The smallest cosine of each heatmap with the stored one, both pooled to 56 x 56.
            name: A name that tells several baselines of one test apart.

        Raises:
            UsageError: `cosine` is out of range.
            InputError: The baseline is damaged.
        """
        __tracebackhide__ = True
        if not -1 <= cosine <= 1:
            raise UsageError(f"cosine = {cosine!r} is out of range", "give a number from -1 to 1, such as 0.98")
        self._calls += 1
        which = name or (str(self._calls) if self._calls > 1 else "")
        path = regression.place(self._file, self._test, which)
        here = regression.capture(explanation, _maps(explanation))
        if self._update or not path.exists():
            regression.write(here, path)
            if not self._update:
                raise AssertionError(
                    f"there was no baseline: {path} is written; add it to the repository and run the test again"
                )
            return
        differs = regression.differences(here, regression.read(path), cosine)
        assert not differs, "\n".join(
            [*differs, f"baseline: {path}; if the change is intended: pytest --onnxlrp-update"]
        )

    def _mask(self, mask: Any) -> Array:
        if not isinstance(mask, (str, Path)):
            return np.asarray(mask) > 0
        path = self._file.parent / mask
        if path.suffix.lower() == ".npy":
            return np.asarray(images.read_array(path) > 0)
        return np.asarray(np.asarray(images.read_image(path)).max(axis=2) > 0)


def findings(path: Path, update: bool = False) -> Sequence[Finding]:
    """Run the checks of a settings file.

    Args:
        path: An onnxlrp.toml.
        update: Write its baseline again first.

    Returns:
        The findings, in the order of the checks.
    """
    settings = toml.read(path)
    if not update or settings.baseline is None:
        return suite.run(settings=settings).findings
    context = suite.open_context(None, None, settings)
    baseline.write(baseline.capture(context), settings.path(settings.baseline))
    given = context.in_order(lambda part: [part.samples[n : n + 1] for n in range(len(part.samples))])
    return suite.run(context.model, given, settings).findings


def _maps(explanation: Explanation) -> Array:
    """Return the heatmaps [T·N, H, W], target by target."""
    relevance, several = explanation.relevance, explanation.target.ndim == 2
    flat = relevance.reshape(-1, *relevance.shape[2:]) if several else relevance
    return explanation.kind.to_maps(flat)


def _fitted(mask: Array, explanation: Explanation, sample: int, grid: tuple[int, ...]) -> Array:
    """Bring the mask of one sample to the grid of its heatmap, by the resize and crop of its picture."""
    original = explanation.originals[sample] if explanation.originals else None
    prep = explanation.preprocessing
    if mask.shape == grid:
        return mask
    if prep is not None and original is not None and mask.shape == (original.height, original.width):
        seen = prep.view_mask(mask)
        if seen.shape == grid:
            return seen
    wanted = f"{grid}" + (f", or the picture's {(original.height, original.width)}" if original is not None else "")
    raise InputError(f"a mask of shape {mask.shape} for a heatmap of {grid}", f"give it the shape {wanted}")
