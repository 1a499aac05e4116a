"""What each command takes. Nothing here imports more than argparse, so that help is quick."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ..errors import UsageError, did_you_mean

# Options of methods, by the names that presets and rules give them.
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

_LEADING_MINUS = re.compile(r"-[\d.]")


class Parser(argparse.ArgumentParser):
    """argparse, whose errors are ours, and which takes a value that begins with a minus: `--low -2.1,-2.0`."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"{self.prog} --help lists what there is")

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """The arguments, options and inputs in any order. Raises UsageError."""
        args, left = self.parse_known_intermixed_args(self._joined(argv))
        for word in left:
            known = [option for option in self._option_string_actions if option.startswith("--")]
            raise UsageError(f'no option "{word}"', self._near(word.partition("=")[0], known))
        return args

    def _near(self, word: str, known: Sequence[str]) -> str:
        hint = did_you_mean(word, known)
        return hint if hint.startswith("did") else f"{self.prog} --help lists what there is"

    def _joined(self, argv: Sequence[str]) -> list[str]:
        joined: list[str] = []
        waits = False
        for word in argv:
            if waits and _LEADING_MINUS.match(word):
                joined[-1] += f"={word}"
                waits = False
                continue
            action = self._option_string_actions.get(word)
            waits = action is not None and action.nargs is None and "--" not in joined
            joined.append(word)
        return joined


def explain(parser: Parser) -> None:
    parser.epilog = (
        "examples:\n"
        "  onnxlrp explain model.onnx cat.jpg\n"
        "  onnxlrp explain model.onnx photos/ -t top3 -m epsilon_plus_flat,epsilon_gamma_box -o 'maps/{stem}.{label}'\n"
        "  onnxlrp explain model.onnx cat.jpg --rule 'features.0=zbox(-2.1,2.6)' --rule 'Gemm=epsilon(0.01)' --ledger"
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="pictures, .npy arrays, or folders of them")
    group = parser.add_argument_group("what to explain")
    group.add_argument(
        "-t",
        "--target",
        action="append",
        metavar="CLASS",
        help="class id, label, top1 or top3 (default: top1); given again, several classes over one forward pass",
    )
    _choice(group)
    _given(group)
    _method(group, "a comma-separated list, or all, gives a file each")
    group.add_argument(
        "--condition",
        action="append",
        default=[],
        metavar="LAYER:CHANNELS",
        help="'layer3:12,45': relevance that runs through these channels of a layer's result alone; repeatable",
    )
    _options(parser)
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "-o",
        "--out",
        metavar="PATTERN",
        help="file name of {stem} {target} {label} {method} {index}, or a folder "
        "(default: {stem}.{target}.png, with several methods {stem}.{target}.{method}.png)",
    )
    group.add_argument("--format", metavar="LIST", help="png,npz,json: a file each (default: by the name, else png)")
    group.add_argument("--cmap", default="RdBu_r", metavar="NAME", help="colour map (default: %(default)s)")
    group.add_argument(
        "--clip", type=float, default=99.5, metavar="PERCENT", help="percentile of |R| that colours span"
    )
    group.add_argument("--space", default="input", metavar="NAME", help="input: as the model sees it; or original")
    group.add_argument("--grid", action="store_true", help="one labelled picture of all methods, not one for each")
    group.add_argument("--ledger", action="store_true", help="print where relevance stayed, layer by layer")
    _running(parser)
    _common(parser, "one JSON object a line on stdout, for each input and method")


