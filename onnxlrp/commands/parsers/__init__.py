"""Arguments of each command. Nothing here imports more than argparse, so that help is quick."""

from __future__ import annotations

from collections.abc import Callable

from .analysing import invert, prototype
from .clustering import cells, clusters, concepts
from .explaining import explain, export, inspect, patterns
from .groups import common
from .judging import check, compare, evaluate, report, tune
from .mapping import atlas
from .parser import Parser
from .viewing import view


def doctor(parser: Parser) -> None:
    """Add the arguments of `onnxlrp doctor`."""
    common(parser, "all of it as JSON on stdout")


def cache(parser: Parser) -> None:
    """Add the arguments of `onnxlrp cache`."""
    parser.epilog = (
        "ONNXLRP_CACHE names another folder, or off; ONNXLRP_CACHE_SIZE limits it (default: 2G).\n"
        "--no-cache does without it for one run."
    )
    parser.add_argument("--clear", action="store_true", help="remove all entries")
    common(parser, "all of it as JSON on stdout")


def catalogue(parser: Parser) -> None:
    """Add the arguments of `onnxlrp methods`, `onnxlrp rules` and `onnxlrp operators`."""
    common(parser, "as JSON on stdout")


COMMANDS: dict[str, tuple[str, Callable[[Parser], None], str]] = {
    "explain": ("write heatmaps of pictures or arrays", explain, "explain"),
    "view": ("show a model, its layers and its explanations on a page on this machine", view, "view"),
    "inspect": ("show inputs, outputs, layers and the rule of each", inspect, "inspect"),
    "export": ("save a model and a method as one ONNX file of standard operators", export, "export"),
    "check": ("check a model in CI: its explanations, masks, stored outputs, a baseline", check, "check"),
    "compare": ("compare two models: outputs, heatmaps, layers", compare, "compare"),
    "patterns": ("estimate the patterns of pattern_net and pattern_attribution from images", patterns, "patterns"),
    "prototype": ("make the pictures that a class or a unit prefers", prototype, "prototype"),
    "invert": ("make the picture that a layer cannot tell from another", invert, "invert"),
    "atlas": ("show what every unit answers to: top samples by activation and relevance, classes", atlas, "atlas"),
    "clusters": ("find the strategies that a model has for a class, by clustering its heatmaps", clusters, "clusters"),
    "concepts": ("test whether a class is sensitive to a concept, or find what detects concepts", concepts, "concepts"),
    "cells": ("show what the cells of a recurrent network do along a text, and what they track", cells, "cells"),
    "report": ("write explanations and findings as one HTML page", report, "report"),
    "evaluate": ("evaluate methods by metrics: a table with intervals, curves, JSON", evaluate, "evaluate"),
    "tune": ("find the method that explains a model best, and keep it beside the model", tune, "tune"),
    "doctor": ("list the engines that run on this machine, and the command that repairs the others", doctor, "doctor"),
    "cache": ("show what is kept of models for later runs, or remove it", cache, "cache"),
    "methods": ("list the methods", catalogue, "methods"),
    "rules": ("list the rules", catalogue, "rules"),
    "operators": ("list the ONNX operators that relevance passes", catalogue, "operators"),
}
