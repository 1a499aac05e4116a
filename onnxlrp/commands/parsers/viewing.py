"""Arguments of `onnxlrp view`."""

from __future__ import annotations

from . import groups
from .parser import Parser


def view(parser: Parser) -> None:
    """Add the arguments of `onnxlrp view`."""
    parser.epilog = (
        "The page is for this machine alone: it listens on 127.0.0.1, and its address holds a random token. Nothing\n"
        "that it shows is written to a file. Ctrl-C ends it.\n"
        "From another machine: --port 8123 here, ssh -L 8123:127.0.0.1:8123 there.\n\n"
        "examples:\n"
        "  onnxlrp view model.onnx\n"
        "  onnxlrp view model.onnx photos/ -m epsilon_gamma_box\n"
        "  onnxlrp view float.onnx int8.onnx photos/"
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="*",
        help="a second .onnx file to compare with; pictures, .npy arrays, tables, texts, globs, or folders or .tar "
        "archives of them, to choose from on the page",
    )
    groups.recursive(parser)
    group = parser.add_argument_group("page")
    group.add_argument("--port", type=int, default=0, metavar="N", help="port of the page (default: any that is free)")
    group.add_argument("--no-open", action="store_true", help="print the address, and open no browser")
    group = parser.add_argument_group("explanation to begin with")
    groups.asked(group, "view")
    groups.options(parser)
    group = parser.add_argument_group("execution")
    groups.asked(group, "view", "run")
    groups.engine(group)
    groups.preprocessing(parser)
    groups.safety(parser)
    groups.common(parser, "the address as JSON on stdout")
