"""Arguments of the commands that say what a model has learned."""

from __future__ import annotations

from . import groups
from .parser import Parser


def prototype(parser: Parser) -> None:
    """Add the arguments of `onnxlrp prototype`."""
    parser.epilog = (
        "styles:\n"
        "  fourier   Fourier coefficients under shifts, scales and turns: recognisable (default)\n"
        "  smooth    as fourier, with larger parts and less grain\n"
        "  maco      phases alone, with the spectrum of real pictures: natural colours\n"
        "  yosinski  pixels with decay, blur and clipping\n"
        "  pixels    pixels with an l2 penalty: mostly noise\n\n"
        "examples:\n"
        "  onnxlrp prototype model.onnx -t goose -o goose.png --figure goose.figure.png\n"
        "  onnxlrp prototype model.onnx -t goose --images photos/ -n 4 --format png,json\n"
        "  onnxlrp prototype model.onnx -t goose --from photo.jpg -o more_goose.png\n"
        "  onnxlrp prototype model.onnx -t goose --generator generator.onnx --code-layer fc6 --images photos/"
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    group = parser.add_argument_group("prototype")
    groups.asked(group, "prototype", target={"help": "class id or label"})
    group.add_argument("--style", metavar="NAME", help="fourier, smooth, maco, yosinski or pixels (default: fourier)")
    group.add_argument(
        "--generator",
        metavar="FILE",
        help="an .onnx file that draws pictures of codes: the codes are optimised, in place of a style",
    )
    group.add_argument(
        "--code-layer",
        metavar="NAME",
        help="the layer that its codes are values of; the codes of --images bound them (default: as its metadata says)",
    )
    groups.pixels(group, "generator")
    group.add_argument(
        "--unit",
        metavar="UNIT",
        help="a unit inside, in the place of a class: layer4:12 (a channel), layer4:12@3,4 (at a place), "
        "layer4:v.npy (a direction)",
    )
    group.add_argument("--steps", type=int, metavar="N", help="steps of the optimiser (default: that of the style)")
    group.add_argument(
        "--objective",
        metavar="NAME",
        help="what is raised of a class: logit, log-probability or logit+log-probability (default: that of the style)",
    )
    group.add_argument("-n", "--n", type=int, default=1, metavar="N", help="number of pictures (default: %(default)s)")
    group.add_argument(
        "--diversity",
        nargs="?",
        type=float,
        const=0.5,
        default=0.0,
        metavar="X",
        help="let several pictures differ: weight of the likeness of their features (default: 0; without X %(const)s)",
    )
    group.add_argument(
        "--from", dest="start", metavar="FILE", help="a picture or array to start from, in place of noise"
    )
    group.add_argument(
        "--images",
        metavar="DIR",
        help="pictures that the model is for, or a folder of them for each class: colours, spectrum and range are "
        "taken from them, and the prototype is compared with them",
    )
    group.add_argument(
        "--regularisers",
        default="decay,blur,norm",
        metavar="LIST",
        help="of the style yosinski: decay, blur, norm, contribution, or none (default: %(default)s)",
    )
    groups.bounds(group)
    groups.seed(group)
    default = "(default: {label}.prototype.png, or .npz of what is no picture); several pictures are numbered"
    group = groups.pictures(parser, default)
    group.add_argument(
        "--cutout",
        metavar="FILE",
        help="the picture as .png with transparency: clear where the gradient asked for little (alpha of MACO)",
    )
    group.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    groups.running(parser, "prototype", rejects="")
    groups.common(parser, "the record as JSON on stdout")


def invert(parser: Parser) -> None:
    """Add the arguments of `onnxlrp invert`."""
    parser.epilog = (
        "examples:\n"
        "  onnxlrp invert model.onnx photo.jpg --layer layer3 -o inverted.png --figure figure.png\n"
        "  onnxlrp invert model.onnx photo.jpg --layer layer3 --restarts 4 --images photos/\n"
        "  onnxlrp invert model.onnx photo.jpg --decoder decoder.onnx"
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument("sample", metavar="INPUT", help="a picture or an array: the representation of it is inverted")
    group = parser.add_argument_group("inversion")
    group.add_argument("--layer", metavar="NAME", help="the layer: a module path, or the name of a node or a tensor")
    groups.asked(group, "invert")
    group.add_argument(
        "--decoder",
        metavar="FILE",
        help="an .onnx file that draws pictures of the layer's values: no search",
    )
    groups.pixels(group, "decoder")
    group.add_argument("--steps", type=int, default=200, metavar="N", help="steps of the search (default: %(default)s)")
    group.add_argument(
        "--restarts", type=int, default=1, metavar="N", help="searches from other noise; the best is kept (default: 1)"
    )
    group.add_argument(
        "--regularisation",
        type=float,
        metavar="C",
        help="weight of smoothness and of a small range (default: .003 in the first layer to .1 in the last)",
    )
    group.add_argument("--alpha", type=float, default=6.0, metavar="X", help="exponent of the range (default: 6)")
    group.add_argument("--beta", type=float, default=2.0, metavar="X", help="exponent of the variation (default: 2)")
    group.add_argument(
        "--images", metavar="DIR", help="pictures whose mean is the one to be better than (default: a plain picture)"
    )
    groups.bounds(group)
    groups.seed(group)
    default = "(default: {stem}.inverted.png, or .npz of what is no picture); several pictures are numbered"
    groups.pictures(parser, default)
    groups.running(parser, "invert", rejects="")
    groups.common(parser, "the record as JSON on stdout")
