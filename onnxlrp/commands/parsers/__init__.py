"""What each command takes. Nothing here imports more than argparse, so that help is quick."""

from __future__ import annotations

from collections.abc import Callable

from .explaining import explain, export, inspect, patterns
from .groups import common
from .judging import check, compare, evaluate, report
from .parser import Parser


def doctor(parser: Parser) -> None:
    common(parser, "all of it as JSON on stdout")


def catalogue(parser: Parser) -> None:
    common(parser, "as JSON on stdout")


COMMANDS: dict[str, tuple[str, Callable[[Parser], None], str]] = {
    "explain": ("write heatmaps of pictures or arrays", explain, "explain"),
    "inspect": ("show inputs, outputs, layers and the rule that each gets", inspect, "inspect"),
    "export": ("save model and method as one ONNX file of standard operators", export, "export"),
    "check": ("run the checks of a model that CI needs, against masks, stored outputs and a baseline", check, "check"),
    "compare": ("measure how far two models are from each other: answers, heatmaps, layers", compare, "compare"),
    "patterns": ("estimate the patterns of pattern_net and pattern_attribution from images", patterns, "patterns"),
    "report": ("write explanations and findings as one HTML page", report, "report"),
    "evaluate": ("judge methods by metrics: a table with intervals, curves, JSON", evaluate, "evaluate"),
    "doctor": ("say which engines run on this machine, and the command that mends what does not", doctor, "doctor"),
    "methods": ("list the methods", catalogue, "methods"),
    "rules": ("list the rules", catalogue, "rules"),
}
