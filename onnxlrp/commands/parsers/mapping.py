"""Arguments of `onnxlrp atlas`."""

from __future__ import annotations

from . import groups
from .parser import Parser


def atlas(parser: Parser) -> None:
    """Add the arguments of `onnxlrp atlas`."""
    parser.epilog = (
        "The page is DIR/index.html, for offline use. The values of a unit: its activation, or its relevance as a\n"
        "share of its layer's, summed over positions.\n\n"
        "examples:\n"
        "  onnxlrp atlas model.onnx images/ -o atlas/\n"
        "  onnxlrp atlas model.onnx images/ -o atlas/ --layers 'layer[34].*' --top 16 --by relevance\n"
        "  onnxlrp atlas model.onnx classes/ --folders -o atlas/ --resume"
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    groups.inputs(parser, "pictures, .npy arrays, globs, .tar archives, or folders of them, with subfolders or without")
    group = parser.add_argument_group("atlas")
    group.add_argument(
        "--layers",
        metavar="REGEX",
        help="layers by path or node name (default: all that have weights, behind their activation function)",
    )
    group.add_argument("--top", type=int, default=9, metavar="N", help="samples of each unit (default: %(default)s)")
    group.add_argument(
        "--by",
        default="activation,relevance",
        metavar="LIST",
        help="what samples are ordered by: activation, relevance (default: both)",
    )
    group.add_argument(
        "--value", default="sum", metavar="NAME", help="of a unit, over positions: sum or max (default: %(default)s)"
    )
    group.add_argument(
        "--folders",
        action="store_true",
        help="subfolders are classes: relevance is computed for them, and units are shown for them (default: the "
        "class that the model predicts)",
    )
    groups.asked(
        group,
        "atlas",
        target={"help": "class id or label that relevance is computed for (default: top1, of each sample its own)"},
    )
    groups.options(parser)
    group = parser.add_argument_group("files")
    group.add_argument("-o", "--out", default="atlas", metavar="DIR", help="a folder (default: %(default)s)")
    group.add_argument(
        "--format", default="json,npz", metavar="LIST", help="data beside the page: json, npz (default: %(default)s)"
    )
    group.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    group = parser.add_argument_group("page")
    group.add_argument(
        "--heatmaps",
        type=int,
        metavar="N",
        help="samples of each unit with a heatmap of what it saw; each takes a pass (default: 3, in a large model of "
        "the units that matter most alone)",
    )
    group.add_argument(
        "--prototypes",
        type=int,
        default=0,
        metavar="N",
        help="of so many units of each layer, those that matter most, a prototype (default: %(default)s)",
    )
    group.add_argument("--concepts", metavar="FILE", help="the JSON that `onnxlrp concepts find` wrote of this model")
    groups.running(parser, "atlas", rejects="")
    groups.common(parser, "what was made as JSON on stdout")