def inspect(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", help="an .onnx file")
    parser.add_argument(
        "--coverage",
        metavar="DIR",
        help="a table of the models below a folder and what has no rule in each; exits with 1 if anything has none",
    )
    group = parser.add_argument_group("the rules shown")
    _choice(group)
    _method(group)
    _options(parser)
    group = parser.add_argument_group("the kernels shown")
    group.add_argument(
        "--engine", metavar="NAME", help="cuda or emulator: also list the kernels that run the method; needs no GPU"
    )
    _precision(group)
    group.add_argument("--batch", type=int, default=1, metavar="N", help="for this many inputs (default: %(default)s)")
    group = parser.add_argument_group("preprocessing, found and kept")
    group.add_argument("--write-prep", action="store_true", help="write what is found into MODEL.prep.toml")
    group.add_argument("--embed", metavar="OUT", help="write a copy of the model that carries it in its metadata")
    group.add_argument(
        "--probe",
        nargs="+",
        metavar="IMAGES",
        help="pictures or folders: rank presets by the model's confidence in them, as a hint; with --labels FILE of "
        "lines PICTURE CLASS also by its right answers",
    )
    _preprocessing(parser)
    _safety(parser)
    _common(parser, "all of it as JSON on stdout")


def export(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("-o", "--out", required=True, metavar="FILE", help="the explainer's file, .onnx")
    group = parser.add_argument_group("what it explains")
    group.add_argument(
        "-t",
        "--target",
        default="input",
        metavar="WHICH",
        help="input: class ids are an input of the file; top1 or topK: its own best classes (default: %(default)s)",
    )
    _choice(group)
    _method(group)
    _options(parser)
    _preprocessing(parser)
    _safety(parser)
    _common(parser, "inputs, outputs and size as JSON on stdout")


def check(parser: Parser) -> None:
    parser.epilog = (
        "examples:\n"
        "  onnxlrp check model.onnx images/ --masks masks/\n"
        "  onnxlrp check -c onnxlrp.toml -o report.xml -o report.sarif --format github\n"
        "  onnxlrp check model.onnx images/ --baseline baseline/ --update-baseline\n"
        "  onnxlrp check model.onnx images/ --calibrate >> onnxlrp.toml"
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help="an .onnx file (default: that of the settings)")
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help="pictures, .npy arrays, folders or globs of them")
    parser.add_argument("-c", "--config", metavar="FILE", help="settings, such as onnxlrp.toml; flags go before them")
    parser.add_argument("--list", action="store_true", help="list the checks, their severities and thresholds")
    group = parser.add_argument_group("what is compared with")
    group.add_argument("--masks", metavar="DIR", help="a mask NAME.png for each sample, where relevance belongs")
    group.add_argument(
        "--expected",
        action="append",
        default=[],
        metavar="PATH",
        help="stored outputs: an .npz file, or a test_data_set_0 folder; repeatable",
    )
    group.add_argument("--baseline", metavar="DIR", help="what this model said before")
    group.add_argument("--update-baseline", action="store_true", help="store what it says now in --baseline DIR")
    group.add_argument("--calibrate", action="store_true", help="measure the noise floor and propose thresholds")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="CHECK.THRESHOLD=VALUE",
        help="such as drift.cosine=0.9 or drift.severity=warning (error, warning, note, off); repeatable",
    )
    group = parser.add_argument_group("what is explained")
    _choice(group)
    group.add_argument("-m", "--method", metavar="NAME", help="default: that of the settings, else epsilon_plus_flat")
    group.add_argument("-t", "--target", metavar="CLASS", help="class id, label or top1 (default: top1)")
    group.add_argument("--engine", metavar="NAME", help="auto, ort, cuda, reference or emulator (default: auto)")
    group.add_argument("--batch-size", type=int, metavar="N", help="inputs at a time (default: 8)")
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "--format",
        default="table",
        metavar="NAME",
        help="on stdout: table, json, junit, sarif, github or markdown (default: %(default)s)",
    )
    group.add_argument(
        "-o",
        "--out",
        action="append",
        default=[],
        metavar="FILE",
        help="a report: .json, .xml (JUnit), .sarif, .md or .txt, or FORMAT=FILE; repeatable",
    )
    _preprocessing(parser)
    _safety(parser)
    _common(parser, "the findings as JSON on stdout, as --format json")


