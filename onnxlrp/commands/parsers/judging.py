"""Arguments of the commands that check, compare or evaluate models and explanations."""

from __future__ import annotations

from . import groups
from .parser import Parser

METHODS_DEFAULT = "auto,sensitivity"  # of evaluate


def check(parser: Parser) -> None:
    """Add the arguments of `onnxlrp check`."""
    parser.epilog = (
        "examples:\n"
        "  onnxlrp check model.onnx images/ --masks masks/\n"
        "  onnxlrp check -c onnxlrp.toml -o report.xml -o report.sarif --format github\n"
        "  onnxlrp check model.onnx images/ --baseline baseline/ --update-baseline\n"
        "  onnxlrp check model.onnx images/ --calibrate >> onnxlrp.toml"
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help="an .onnx file (default: that of the settings)")
    groups.inputs(parser, "pictures, .npy arrays, globs, or folders or .tar archives of them", "*")
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        help="settings; flags take precedence (default: ./onnxlrp.toml without MODEL)",
    )
    parser.add_argument("--list", action="store_true", help="list the checks, their severities and thresholds")
    group = parser.add_argument_group("references")
    group.add_argument("--masks", metavar="DIR", help="a mask NAME.png for each sample, where relevance belongs")
    group.add_argument(
        "--expected",
        action="append",
        default=[],
        metavar="PATH",
        help="stored outputs: an .npz file, or a test_data_set_0 folder; repeatable",
    )
    group.add_argument("--baseline", metavar="DIR", help="folder of an earlier run's results")
    group.add_argument("--update-baseline", action="store_true", help="store the results of this run in --baseline DIR")
    group.add_argument("--calibrate", action="store_true", help="measure the noise floor and propose thresholds")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="CHECK.THRESHOLD=VALUE",
        help="such as drift.cosine=0.9 or drift.severity=warning (error, warning, note, off); repeatable",
    )
    group = parser.add_argument_group("explanation")
    groups.asked(group, "check", method={"help": "default: that of the settings, else auto, by the kind of input"})
    group.add_argument("--engine", metavar="NAME", help="auto, ort, cuda, reference or emulator (default: auto)")
    groups.asked(group, "check", "run", batch_size={"default": None})
    groups.options(parser)
    group = parser.add_argument_group("reports")
    groups.findings_format(group)
    groups.reports(group, "a report: .json, .xml (JUnit), .sarif, .md or .txt, or FORMAT=FILE; repeatable")
    groups.preprocessing(parser)
    groups.safety(parser)
    groups.common(parser, "the findings as JSON on stdout, as --format json")


def compare(parser: Parser) -> None:
    """Add the arguments of `onnxlrp compare`."""
    parser.epilog = (
        "examples:\n"
        "  onnxlrp compare float.onnx int8.onnx images/ --min cosine=0.95 -o worst.png\n"
        "  onnxlrp compare old.onnx new.onnx images/ --save results.json\n"
        "  onnxlrp compare --from results.json --min top1=0.98 --min cosine=0.9 --max logits=0.1 -o report.xml"
    )
    parser.add_argument("model", metavar="A", nargs="?", help="an .onnx file: the reference")
    parser.add_argument("other", metavar="B", nargs="?", help="an .onnx file of the same classes")
    groups.inputs(parser, "pictures, .npy arrays, globs, or folders or .tar archives of them", "*")
    group = parser.add_argument_group("comparison")
    group.add_argument(
        "--metric", metavar="LIST", help="of the maps: cosine,spearman,topk_iou,mass_shift (default: all four)"
    )
    group.add_argument(
        "--floor", type=float, metavar="X", help="largest drift of a layer that is noise (default: measured)"
    )
    groups.asked(group, "compare", target={"help": "class that both explain (default: A's best)"})
    groups.options(parser)
    group = parser.add_argument_group("thresholds")
    for flag, text in (
        ("--min", "at least: top1=0.98 (share of equal answers), cosine, spearman, topk_iou; repeatable"),
        ("--max", "at most: logits=0.05 (of A's largest logit), mass_shift; repeatable"),
    ):
        group.add_argument(flag, action="append", default=[], metavar="NAME=X", help=text)
    group.add_argument(
        "--from", dest="judged", metavar="FILE", help="judge the results that --save wrote again; no model is read"
    )
    group = parser.add_argument_group("reports")
    group.add_argument("--save", metavar="FILE", help="the results, as .json; the worst maps beside it, as .npz")
    groups.reports(
        group, ".png: the worst pictures side by side; .json, .xml (JUnit), .sarif, .md or .txt: a report; repeatable"
    )
    group.add_argument("--worst", type=int, default=4, metavar="N", help="pictures in the .png (default: %(default)s)")
    groups.findings_format(group)
    groups.running(parser, "compare", rejects="")
    groups.common(parser, "the findings as JSON on stdout, as --format json")


