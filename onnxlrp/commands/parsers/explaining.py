"""Arguments of the commands that explain, describe or export one model."""

from __future__ import annotations

from . import groups
from .parser import Parser


def explain(parser: Parser) -> None:
    """Add the arguments of `onnxlrp explain`."""
    parser.epilog = (
        "examples:\n"
        "  onnxlrp explain model.onnx cat.jpg\n"
        "  onnxlrp explain model.onnx photos/ -t top3 -m epsilon_plus_flat,epsilon_gamma_box -o 'maps/{stem}.{label}'\n"
        "  onnxlrp explain model.onnx cat.jpg --rule 'features.0=zbox(-2.1,2.6)' --rule 'Gemm=epsilon(0.01)' --ledger"
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    groups.inputs(
        parser,
        "pictures, .npy arrays, globs, or folders or .tar archives of them; tables (.csv, .parquet), a sample in each "
        "row",
    )
    group = parser.add_argument_group("explanation")
    groups.asked(
        group,
        "explain",
        target={
            "action": "append",
            "help": "class id, label, top1 or top3 (default: top1, of a detector box:1); given again, several classes "
            "over one forward pass",
        },
        method={
            "help": "`onnxlrp methods` lists them (default: auto, by the kind of input); a comma-separated list, or "
            "all, gives a file each"
        },
    )
    groups.options(parser)
    group = parser.add_argument_group("files")
    group.add_argument(
        "-o",
        "--out",
        metavar="PATTERN",
        help="file name of {stem} {target} {label} {method} {index}, or a folder "
        "(default: {stem}.{target}.png, with several methods {stem}.{target}.{method}.png)",
    )
    group.add_argument(
        "--format",
        metavar="LIST",
        help="png,npz,json,html,safetensors: one file each (default: from the name, else png)",
    )
    group.add_argument("--cmap", default="RdBu_r", metavar="NAME", help="colour map (default: %(default)s)")
    group.add_argument(
        "--clip", type=float, default=99.5, metavar="PERCENT", help="percentile of |R| at the ends of the colour map"
    )
    group.add_argument(
        "--space", default="input", metavar="NAME", help="grid of the heatmap: input (as the model sees it) or original"
    )
    group.add_argument(
        "--smooth",
        default="0",
        metavar="SIZE",
        help="smooth the drawing: a standard deviation in pixels, or pool:8",
    )
    group.add_argument(
        "--blend",
        type=float,
        default=0.92,
        metavar="SHARE",
        help="opacity over the picture (default: %(default)s)",
    )
    group.add_argument(
        "--lines",
        metavar="FILE",
        help="with --similar-to: also share the similarity among pairs of parts of both pictures (BiLRP), as a picture "
        "with lines, .png, or .npz or .json",
    )
    group.add_argument(
        "--grid", action="store_true", help="one labelled picture of all methods, instead of one per method"
    )
    groups.asked(group, "explain", "written")
    group.add_argument(
        "--table",
        metavar="FILE",
        help="a row for each explanation: scores, sums, ledger, pooled map; .jsonl or .parquet",
    )
    group.add_argument(
        "--pool", type=int, default=16, metavar="N", help="rows and columns of the table's maps, 0: none (default: 16)"
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="write down in the folder of -o what is done, and go on there with a run that was stopped; inputs that "
        "cannot be read become rows, and the exit code is 3",
    )
    groups.running(parser, "explain", "fail; with --resume skip")
    groups.common(parser, "one JSON object per input and method on stdout, one per line")


def inspect(parser: Parser) -> None:
    """Add the arguments of `onnxlrp inspect`."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help="an .onnx file")
    parser.add_argument(
        "--coverage",
        metavar="DIR",
        help="a table of the models below a folder, and the operators without a rule in each; exits with 1 if there "
        "is one",
    )
    group = parser.add_argument_group("rules")
    groups.asked(group, "inspect")
    groups.options(parser)
    group = parser.add_argument_group("kernels")
    group.add_argument(
        "--engine", metavar="NAME", help="cuda or emulator: also list the kernels that run the method; needs no GPU"
    )
    groups.precision(group)
    group.add_argument(
        "--batch", type=int, default=1, metavar="N", help="batch size of the kernels (default: %(default)s)"
    )
    group = parser.add_argument_group("saving and probing of preprocessing")
    group.add_argument("--write-prep", action="store_true", help="write the preprocessing to MODEL.prep.toml")
    group.add_argument(
        "--embed", metavar="OUT", help="write a copy of the model with the preprocessing in its metadata"
    )
    group.add_argument(
        "--probe",
        nargs="+",
        metavar="IMAGES",
        help="pictures or folders: rank presets by the model's confidence in them, as a hint; with --labels FILE of "
        "lines PICTURE CLASS also by its right answers",
    )
    groups.preprocessing(parser)
    groups.safety(parser)
    groups.common(parser, "all of it as JSON on stdout")


def export(parser: Parser) -> None:
    """Add the arguments of `onnxlrp export`."""
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.epilog = (
        "examples:\n"
        "  onnxlrp export model.onnx -o explainer.onnx --target top1\n"
        "  onnxlrp export model.onnx -o explainer.onnx --target top1 --overlay\n"
        "  onnxlrp export model.onnx --web site/ -m epsilon_plus_flat,gradient_x_input"
    )
    parser.add_argument("-o", "--out", metavar="FILE", help="the explainer's file, .onnx, or a folder")
    group = parser.add_argument_group("explanation")
    groups.asked(
        group,
        "export",
        target={
            "default": "input",
            "metavar": "WHICH",
            "help": "input: class ids are an input of the file; top1 or topK: its own best classes (default: "
            "%(default)s)",
        },
    )
    groups.options(parser)
    group = parser.add_argument_group("runtime")
    group.add_argument(
        "--opset",
        type=int,
        metavar="N",
        help="the opset of the file, from 13 on, for runtimes that lack the newest (default: 23 for most models)",
    )
    group.add_argument(
        "--precision",
        dest="weights",  # `precision` is an option of engines
        choices=("fp32", "fp16"),
        default="fp32",
        help="fp16: weights are stored in half precision, and computed with in float32 (default: %(default)s)",
    )
    group = parser.add_argument_group("pictures")
    group.add_argument(
        "--embed-preprocessing",
        action="store_true",
        help="the file takes a picture of any size, uint8 [height, width, 3], and gives a heatmap",
    )
    group.add_argument(
        "--overlay",
        action="store_true",
        help="so it does, and also draws the heatmap over the picture, uint8 [h, w, 3]",
    )
    group.add_argument(
        "--web",
        metavar="DIR",
        help="in the place of -o: a page that explains pictures in the browser, by each method of -m",
    )
    group.add_argument(
        "--runtime-files",
        metavar="DIR",
        help="the npm package onnxruntime-web that the page takes (default: node_modules/onnxruntime-web)",
    )
    groups.preprocessing(parser)
    groups.safety(parser)
    groups.common(parser, "inputs, outputs and size as JSON on stdout")


def patterns(parser: Parser) -> None:
    """Add the arguments of `onnxlrp patterns`."""
    parser.epilog = (
        "examples:\n"
        "  onnxlrp patterns model.onnx images/ -o model.patterns.npz\n"
        "  onnxlrp explain model.onnx cat.jpg -m pattern_attribution --patterns model.patterns.npz"
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    groups.inputs(parser, "pictures, .npy arrays, globs, folders or .tar archives, such as it was trained on")
    parser.add_argument("-o", "--out", metavar="FILE", help="an .npz file, or a folder (default: MODEL.patterns.npz)")
    parser.add_argument(
        "--estimator",
        default="positive",
        metavar="NAME",
        help="positive (covariance where a neuron is active), two_component (with the mean of all outputs, as the "
        "paper writes it) or linear (default: %(default)s)",
    )
    group = parser.add_argument_group("inputs and outputs")
    groups.asked(group, "patterns")
    groups.running(parser, "patterns")
    groups.common(parser, "one JSON object on stdout")
