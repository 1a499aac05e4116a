"""`onnxlrp check`: run the checks of a model, store its baseline, or calibrate thresholds."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .. import files
from ..checks import baseline, calibrate, suite
from ..checks.context import CheckContext
from ..checks.registry import CHECKS, thresholds
from ..checks.settings import Settings
from ..checks.toml import parse, read
from ..errors import CheckFailed, UsageError
from ..findings import formats
from ..model.options.explain import flags as explain_flags
from . import arguments, reading
from .arguments import is_stated
from .console import Console
from .parsers.groups import PREPROCESSING

_SETTINGS = "onnxlrp.toml"


def run(args: argparse.Namespace, console: Console) -> int:
    """Run the checks, store a baseline, or propose thresholds; return the exit code."""
    if args.list:
        return _list(console)
    wanted = [_file(word) for word in args.out]
    shown = formats.named("json" if args.json else args.format)
    settings = asked(args)
    model, inputs = _words(args, settings)
    if args.update_baseline or args.calibrate:
        context = suite.open_context(model, inputs, settings)
        reading.say_reordered(suite.are_reordered(context), console)
        return _stored(context, console) if args.update_baseline else _calibrated(context, console)
    findings = suite.run(model, inputs, settings, console.progress)
    console.clear()
    reading.say_reordered(findings.about.get("columns_reordered", False), console)
    for name, path in wanted:
        files.replace(path, formats.FORMATS[name](findings).encode())
    _print(shown(findings), console, quiet=console.quiet and not args.json and args.format == "table")
    for _, path in wanted:
        console.detail(f"wrote {path}")
    return CheckFailed.code if findings.fails else 0


def asked(args: argparse.Namespace) -> Settings:
    """Return the settings of the file, overridden by flags. Raises UsageError, InputError."""
    # The settings of this folder, where the command line names no model and no other settings.
    named = args.model is not None and args.model.lower().endswith(".onnx")
    config = args.config or (_SETTINGS if not named and Path(_SETTINGS).is_file() else None)
    settings = read(config) if config else Settings()
    flags: dict[str, Any] = {
        "masks": args.masks and _here(args.masks),
        "expected": tuple(_here(word) for word in args.expected),
        "baseline": args.baseline and _here(args.baseline),
        "max_memory": args.max_memory,
        "engine": args.engine,
        **{name: getattr(args, name) for name, _ in explain_flags("check")},
    }
    flags |= {name: True for name in ("strict", "allow_linked_data", "recursive") if getattr(args, name)}
    if args.from_list is not None:
        settings = replace(settings, samples=())
        flags["from_list"] = args.from_list if args.from_list == "-" else _here(args.from_list)
    flags |= {name: getattr(args, name) for name in ("path_column", "name_column")}
    prep = {key: value for key in PREPROCESSING if (value := getattr(args, key)) is not None}
    if (size := arguments.read_size(prep.get("size"))) is not None:
        flags["size"] = size
        if not arguments.is_of_pictures(size):
            del prep["size"]
    if prep:
        flags["prep"] = {**settings.prep, **prep}
    if own := arguments.options_for(args, str(args.method or settings.method)):
        kept = settings.options if args.method in (None, settings.method) else {}
        flags["options"] = {**kept, **{key: _absolute(value) for key, value in own.items()}}
    elif args.method not in (None, settings.method):
        flags["options"] = {}
    given = {name: value for name, value in flags.items() if is_stated(value)}
    # The value of a flag is read as that of the same key of a file.
    stated = parse({k: list(v) if isinstance(v, tuple) else v for k, v in given.items()} | {"checks": _set(args.set)})
    checks: dict[str, Any] = {
        "thresholds": {**settings.thresholds, **_merged(settings.thresholds, stated.thresholds)},
        "severities": {**settings.severities, **stated.severities},
    }
    return replace(settings, **{name: getattr(stated, name) for name in given}, **checks)


def _merged(old: Any, new: Any) -> dict[str, dict[str, Any]]:
    return {id: {**old.get(id, {}), **table} for id, table in new.items()}


def _here(word: str) -> str:
    """The absolute path of a flag, which is relative to the working directory and not to the settings."""
    return str(Path(word).absolute())


def _absolute(value: Any) -> Any:
    """The value of a method's option; of one that is the path of a file, the absolute path."""
    return _here(value) if isinstance(value, str) and Path(value).exists() else value


def _words(args: argparse.Namespace, settings: Settings) -> tuple[str | None, list[str] | None]:
    """The model and the samples of the command line; None for those of the settings."""
    words = [word for word in (args.model, *args.inputs) if word is not None]
    model = None
    if words and (settings.model is None or words[0].lower().endswith(".onnx")):
        model = words.pop(0)
    if words and args.from_list is not None:
        raise UsageError(f"--from-list {args.from_list} beside {words[0]}", "give the inputs or a list of them")
    return model, words or None


def _set(words: list[str]) -> dict[str, dict[str, Any]]:
    """`drift.cosine=0.9` and `drift.severity=warning` as tables of checks."""
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        name, _, value = word.partition("=")
        id, _, threshold = name.partition(".")
        if not (id and threshold and value):
            raise UsageError(f'--set "{word}" is not CHECK.THRESHOLD=VALUE', "write it as in --set drift.cosine=0.9")
        found.setdefault(id, {})[threshold] = _number(value)
    return found


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _file(word: str) -> tuple[str, Path]:
    """The format and the path of `report.xml` or `junit=report.out`."""
    name, equals, path = word.partition("=")
    if equals and name in formats.FORMATS:
        return name, Path(path)
    return formats.of_file(word), Path(word)


def _stored(context: CheckContext, console: Console) -> int:
    if context.settings.baseline is None:
        raise UsageError("--update-baseline: no folder", 'add --baseline DIR, or baseline = "DIR" to the settings')
    made = baseline.capture(context)
    path = baseline.write(made, context.settings.path(context.settings.baseline))
    console.line("wrote", f"{path}  {len(made.names)} samples, {path.stat().st_size / 1e3:.1f} kB")
    console.json({"file": str(path), "samples": len(made.names), "hashes": dict(made.hashes)}, indent=1)
    return 0


def _calibrated(context: CheckContext, console: Console) -> int:
    found = calibrate.proposals(context)
    console.json({"proposals": [asdict(proposal) for proposal in found]}, indent=1)
    if not console.as_json:
        _print(calibrate.to_toml(found), console)
    console.note(
        f"measured on {len(context.names)} samples: the thresholds allow the present state",
        "inspect the heatmaps first: onnxlrp explain",
    )
    return 0


def _list(console: Console) -> int:
    rows = [("check", "severity", "thresholds", "what it says")]
    listed = []
    for id, entry in CHECKS.items():
        known = thresholds(id)
        said = " ".join(f"{name}={'none' if value is None else value}" for name, value in known.items())
        rows.append((id, entry.severity, said, entry.summary))
        listed.append({"check": id, "severity": entry.severity, "thresholds": known, "summary": entry.summary})
    console.table(rows)
    console.json({"checks": listed}, indent=1)
    return 0


def _print(text: str, console: Console, quiet: bool = False) -> None:
    if not quiet:
        console.clear()
        sys.stdout.write(text)
