"""What the arguments ask for, checked: the model, its methods with their options, and the rules put first."""

from __future__ import annotations

import argparse
import re
from typing import Any

from .. import rules
from ..composites import PRESETS, Composite, matches, options_of, preset
from ..errors import UsageError, did_you_mean
from ..model import Model, load
from ..rules import Rule
from .parsers import METHOD_OPTIONS, PREPROCESSING

Entries = list[tuple[str, Rule]]


def methods(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Each method that is asked for, with those of the given options that it has. Raises UsageError."""
    names = list(dict.fromkeys(filter(None, (word.strip() for word in args.method.split(",")))))
    if not names:
        raise UsageError("--method names no method", "onnxlrp methods lists them")
    for name in names:
        if name not in PRESETS:
            raise UsageError(f'there is no method "{name}"', did_you_mean(name, PRESETS))
    given = {key: _number(key, getattr(args, key)) for key in METHOD_OPTIONS if getattr(args, key) is not None}
    for key in given:
        if not any(key in options_of(name) for name in names):
            having = ", ".join(name for name in PRESETS if key in options_of(name))
            raise UsageError(f"method {' and '.join(names)} has no option --{key}", f"methods that have it: {having}")
    chosen = {name: {key: value for key, value in given.items() if key in options_of(name)} for name in names}
    for name, options in chosen.items():
        preset(name, **options)
    return chosen


def method(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The one method of a command that takes one."""
    found = methods(args)
    if len(found) > 1:
        raise UsageError(f"--method {args.method}: one at a time here", f"--method {next(iter(found))}")
    return next(iter(found.items()))


def entries(args: argparse.Namespace) -> Entries:
    """The (pattern, rule) entries of --rule. Raises UsageError."""
    made: Entries = []
    for text in args.rule:
        # Patterns and a rule's options may hold "=" too.
        found = re.fullmatch(r"(.+?)=(\s*\w+\s*(?:\(.*\))?\s*)", text)
        if found is None:
            raise UsageError(f'--rule "{text}" is not LAYER=RULE', "write it as in --rule 'Conv=gamma(0.25)'")
        made.append((found[1].strip(), rules.parse(found[2])))
    return made


def open_model(args: argparse.Namespace, engine: str | None = None) -> Model:
    """The model, with the preprocessing that the flags state; `engine` takes the place of the flag's.

    Raises InputError, UnsupportedError, UsageError.
    """
    flags = {key: value for key in PREPROCESSING if (value := getattr(args, key)) is not None}
    chosen: str = getattr(args, "engine", "auto") if engine is None else engine
    names = getattr(args, "providers", None)
    return load(
        args.model,
        chosen,
        providers(names),
        size=_size(args.size),
        prep=flags,
        strict=args.strict,
    )


def check_matches(model: Model, composite: Composite, given: Entries) -> None:
    """Refuse a pattern that matches no layer."""
    seen = [matched for _, matched, _ in model.layers(composite)]
    for pattern, _ in given:
        if not any(matches(pattern, layer) for layer in seen):
            known = {word for layer in seen for word in (layer.path or layer.name, layer.op)}
            hint = did_you_mean(pattern, known)
            if hint.startswith("known") and len(known) > 20:
                hint = f"onnxlrp inspect {model.path} lists the layers"
            raise UsageError(f'--rule "{pattern}" matches no layer', hint)


def providers(text: str | None) -> list[str] | None:
    """onnxruntime's names of providers: `cuda` is CUDAExecutionProvider. Raises UsageError for one that is not here."""
    if text is None:
        return None
    try:
        import onnxruntime
    except ImportError:
        return None  # load says how to install it
    here = {name.removesuffix("ExecutionProvider").lower(): name for name in onnxruntime.get_available_providers()}
    found = []
    for word in filter(None, (word.strip() for word in text.split(","))):
        key = word.lower().removesuffix("executionprovider")
        if key not in here:
            raise UsageError(f'no provider "{word}" in this onnxruntime', did_you_mean(key, here))
        found.append(here[key])
    if not found:
        raise UsageError("--providers names none", "known: " + ", ".join(here))
    return found


def _number(key: str, text: str) -> Any:
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f'--{key} "{text}" is not a number', f"write --{key} 0.25") from None
    if len(numbers) > 1 and key not in ("low", "high"):
        raise UsageError(f'--{key} "{text}" is several numbers', f"write --{key} {numbers[0]:g}")
    return numbers[0] if len(numbers) == 1 else numbers


def _size(text: str | None) -> tuple[int, ...] | None:
    """One length for every axis that is left open, or one for each; what is wrong with it, preprocessing says."""
    words = (text or "").lower().replace("x", " ").replace(",", " ").split()
    return tuple(map(int, words)) if words and all(w.isdecimal() and 0 < int(w) < 1 << 20 for w in words) else None