def compare(parser: Parser) -> None:
    parser.epilog = (
        "examples:\n"
        "  onnxlrp compare float.onnx int8.onnx images/ --min cosine=0.95 -o worst.png\n"
        "  onnxlrp compare old.onnx new.onnx images/ --save results.json\n"
        "  onnxlrp compare --from results.json --min top1=0.98 --min cosine=0.9 --max logits=0.1 -o report.xml"
    )
    parser.add_argument("model", metavar="A", nargs="?", help="an .onnx file: what the other is measured by")
    parser.add_argument("other", metavar="B", nargs="?", help="an .onnx file of the same classes")
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help="pictures, .npy arrays, or folders of them")
    group = parser.add_argument_group("what is compared")
    group.add_argument(
        "--metric", metavar="LIST", help="of the maps: cosine,spearman,topk_iou,mass_shift (default: all four)"
    )
    group.add_argument(
        "-t", "--target", default="top1", metavar="CLASS", help="class that both explain (default: A's best)"
    )
    group.add_argument(
        "--floor", type=float, metavar="X", help="drift of a layer that counts as none (default: measured)"
    )
    _choice(group)
    _given(group)
    _method(group)
    _options(parser)
    group = parser.add_argument_group("what is allowed")
    for flag, text in (
        ("--min", "at least: top1=0.98 (share of equal answers), cosine, spearman, topk_iou; repeatable"),
        ("--max", "at most: logits=0.05 (of A's largest logit), mass_shift; repeatable"),
    ):
        group.add_argument(flag, action="append", default=[], metavar="NAME=X", help=text)
    group.add_argument("--from", dest="judged", metavar="FILE", help="judge again what --save wrote; no model is read")
    group = parser.add_argument_group("what is written")
    group.add_argument("--save", metavar="FILE", help="what was measured, as JSON")
    group.add_argument(
        "-o",
        "--out",
        action="append",
        default=[],
        metavar="FILE",
        help=".png: the worst pictures side by side; .json, .xml (JUnit), .sarif, .md or .txt: a report; repeatable",
    )
    group.add_argument("--worst", type=int, default=4, metavar="N", help="pictures in the .png (default: %(default)s)")
    group.add_argument(
        "--format",
        default="table",
        metavar="NAME",
        help="on stdout: table, json, junit, sarif, github or markdown (default: %(default)s)",
    )
    group = parser.add_argument_group("how it runs")
    group.add_argument("--batch-size", type=int, default=8, metavar="N", help="inputs at a time (default: %(default)s)")
    _engine(group)
    _preprocessing(parser)
    _safety(parser)
    _common(parser, "the findings as JSON on stdout, as --format json")


def patterns(parser: Parser) -> None:
    parser.epilog = (
        "examples:\n"
        "  onnxlrp patterns model.onnx images/ -o model.patterns.npz\n"
        "  onnxlrp explain model.onnx cat.jpg -m pattern_attribution --patterns model.patterns.npz"
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", help="pictures, .npy arrays or folders, such as it was trained on"
    )
    parser.add_argument("-o", "--out", metavar="FILE", help="an .npz file (default: MODEL.patterns.npz)")
    parser.add_argument(
        "--estimator",
        default="positive",
        metavar="NAME",
        help="positive (covariance where a neuron is active), two_component (with the mean of all outputs, as the "
        "paper writes it) or linear (default: %(default)s)",
    )
    group = parser.add_argument_group("what is estimated")
    _choice(group)
    _given(group)
    _running(parser)
    _common(parser, "one JSON object on stdout")


def report(parser: Parser) -> None:
    parser.epilog = (
        "examples:\n"
        "  onnxlrp explain model.onnx images/ --ledger --format json,npz -o 'run/{stem}.{target}.{method}'\n"
        "  onnxlrp check model.onnx images/ -o run/check.json\n"
        "  onnxlrp report run/ -o report.html"
    )
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="a JSON file of explain, check or compare, or a folder of them; pictures come from the .npz (else the "
        ".png) beside an explanation's JSON",
    )
    parser.add_argument("-o", "--out", required=True, metavar="FILE", help="the page, .html: one file, for offline use")
    _common(parser, "the file and what it holds as JSON on stdout")


def evaluate(parser: Parser) -> None:
    parser.epilog = (
        "metrics:\n"
        "  pixel_flipping, deletion, insertion: does the score follow the map?\n"
        "  pointing_game, energy_in_mask: does it lie on the object? (--masks)\n"
        "  max_sensitivity, shattering: does it stay where the picture hardly changes?\n"
        "  randomisation: does it depend on the weights?   ledger, conservation: does it add up?\n\n"
        "example:\n"
        "  onnxlrp evaluate model.onnx images/ --methods epsilon_plus_flat,sensitivity \\\n"
        "    --metric pixel_flipping,pointing_game --masks masks/ -o results.json"
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="pictures, .npy arrays, globs, or folders of them")
    group = parser.add_argument_group("what is judged")
    group.add_argument(
        "-m",
        "--methods",
        "--method",
        dest="method",
        default="epsilon_plus_flat,sensitivity",
        metavar="LIST",
        help="comma-separated, or all; `onnxlrp methods` lists them (default: %(default)s)",
    )
    group.add_argument(
        "--metric",
        "--metrics",
        dest="metric",
        default="pixel_flipping,insertion,deletion",
        metavar="LIST",
        help="comma-separated, or all (default: %(default)s)",
    )
    group.add_argument(
        "-t", "--target", default="top1", metavar="CLASS", help="class id, label or top1 (default: top1)"
    )
    group.add_argument(
        "--masks", metavar="DIR", help="a mask NAME.png or NAME.npy of a sample: what is not black is it"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="METRIC.OPTION=VALUE",
        help="such as pixel_flipping.baseline=blur; repeatable",
    )
    group.add_argument(
        "--on-unsupported",
        choices=("error", "gradient", "pass"),
        default="error",
        help="for layers that a method has no rule for (default: %(default)s)",
    )
    _choice(group)
    _given(group)
    _options(parser)
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        help="results as .json, kept as soon as they are there: the same command goes on where it was stopped; curves "
        "as FILE.METRIC.png beside it",
    )
    group = parser.add_argument_group("how it runs")
    group.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="inputs at a time (default: %(default)s)"
    )
    _engine(group)
    _preprocessing(parser)
    _safety(parser)
    _common(parser, "the results as JSON on stdout")


