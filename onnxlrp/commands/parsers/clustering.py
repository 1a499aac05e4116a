"""Arguments of `onnxlrp clusters`."""

from __future__ import annotations

from . import groups
from .parser import Parser


def clusters(parser: Parser) -> None:
    """Add the arguments of `onnxlrp clusters`."""
    parser.epilog = (
        "examples:\n"
        "  onnxlrp clusters model.onnx horses/ -t horse -o clusters/\n"
        "  onnxlrp clusters model.onnx horses/ -t horse -o clusters/ --format json,npz,png,virelay"
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", help="pictures of one class, .npy arrays, globs, or folders of them"
    )
    group = parser.add_argument_group("explanation")
    groups.asked(
        group,
        "clusters",
        target={"help": "class id or label that all are explained for (default: top1, of each its own)"},
    )
    groups.options(parser)
    group = parser.add_argument_group("clusters")
    group.add_argument(
        "--grid", type=int, default=16, metavar="N", help="rows and columns of the pooled maps (default: %(default)s)"
    )
    group.add_argument(
        "--neighbours",
        type=int,
        default=0,
        metavar="N",
        help="nearest neighbours of each map in the graph (default: 10)",
    )
    group.add_argument(
        "--null-sets",
        type=int,
        default=19,
        metavar="N",
        help="sets of shuffled maps that clusters are compared with (default: %(default)s)",
    )
    group = parser.add_argument_group("files")
    group.add_argument("-o", "--out", default="clusters", metavar="DIR", help="a folder (default: %(default)s)")
    group.add_argument(
        "--format",
        default="json,png",
        metavar="LIST",
        help="json, npz (labels, mean maps, embedding), png (a sheet), virelay (a project for ViRelAy; needs h5py) "
        "(default: %(default)s)",
    )
    groups.running(parser, "clusters")
    groups.common(parser, "what was found as JSON on stdout")
