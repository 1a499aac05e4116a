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
}
PREPROCESSING = {
    "prep": ("PRESET|FILE", "imagenet, 0-1, -1-1, 0-255, caffe-bgr, or a .toml file of the pieces below"),
    "mean": ("M,M,M", "subtracted after scaling"),
    "std": ("S,S,S", "divided by"),
    "scale": ("X", "pixel values 0..255 are multiplied by this, such as 1/255"),
    "color": ("NAME", "RGB, BGR or grey"),
    "layout": ("NAME", "NCHW, NHWC or NHW"),
    "size": ("HxW", "height and width of the input where the model leaves them open"),
    "resize": ("NAME", "shorter-crop or stretch"),
    "crop": ("SHARE", "share of the shorter side that the model sees, such as 0.875"),
    "interpolation": ("NAME", "bilinear, bicubic, nearest, lanczos or box"),
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
    _method(group, "a comma-separated list gives a file each")
    _options(parser)
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "-o",
        "--output",
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
    group.add_argument("--ledger", action="store_true", help="print where relevance stayed, layer by layer")
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
    _common(parser, "one JSON object a line on stdout, for each input and method")


def inspect(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    group = parser.add_argument_group("the rules shown")
    _method(group)
    _options(parser)
    group = parser.add_argument_group("the kernels shown")
    group.add_argument(
        "--engine", metavar="NAME", help="cuda or emulator: also list the kernels that run the method; needs no GPU"
    )
    group.add_argument("--batch", type=int, default=1, metavar="N", help="for this many inputs (default: %(default)s)")
    _preprocessing(parser)
    _common(parser, "all of it as JSON on stdout")


def export(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the explainer's file, .onnx")
    group = parser.add_argument_group("what it explains")
    group.add_argument(
        "-t",
        "--target",
        default="input",
        metavar="WHICH",
        help="input: class ids are an input of the file; top1 or topK: its own best classes (default: %(default)s)",
    )
    _method(group)
    _options(parser)
    _preprocessing(parser)
    _common(parser, "inputs, outputs and size as JSON on stdout")


def doctor(parser: Parser) -> None:
    _common(parser, "all of it as JSON on stdout")


def catalogue(parser: Parser) -> None:
    _common(parser, "as JSON on stdout")


COMMANDS: dict[str, tuple[str, Callable[[Parser], None], str]] = {
    "explain": ("write heatmaps of pictures or arrays", explain, "explain"),
    "inspect": ("show inputs, outputs, layers and the rule that each gets", inspect, "inspect"),
    "export": ("save model and method as one ONNX file of standard operators", export, "export"),
    "doctor": ("say which engines run on this machine, and the command that mends what does not", doctor, "doctor"),
    "methods": ("list the methods", catalogue, "methods"),
    "rules": ("list the rules", catalogue, "rules"),
}


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


def _options(parser: Parser) -> None:
    group = parser.add_argument_group("options of methods")
    for name, text in METHOD_OPTIONS.items():
        group.add_argument(f"--{name}", metavar="X", help=text)


def _engine(group: Any) -> None:
    group.add_argument(
        "--engine", default="auto", metavar="NAME", help="auto, ort, cuda, reference or emulator (default: %(default)s)"
    )
    group.add_argument("--providers", metavar="LIST", help="onnxruntime's execution providers, such as cuda,cpu")


def _preprocessing(parser: Parser) -> None:
    group = parser.add_argument_group(
        "preprocessing", "else MODEL.prep.toml beside the model, its metadata, or an assumption that is said to be one"
    )
    for name, (metavar, text) in PREPROCESSING.items():
        group.add_argument(f"--{name}", metavar=metavar, help=text)
    group.add_argument("--strict", action="store_true", help="assume nothing about preprocessing: exit with 4 instead")


def _common(parser: Parser, json: str) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help=json)
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more on stderr; -vv: tracebacks")
    group.add_argument("-q", "--quiet", action="store_true", help="no summary and no notes")