def doctor(parser: Parser) -> None:
    _common(parser, "all of it as JSON on stdout")


def catalogue(parser: Parser) -> None:
    _common(parser, "as JSON on stdout")


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


def _choice(group: Any) -> None:
    group.add_argument(
        "--output", metavar="NAME", help="the model's output to explain (default: the first with a score a class)"
    )
    group.add_argument(
        "--input", metavar="NAME", help="the model's input to explain it at (default: the first that is like a picture)"
    )


def _given(group: Any) -> None:
    group.add_argument(
        "--given",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another input of the model: a number, or an .npy file of one sample or of one for each; repeatable",
    )


def _method(group: Any, more: str = "") -> None:
    group.add_argument(
        "-m",
        "--method",
        default="epsilon_plus_flat",
        metavar="NAME",
        help="; ".join(filter(None, ("`onnxlrp methods` lists them (default: %(default)s)", more))),
    )
    group.add_argument(
        "--rule",
        action="append",
        default=[],
        metavar="LAYER=RULE",
        help="'features.0=zbox(-2.1,2.6)', 'Conv=gamma(0.25)': path, regular expression for it, operator or kind; "
        "repeatable, the first that matches counts, before the method's own",
    )
    group.add_argument(
        "--on-unsupported",
        choices=("error", "gradient", "pass"),
        default="error",
        help="for layers that the method has no rule for: stop, take the gradient, or pass relevance unchanged; those "
        "that it decides are named (default: %(default)s)",
    )


def _options(parser: Parser) -> None:
    group = parser.add_argument_group("options of methods")
    for name, text in METHOD_OPTIONS.items():
        metavar = "FILE" if name == "patterns" else "X"
        group.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=text)


def _running(parser: Parser) -> None:
    """How a command runs that reads many inputs: in batches, past bad ones, on an engine, with their preprocessing."""
    group = parser.add_argument_group("how it runs")
    group.add_argument("--batch-size", type=int, default=8, metavar="N", help="inputs at a time (default: %(default)s)")
    group.add_argument(
        "--on-error",
        choices=("fail", "skip"),
        default="fail",
        help="at an input that is rejected: stop, or go on and exit with 3 (default: %(default)s)",
    )
    _engine(group)
    _preprocessing(parser)
    _safety(parser)


def _engine(group: Any) -> None:
    group.add_argument(
        "--engine", default="auto", metavar="NAME", help="auto, ort, cuda, reference or emulator (default: %(default)s)"
    )
    _precision(group)
    group.add_argument("--providers", metavar="LIST", help="onnxruntime's execution providers, such as cuda,cpu")


def _precision(group: Any) -> None:
    group.add_argument(
        "--precision", metavar="NAME", help="of cuda and emulator: exact (float32) or fast (TF32) (default: exact)"
    )


def _preprocessing(parser: Parser) -> None:
    group = parser.add_argument_group(
        "preprocessing",
        "else MODEL.prep.toml, the metadata, the files of Hugging Face or timm beside the model, the graph; or an "
        "assumption that is said to be one",
    )
    for name, (metavar, text) in PREPROCESSING.items():
        group.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=text)
    group.add_argument("--strict", action="store_true", help="assume nothing about preprocessing: exit with 4 instead")


def _safety(parser: Parser) -> None:
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


def _common(parser: Parser, json: str) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help=json)
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more on stderr; -vv: tracebacks")
    group.add_argument("-q", "--quiet", action="store_true", help="no summary and no notes")
