"""Whether the model can be read and explained at all, and whether its preprocessing is stated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import OnnxLrpError, UsageError
from ..findings.finding import Finding, MissingData, judged
from .case import Case
from .registry import check


@check("load")
@dataclass(frozen=True)
class Load:
    """The file is a model that onnxlrp reads."""

    def __call__(self, case: Case) -> Iterable[Finding]:
        graph = case.model.graph
        yield judged(True, f"{len(graph.layers)} layers, {case.model.classes} classes", case.name)


@check("coverage")
@dataclass(frozen=True)
class Coverage:
    """The method explains the model: every layer has a rule, and the output has a score for each class."""

    def __call__(self, case: Case) -> Iterable[Finding]:
        subject, settings = case.name, case.settings
        try:
            case.model.refuse_maps()
            composite = case.composite
            rows = [] if composite is None else case.model.layers(composite)
            without = Counter(layer.op for layer, _, rule in rows if rule is None)
            pictures = case.given is None or case.given.pictures
            if composite is None:
                if case.given is not None:
                    _ = case.explanation  # there are no rules to look at: it is tried
            elif not without:
                # The very program that the explanations will run: it is compiled once.
                case.model.prepare(0, composite, pictures=pictures, ledger=case.conserves)
        except UsageError:
            raise
        except OnnxLrpError as error:
            yield judged(False, error.message, subject, fix=error.fix)
            return
        listed = ", ".join(f"{op} ({n})" for op, n in sorted(without.items()))
        message = (
            f"no rule for {listed} under {settings.method}" if without else f"{settings.method} explains all of it"
        )
        yield judged(not without, message, subject, sum(without.values()), 0, _fix(without))


@check("preprocessing", severity="warning")
@dataclass(frozen=True)
class Stated:
    """Everything about how pictures become inputs is stated by somebody, and nobody contradicts."""

    def __call__(self, case: Case) -> Iterable[Finding]:
        if not case.samples.pictures:
            raise MissingData("the samples are arrays: nothing is done to them", "")
        prep = case.model.preprocessing
        subject = case.name
        if prep.assumed:
            message = f"nobody states {', '.join(prep.assumed)}: assumed is {prep.describe()}"
            yield judged(False, message, subject, fix=f"if it is right, say so: {prep.flags()}")
        elif prep.conflicts:
            fix = "make the sources agree, or state it in the settings: [prep]"
            yield judged(False, "; ".join(map(str, prep.conflicts)), subject, fix=fix)
        else:
            yield judged(True, f"{prep.describe()} ({prep.source})", subject)


def unreadable(error: OnnxLrpError, subject: str) -> Finding:
    """The finding of a model that is not read."""
    return judged(False, error.message, subject, fix=error.fix)


def _fix(without: Counter[str]) -> str:
    op = next(iter(without), "Conv")
    return f'[rules] {op} = "pass", or on_unsupported = "gradient"; onnxlrp rules lists the rules'
