"""Checks of loading: the model can be read and explained, and its preprocessing is stated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import OnnxLrpError, UsageError
from ..findings.finding import Finding, MissingData, judged
from .context import CheckContext
from .registry import check


@check("load", order=0)
@dataclass(frozen=True)
class Load:
    """The file is a model that onnxlrp can read."""

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        graph = context.model.graph
        yield judged(True, f"{len(graph.layers)} layers, {context.model.classes} classes", context.name)


@check("coverage", order=0)
@dataclass(frozen=True)
class Coverage:
    """The method can explain the model: every layer has a rule, and the output has a score for each class."""

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        subject, settings = context.name, context.settings
        try:
            composite = context.composite
            rows = [] if composite is None else context.model.layers(composite)
            without = Counter(layer.op for layer, _, rule in rows if rule is None)
            parts = context.parts if context.has_samples else [context]
            if composite is None:
                if context.has_samples:
                    _ = [part.explanation for part in parts]  # a method without rules can only be tried
            elif not without:
                for part in parts:  # the program of the explanations, which is compiled once
                    part.model.prepare(0, part.composite, pictures=part.are_pictures, ledger=part.conserves)
        except UsageError:
            raise
        except OnnxLrpError as error:
            yield judged(False, error.message, subject, fix=error.fix)
            return
        listed = ", ".join(f"{op} ({n})" for op, n in sorted(without.items()))
        message = f"no rule for {listed} in {settings.method}" if without else f"{settings.method} explains every layer"
        yield judged(not without, message, subject, sum(without.values()), 0, _fix(without))


@check("preprocessing", severity="warning", order=0)
@dataclass(frozen=True)
class StatedPreprocessing:
    """The preprocessing of pictures is stated completely, and its sources agree."""

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        pictures = [part.model for part in context.parts if part.samples.pictures]
        if not pictures:
            raise MissingData("the samples are arrays, which are not preprocessed", "")
        prep = pictures[0].preprocessing_as_read
        subject = context.name
        if prep.assumed:
            message = f"not stated: {', '.join(prep.assumed)}; assumed: {prep.describe()}"
            yield judged(False, message, subject, fix=f"if it is right, state it: {prep.flags()}")
        elif prep.conflicts:
            fix = "make the sources agree, or state it in the settings under [prep]"
            yield judged(False, "; ".join(map(str, prep.conflicts)), subject, fix=fix)
        else:
            yield judged(True, f"{prep.describe()} ({prep.source})", subject)


def unreadable(error: OnnxLrpError, subject: str) -> Finding:
    """Return the finding of a model that cannot be read."""
    return judged(False, error.message, subject, fix=error.fix)


def _fix(without: Counter[str]) -> str:
    op = next(iter(without), "Conv")
    return f'[rules] {op} = "pass", or on_unsupported = "gradient"; onnxlrp rules lists the rules'
