"""Groups of options that several commands take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .parser import Parser

# Prefix of the options of methods among the arguments, where other flags may have the same names.
METHOD_OPTION = "option."
# Options of the package's own methods, by the names that presets and rules give them.
METHOD_OPTIONS = {
    "epsilon": "epsilon of the epsilon rule",
    "gamma": "gamma of the gamma rule",
    "low": "lowest value of the input, for zbox: a number, or one per channel (default: from the preprocessing)",
    "high": "highest value of the input, for zbox",
    "stabilizer": "smallest size of a denominator (default: 1e-6)",
    "samples": "number of passes of a sampling method",
    "steps": "number of points of a path, or of steps of an optimisation",
    "seed": "seed of random numbers (default: 0)",
    "baseline": "value of a missing feature: black, white, grey, mean, blur, noise, zero, or a sample (.npy, .csv)",
    "background": "samples that tree_shap, noise, expected_gradients are relative to: .csv, .parquet, .npy, a folder",
    "perturbation": "tree_shap: interventional or path_dependent",
    "interactions": "tree_shap: those of each two columns too (true or false)",
    "sigma": "standard deviation of noise, as a share of the scale that the method names",
    "norm": "norm of sensitivity: squared, l2 or linf",
    "layer": "path of the layer whose maps grad_cam and layer_cam read",
    "base": "composite of contrastive relevance",
    "against": "class id that contrastive relevance is contrasted with (default: all others)",
    "residual": "attention_rollout: share of what goes past an attention (default: 0.5)",
    "redirect": "gradient: through ReLUs of which nothing lives, what would revive them (true or false)",
    "product": "recurrent: what a gate takes of a product: all (to the signal), half, prop or abs",
    "times_input": "smooth_grad: multiply by the input (true or false)",
    "patterns": "pattern_net, pattern_attribution: the file that `onnxlrp patterns` wrote",
    "window": "occlusion: side of the window in pixels (0: an eighth of each side)",
    "stride": "occlusion: step between windows (0: half a window)",
    "cells": "rise, meaningful_perturbation: cells per side of a mask",
    "p1": "rise: probability that a cell is visible",
    "centred": "rise: subtract the mean score (true or false)",
    "segments": "lime, kernel_shap: auto, slic, quickshift, grid or values",
    "features": "lime, kernel_shap: approximate number of segments",
    "score": "score of masked inputs: probability or logit",
    "width": "lime: width of the kernel",
    "alpha": "lime: ridge strength",
    "game": "meaningful_perturbation: deletion or preservation",
    "reference": "meaningful_perturbation: value of masked pixels, as --baseline",
    "l1": "meaningful_perturbation: weight of the mask's area",
    "tv": "meaningful_perturbation: weight of the mask's total variation",
    "beta": "meaningful_perturbation: exponent of the total variation",
    "jitter": "meaningful_perturbation: largest random shift of the picture, in pixels",
    "rate": "meaningful_perturbation: learning rate",
}
PREPROCESSING = {
    "prep": ("PRESET|FILE", "imagenet, clip, 0-1, -1-1, 0-255, caffe-bgr, or a .toml file of the fields below"),
    "mean": ("M,M,M", "mean, subtracted after scaling"),
    "std": ("S,S,S", "standard deviation, divided by"),
    "scale": ("X", "factor of the pixel values 0..255, such as 1/255"),
    "color": ("NAME", "RGB, BGR or grey"),
    "layout": ("NAME", "NCHW, NHWC or NHW"),
    "size": (
        "HxW",
        "size of the inputs where the model leaves it open: height and width, a length, or lengths by name, such as "
        "length=16000 or h=64,w=128 (default: from each sample)",
    ),
    "resize": ("NAME", "shorter-crop, stretch or letterbox"),
    "crop": ("SHARE", "share of the shorter side that the model sees, such as 0.875"),
    "resize_to": ("PIXELS", "size of the shorter side (or HxW, with stretch) before the crop, such as 256"),
    "offset": ("NAME", "rounding of the crop's corner: round (to even) or floor"),
    "interpolation": ("NAME", "bilinear, bicubic, nearest, lanczos, box or hamming"),
    "labels": ("FILE", "class names: one per line, or JSON"),
    "tokenizer": (
        "FILE",
        "words of token ids: a tokenizer.json, or a list of words (default: from the metadata, or beside the model)",
    ),
}


# How samples are found, beside the words that name them: arguments of `streaming.sources.find`.
SOURCE = ("recursive", "from_list", "path_column", "name_column")


def inputs(parser: Parser, text: str, nargs: str = "+") -> None:
    """Add the inputs of a command that reads samples; `text` is the help of INPUT."""
    parser.in_place_of["--from-list"] = parser.add_argument("inputs", metavar="INPUT", nargs=nargs, help=text)
    group = parser.add_argument_group("inputs")
    recursive(group)
    group.add_argument(
        "--from-list",
        metavar="FILE",
        help="in the place of INPUT: a text with a path on each line, relative to its folder, or a .csv or .parquet "
        "with a column of paths; - for standard input",
    )
    group.add_argument("--path-column", metavar="NAME", help="that column (default: the only one)")
    group.add_argument("--name-column", metavar="NAME", help="the column of a table that names its rows, no feature")


def recursive(group: Any) -> None:
    """Add the flag that takes folders with the folders below."""
    group.add_argument(
        "-r", "--recursive", action="store_true", help="of folders, also the folders below; files are named with them"
    )


def asked(group: Any, command: str, part: str = "asked", **changed: Mapping[str, Any]) -> None:
    """Add what a command takes of ExplainOptions: see `model.options.explain`.

    Args:
        group: The group of the parser.
        command: The name of the command.
        part: "asked" (what is explained), "written" or "run" (how it runs).
        **changed: Arguments of `add_argument` that differ in this command, by the name of the field.
    """
    from ...model.options.explain import flags

    for name, flag in flags(command, part):
        words = {"dest": name, "help": flag.help, **flag.argparse, **changed.get(name, {})}
        group.add_argument(*words.pop("flags", flag.words), **words)


def options(parser: Parser) -> None:
    """Add the options of the package's own methods; those of plugins become flags when an unknown flag is met.

    So do options whose flag means something else to the command: `--METHOD-OPTION`.
    """
    group = parser.add_argument_group("options of methods")
    for name, text in METHOD_OPTIONS.items():
        metavar = "FILE" if name == "patterns" else "X"
        flag = f"--{name.replace('_', '-')}"
        if not parser.has(flag):
            group.add_argument(flag, dest=f"{METHOD_OPTION}{name}", metavar=metavar, help=text)
    parser.takes_method_options = True


def running(parser: Parser, command: str, rejects: str = "fail") -> None:
    """Add how a command runs: batches, engine, preprocessing, limits.

    Args:
        parser: The parser.
        command: The name of the command.
        rejects: The default of what happens at rejected inputs, in words; "" for commands that do not take them.
    """
    group = parser.add_argument_group("execution")
    asked(group, command, "run")
    if rejects:
        group.add_argument(
            "--on-error",
            choices=("fail", "skip"),
            default="fail" if rejects == "fail" else None,
            help=f"at a rejected input: stop, or go on and exit with 3 (default: {rejects})",
        )
    engine(group)
    preprocessing(parser)
    safety(parser)


def bounds(group: Any) -> None:
    """Add the lowest and highest value of an input that is no picture."""
    for word, text in (("low", "lowest"), ("high", "highest")):
        group.add_argument(
            f"--{word}", metavar="X", help=f"{text} value of an input that is no picture: a number, or one per channel"
        )


def seed(group: Any) -> None:
    """Add the seed of random numbers."""
    group.add_argument("--seed", type=int, default=0, metavar="N", help="seed of random numbers (default: %(default)s)")


def pixels(group: Any, network: str) -> None:
    """Add what is black and white in the pictures of a generator or decoder."""
    group.add_argument(
        "--pixels",
        metavar="B,W",
        help=f"black and white in the {network}'s pictures (default: as its metadata says, else the model's own "
        "values)",
    )


def pictures(parser: Parser, default: str) -> Any:
    """Add the files of a command that makes pictures, and return the group; `default` ends the help of --out."""
    group = parser.add_argument_group("files")
    group.add_argument("-o", "--out", metavar="FILE", help=f"the bare picture, .png, or .npz or .json {default}")
    group.add_argument(
        "--format", metavar="LIST", help="png,npz,json: one file each (default: from the name, else png)"
    )
    group.add_argument("--figure", metavar="FILE", help="a captioned figure, .png")
    return group


def engine(group: Any) -> None:
    """Add the engine."""
    group.add_argument(
        "--engine",
        default="auto",
        metavar="NAME",
        help="auto, ort, cuda, reference or emulator; `onnxlrp doctor` lists plugins too (default: %(default)s)",
    )
    precision(group)
    group.add_argument("--providers", metavar="LIST", help="onnxruntime's execution providers, such as cuda,cpu")
    group.add_argument(
        "--no-cache",
        action="store_true",
        help="read and optimise the model anew, and keep nothing for later runs (`onnxlrp cache` shows what is kept)",
    )


def precision(group: Any) -> None:
    """Add the precision of kernels."""
    group.add_argument(
        "--precision", metavar="NAME", help="of cuda and emulator: exact (float32) or fast (TF32) (default: exact)"
    )


def preprocessing(parser: Parser) -> None:
    """Add the preprocessing of pictures."""
    group = parser.add_argument_group(
        "preprocessing",
        "default: from MODEL.prep.toml, the metadata, files of Hugging Face or timm beside\n"
        "the model, or the graph; else assumed, and reported as assumed",
    )
    for name, (metavar, text) in PREPROCESSING.items():
        group.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=text)
    group.add_argument("--strict", action="store_true", help="refuse to assume preprocessing: exit with 4")


def safety(parser: Parser) -> None:
    """Add the limits of a model."""
    group = parser.add_argument_group("limits of a model")
    group.add_argument(
        "--max-memory",
        metavar="SIZE",
        help="refuse a model whose shapes need more, such as 8G (default: the free memory of this machine)",
    )
    group.add_argument(
        "--allow-linked-data",
        action="store_true",
        help="allow weights in files that are hard links, or links out of the model's folder",
    )


def common(parser: Parser, json: str) -> None:
    """Add what every command takes; `json` is the help of --json."""
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help=json)
    group.add_argument("-v", "--verbose", action="count", default=0, help="print more on stderr; -vv: with tracebacks")
    group.add_argument("-q", "--quiet", action="store_true", help="print no summary and no notes")


def findings_format(group: Any) -> None:
    """Add the format of findings on stdout."""
    group.add_argument(
        "--format",
        default="table",
        metavar="NAME",
        help="on stdout: table, json, junit, sarif, github or markdown (default: %(default)s)",
    )


def reports(group: Any, text: str) -> None:
    """Add the files of findings; `text` is the help of --out."""
    group.add_argument("-o", "--out", action="append", default=[], metavar="FILE", help=text)