def report(parser: Parser) -> None:
    """Add the arguments of `onnxlrp report`."""
    parser.epilog = (
        "examples:\n"
        "  onnxlrp explain model.onnx images/ --ledger --format json,npz -o 'run/{stem}.{target}.{method}'\n"
        "  onnxlrp check model.onnx images/ -o run/check.json\n"
        "  onnxlrp compare a.onnx b.onnx images/ --save run/compare.json\n"
        "  onnxlrp evaluate model.onnx images/ -o run/methods.json\n"
        "  onnxlrp report run/ -o report.html"
    )
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="a JSON file of explain, check, compare or evaluate, or a folder of them; pictures come from the .npz "
        "beside it (of an explanation else from the .png)",
    )
    parser.add_argument(
        "-o", "--out", required=True, metavar="FILE", help="the page for offline use, .html, or a folder"
    )
    groups.common(parser, "the file and its contents as JSON on stdout")


def evaluate(parser: Parser) -> None:
    """Add the arguments of `onnxlrp evaluate`."""
    parser.epilog = (
        "metrics:\n"
        "  pixel_flipping, deletion, insertion, abpc: does the score follow the map?\n"
        "  pointing_game, energy_in_mask: does it lie on the object? (--masks)\n"
        "  max_sensitivity, shattering: does it stay where the picture hardly changes?\n"
        "  randomisation: does it depend on the weights?   ledger, conservation: does it add up?\n\n"
        "example:\n"
        "  onnxlrp evaluate model.onnx images/ --methods epsilon_plus_flat,sensitivity \\\n"
        "    --metric pixel_flipping,pointing_game --masks masks/ -o results.json"
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help="an .onnx file")
    groups.inputs(parser, "pictures, .npy arrays, globs, or folders or .tar archives of them", "*")
    parser.add_argument("--list", action="store_true", help="list the metrics and their options")
    group = parser.add_argument_group("evaluation")
    groups.asked(
        group,
        "evaluate",
        method={
            "flags": ("-m", "--methods", "--method"),
            "default": METHODS_DEFAULT,
            "metavar": "LIST",
            "help": "comma-separated, or all; `onnxlrp methods` lists them (default: %(default)s)",
        },
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
        "--masks", metavar="DIR", help="a mask NAME.png or NAME.npy for each sample: the object is not black"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="METRIC.OPTION=VALUE",
        help="such as pixel_flipping.baseline=blur; repeatable",
    )
    groups.options(parser)
    group = parser.add_argument_group("reports")
    group.add_argument(
        "-o",
        "--out",
        metavar="FILE",
        help="results as .json, or a folder, saved one by one: the same command continues where it was stopped; curves "
        "as FILE.METRIC.png beside it",
    )
    group = parser.add_argument_group("execution")
    groups.asked(group, "evaluate", "run", batch_size={"default": 32, "help": "inputs at a time (default: 32)"})
    groups.engine(group)
    groups.preprocessing(parser)
    groups.safety(parser)
    groups.common(parser, "the results as JSON on stdout")


def tune(parser: Parser) -> None:
    """Add the arguments of `onnxlrp tune`."""
    parser.epilog = (
        "Measured are the rules of attention with several gamma, or the presets of other networks, by abpc. The gain\n"
        "over the default is that on pictures left out of the choice. Only where its interval lies above 0,\n"
        "MODEL.tune.toml is written beside the model, and is its default from then on.\n\n"
        "example:\n"
        "  onnxlrp tune vit.onnx photos/ -o tune.json"
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    groups.inputs(parser, "pictures, .npy arrays, globs, or folders or .tar archives of them")
    group = parser.add_argument_group("measurement")
    groups.asked(group, "tune")
    group.add_argument(
        "--cells", type=int, default=14, metavar="N", help="patches along each axis (default: %(default)s)"
    )
    groups.seed(group)
    group = parser.add_argument_group("reports")
    group.add_argument(
        "-o", "--out", metavar="FILE", help="results as .json, saved one by one: the same command continues"
    )
    groups.running(parser, "tune", rejects="")
    groups.common(parser, "the results as JSON on stdout")
