"""Arguments of the commands that look for strategies and concepts in many samples."""

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
    groups.inputs(parser, "pictures of one class, .npy arrays, globs, or folders or .tar archives of them")
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


def concepts(parser: Parser) -> None:
    """Add the arguments of `onnxlrp concepts`."""
    parser.epilog = (
        "examples:\n"
        "  onnxlrp concepts test model.onnx zebras/ --concept stripes/ -t zebra --layer layer3 --random textures/\n"
        "  onnxlrp concepts test model.onnx zebras/ --concept stripes/ -t zebra --layer layer3 --figure tcav.png\n"
        "  onnxlrp concepts find model.onnx images/ --masks masks/ --layer layer3 -o concepts/\n"
        "  onnxlrp concepts find model.onnx folders_by_label/ --layer layer3"
    )
    parser.add_argument(
        "what",
        metavar="test|find",
        choices=("test", "find"),
        help="test: is a class sensitive to a concept? find: which units detect which concepts?",
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    groups.inputs(parser, "pictures, .npy arrays, globs, or folders or .tar archives of them")
    parser.add_argument("--layer", action="append", default=[], metavar="LAYER", help="a layer; repeatable")
    group = parser.add_argument_group("test (TCAV)")
    group.add_argument(
        "--concept", action="append", default=[], metavar="DIR", help="pictures that show a concept; repeatable"
    )
    group.add_argument(
        "-t", "--target", action="append", default=[], metavar="CLASS", help="class id or label; repeatable"
    )
    group.add_argument(
        "--random", metavar="DIR", help="pictures without the concept (default: the inputs with another answer)"
    )
    group.add_argument(
        "--classifier",
        default="fastcav",
        metavar="NAME",
        help="fastcav (difference of means), svm or logistic (these need scikit-learn) (default: %(default)s)",
    )
    group.add_argument(
        "--statistic",
        default="magnitude",
        metavar="NAME",
        help="what decides: magnitude (mean derivative) or sign (share of positive ones) (default: %(default)s)",
    )
    group.add_argument(
        "--space",
        default="flat",
        metavar="NAME",
        help="flat (all values of the layer) or mean (each channel's mean over positions) (default: %(default)s)",
    )
    group.add_argument(
        "--runs", type=int, default=0, metavar="N", help="resamplings of the intervals (default: 200; classifiers: 50)"
    )
    group.add_argument(
        "--permutations", type=int, default=0, metavar="N", help="random sets (default: what the corrected level needs)"
    )
    groups.seed(group)
    group = parser.add_argument_group("find (Network Dissection, INVERT)")
    group.add_argument(
        "--masks", metavar="DIR", help="a mask NAME.png for each input, or a folder of such folders, one a concept"
    )
    group.add_argument(
        "--labels-from", metavar="FILE", help="a .csv file of lines NAME,LABEL (default: the folders of the inputs)"
    )
    group.add_argument(
        "--quantile",
        type=float,
        default=0.005,
        metavar="SHARE",
        help="share of a unit's values above its threshold (default: %(default)s)",
    )
    group.add_argument(
        "--pool", default="mean", metavar="NAME", help="a unit's value for AUC: mean or max (default: %(default)s)"
    )
    group = parser.add_argument_group("inputs, level and files")
    groups.asked(group, "concepts")
    group.add_argument(
        "--alpha",
        type=float,
        default=0.05,
        metavar="P",
        help="level, corrected for the number of tests (default: %(default)s)",
    )
    group.add_argument("-o", "--out", metavar="DIR", help="a folder for the files")
    group.add_argument("--format", default="json,npz,csv", metavar="LIST", help="files (default: %(default)s)")
    group.add_argument(
        "--figure",
        metavar="FILE",
        help="a figure, .png: scores beside those of random sets; or the units that detect concepts best",
    )
    groups.running(parser, "concepts")
    groups.common(parser, "the results as JSON on stdout")


def cells(parser: Parser) -> None:
    """Add the arguments of `onnxlrp cells`."""
    parser.epilog = (
        "A cell is chosen on the first half of the text and reported on the second, beside what the best of all cells\n"
        "reaches with the property shifted to other places (chance).\n\n"
        "examples:\n"
        "  onnxlrp cells model.onnx text.txt -o cells.html\n"
        "  onnxlrp cells model.onnx text.txt -o cells.html --property quotes --property mine.csv\n"
        "  onnxlrp cells model.onnx text.txt -o cells.png --cell lstm.cell:12"
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument(
        "inputs",
        metavar="TEXT",
        nargs="+",
        help="a text in UTF-8, each file as a whole; or .npy arrays of token ids or values, [steps, ...]",
    )
    group = parser.add_argument_group("cells")
    group.add_argument(
        "--property",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="what cells may track: quotes, column, indentation, brackets, or a .csv or .parquet with a row for each "
        "character, token or step; repeatable (default: the four)",
    )
    group.add_argument(
        "--cell",
        action="append",
        default=[],
        metavar="UNIT",
        help="a cell to show first, such as lstm.cell:12; repeatable",
    )
    group.add_argument("--alpha", type=float, default=0.05, metavar="P", help="level of a test (default: %(default)s)")
    group.add_argument(
        "--window",
        type=int,
        default=10_000,
        metavar="N",
        help="most characters that are run at once, where the file leaves the length open (default: %(default)s)",
    )
    group.add_argument(
        "--excerpt", type=int, default=1000, metavar="N", help="characters that are shown (default: %(default)s)"
    )
    group.add_argument(
        "--start", type=int, metavar="N", help="the first of them (default: a line in the middle of the text)"
    )
    groups.asked(group, "cells")
    group = parser.add_argument_group("files")
    group.add_argument("-o", "--out", default="cells.html", metavar="FILE", help="(default: %(default)s)")
    group.add_argument(
        "--format",
        metavar="LIST",
        help="html (an offline page), json, npz (states, shares of gates), png: one file each (default: from the name)",
    )
    groups.running(parser, "cells", rejects="")
    groups.common(parser, "what was found as JSON on stdout")
