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
        "  maco      phases alone, with the spectrum of real pictures: hazy, natural colours\n"
        "  yosinski  pixels with decay, blur and clipping\n"
        "  pixels    pixels with an l2 penalty: mostly noise\n\n"
        "examples:\n"
        "  onnxlrp prototype model.onnx -t goose -o goose.png --figure goose.figure.png\n"
        "  onnxlrp prototype model.onnx -t goose --images photos/ -n 4 --format png,json\n"
        "  onnxlrp prototype model.onnx -t goose --from photo.jpg -o more_goose.png"
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    group = parser.add_argument_group("prototype")
    groups.asked(group, "prototype", target={"help": "class id or label"})
    group.add_argument(
        "--style",
        default="fourier",
        metavar="NAME",
        help="fourier, smooth, maco, yosinski or pixels (default: %(default)s)",
    )
    group.add_argument(
        "--unit",
        metavar="UNIT",
        help="a unit inside, in the place of a class: layer4:12 (a channel), layer4:12@3,4 (at a place), "
        "layer4:v.npy (a direction)",
    )
    group.add_argument("--steps", type=int, metavar="N", help="steps of the optimiser (default: that of the style)")
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
    for word, text in (("low", "lowest"), ("high", "highest")):
        group.add_argument(
            f"--{word}", metavar="X", help=f"{text} value of an input that is no picture: a number, or one per channel"
        )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="seed of random numbers (default: %(default)s)")
    group = parser.add_argument_group("files")
    group.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        help="the bare picture, .png, or .npz or .json (default: {label}.prototype.png); several pictures are numbered",
    )
    group.add_argument(
        "--format", metavar="LIST", help="png,npz,json: one file each (default: from the name, else png)"
    )
    group.add_argument("--figure", metavar="FILE", help="a captioned figure, .png")
    group.add_argument("--resume", action="store_true", help="go on with a run that was interrupted")
    group = parser.add_argument_group("execution")
    groups.asked(group, "prototype", "run")
    groups.engine(group)
    groups.preprocessing(parser)
    groups.safety(parser)
    groups.common(parser, "the record as JSON on stdout")
