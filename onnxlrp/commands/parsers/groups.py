"""Groups of options that several commands take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .parser import Parser

# What the options of methods are called among the arguments, where other flags may have the same names.
METHOD_OPTION = "option."
# Options of the package's own methods, by the names that presets and rules give them.
METHOD_OPTIONS = {
    "epsilon": "of the epsilon rule",
    "gamma": "of the gamma rule",
    "low": "lowest value of the model's input, for zbox: a number, or one a channel (default: by the preprocessing)",
    "high": "highest value of the model's input, for zbox",
    "stabilizer": "what keeps denominators off zero (default: 1e-6)",
    "samples": "passes that a sampling method takes",
    "steps": "points of a path, or of an optimisation",
    "seed": "of everything random (default: 0)",
    "baseline": "what a missing pixel looks like: black, white, grey, mean, blur, noise or zero",
    "sigma": "noise, as a share of the input's range",
    "norm": "of sensitivity: squared, l2 or linf",
    "layer": "path of the maps that grad_cam and layer_cam read",
    "base": "the composite of contrastive relevance",
    "against": "class id that contrastive relevance stands against (default: all others)",
    "times_input": "smooth_grad: multiply by the input (true or false)",
    "patterns": "of pattern_net and pattern_attribution: the file that `onnxlrp patterns` writes",
    "window": "occlusion: side in pixels (0: an eighth of each side)",
    "stride": "occlusion: step between windows (0: half a window)",
    "cells": "rise, meaningful_perturbation: cells a side of a mask",
    "p1": "rise: share of cells that are seen",
    "centred": "rise: subtract the mean score (true or false)",
    "segments": "lime, kernel_shap: auto, slic, quickshift, grid or values",
    "features": "lime, kernel_shap: about how many segments",
    "score": "of what is hidden: probability or logit",
    "width": "lime: of the kernel",
    "alpha": "lime: price of the ridge",
    "game": "meaningful_perturbation: deletion or preservation",
    "reference": "meaningful_perturbation: what hidden pixels look like, as --baseline",
    "l1": "meaningful_perturbation: price of the mask's area",
    "tv": "meaningful_perturbation: price of its roughness",
    "beta": "meaningful_perturbation: power of the roughness",
    "jitter": "meaningful_perturbation: pixels that it shakes the picture by",
    "rate": "meaningful_perturbation: learning rate",
}
PREPROCESSING = {
    "prep": ("PRESET|FILE", "imagenet, clip, 0-1, -1-1, 0-255, caffe-bgr, or a .toml file of the pieces below"),
    "mean": ("M,M,M", "subtracted after scaling"),
    "std": ("S,S,S", "divided by"),
    "scale": ("X", "pixel values 0..255 are multiplied by this, such as 1/255"),
    "color": ("NAME", "RGB, BGR or grey"),
    "layout": ("NAME", "NCHW, NHWC or NHW"),
    "size": ("HxW", "height and width of the input where the model leaves them open"),
    "resize": ("NAME", "shorter-crop, stretch or letterbox"),
    "crop": ("SHARE", "share of the shorter side that the model sees, such as 0.875"),
    "resize_to": ("PIXELS", "what the shorter side (or HxW, by stretch) is resized to before the crop, such as 256"),
    "offset": ("NAME", "where a crop starts by half a pixel: round (to even) or floor"),
    "interpolation": ("NAME", "bilinear, bicubic, nearest, lanczos, box or hamming"),
    "labels": ("FILE", "class names: one a line, or JSON"),
}


def asked(group: Any, command: str, part: str = "asked", **changed: Mapping[str, Any]) -> None:
    """Add what a command takes of ExplainOptions: see `model.options`.

    Args:
        group: The group of the parser.
        command: The name of the command.
        part: "asked" (what is explained), "written" or "run" (how it runs).
        **changed: Arguments of `add_argument` that differ in this command, by the name of the field.
    """
    from ...model.options import flags

    for name, flag in flags(command, part):
        words = {"dest": name, "help": flag.help, **flag.argparse, **changed.get(name, {})}
        group.add_argument(*words.pop("flags", flag.words), **words)


def options(parser: Parser) -> None:
    """The options of the package's own methods; those of others become flags when one is met that is not known."""
    group = parser.add_argument_group("options of methods")
    for name, text in METHOD_OPTIONS.items():
        metavar = "FILE" if name == "patterns" else "X"
        group.add_argument(f"--{name.replace('_', '-')}", dest=f"{METHOD_OPTION}{name}", metavar=metavar, help=text)
    parser.takes_method_options = True


def running(parser: Parser, command: str) -> None:
    """How a command runs that reads many inputs: in batches, past bad ones, on an engine, with their preprocessing."""
    group = parser.add_argument_group("how it runs")
    asked(group, command, "run")
    group.add_argument(
        "--on-error",
        choices=("fail", "skip"),
        default="fail",
        help="at an input that is rejected: stop, or go on and exit with 3 (default: %(default)s)",
    )
    engine(group)
    preprocessing(parser)
    safety(parser)


def engine(group: Any) -> None:
    """What runs the model."""
    group.add_argument(
        "--engine",
        default="auto",
        metavar="NAME",
        help="auto, ort, cuda, reference or emulator; `onnxlrp doctor` lists plugins too (default: %(default)s)",
    )
    precision(group)
    group.add_argument("--providers", metavar="LIST", help="onnxruntime's execution providers, such as cuda,cpu")


def precision(group: Any) -> None:
    """How exact the kernels are."""
    group.add_argument(
        "--precision", metavar="NAME", help="of cuda and emulator: exact (float32) or fast (TF32) (default: exact)"
    )


def preprocessing(parser: Parser) -> None:
    """How a picture becomes the model's input."""
    group = parser.add_argument_group(
        "preprocessing",
        "else MODEL.prep.toml, the metadata, the files of Hugging Face or timm beside\n"
        "the model, the graph; or an assumption that is said to be one",
    )
    for name, (metavar, text) in PREPROCESSING.items():
        group.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=text)
    group.add_argument("--strict", action="store_true", help="assume nothing about preprocessing: exit with 4 instead")


def safety(parser: Parser) -> None:
    """What a model may ask of the machine."""
    group = parser.add_argument_group("what a model may be")
    group.add_argument(
        "--max-memory",
        metavar="SIZE",
        help="refuse a model that needs more, by its shapes, such as 8G (default: what this machine has free)",
    )
    group.add_argument(
        "--allow-linked-data",
        action="store_true",
        help="weights in other files may be hard links, or links out of the model's folder",
    )


def common(parser: Parser, json: str) -> None:
    """What every command takes."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help=json)
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more on stderr; -vv: tracebacks")
    group.add_argument("-q", "--quiet", action="store_true", help="no summary and no notes")


def findings_format(group: Any) -> None:
    """How findings are told on stdout."""
    group.add_argument(
        "--format",
        default="table",
        metavar="NAME",
        help="on stdout: table, json, junit, sarif, github or markdown (default: %(default)s)",
    )


def reports(group: Any, text: str) -> None:
    """Where findings are written."""
    group.add_argument("-o", "--out", action="append", default=[], metavar="FILE", help=text)
