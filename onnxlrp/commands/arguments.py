"""What the arguments ask for, checked: the model, its methods with their options, and the rules put first."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any

from .. import rules
from ..composites import Composite, matches
from ..errors import UsageError, did_you_mean
from ..methods.registry import METHODS, make
from ..model import Model, load
from ..rules import Rule
from . import method_options
from .parsers.groups import PREPROCESSING

Entries = list[tuple[str, Rule]]


def methods(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Each method that is asked for, with those of the given options that it has. Raises UsageError."""
    names = list(dict.fromkeys(filter(None, (word.strip() for word in args.method.split(",")))))
    if names == ["all"]:
        names = [name for name in METHODS if _stands_alone(name)]
    if not names:
        raise UsageError("--method names no method", "onnxlrp methods lists them")
    for name in names:
        if name not in METHODS:
            raise METHODS.unknown(name)
    given = method_options.given(args)
    for key in given:
        if not any(key in METHODS[name].options for name in names):
            having = ", ".join(name for name, entry in METHODS.items() if key in entry.options)
            raise UsageError(
                f"method {' and '.join(names)} has no option {method_options.flag(key)}",
                f"methods that have it: {having}",
            )
    chosen: dict[str, dict[str, Any]] = {}
    for name in names:
        known = METHODS[name].options
        chosen[name] = {key: method_options.value(known[key], text) for key, text in given.items() if key in known}
        make(name, **chosen[name])
    if args.on_unsupported != "error":
        chosen = {name: {**options, "on_unsupported": args.on_unsupported} for name, options in chosen.items()}
    return chosen


def _stands_alone(name: str) -> bool:
    """Whether a method can be made without options."""
    try:
        make(name)
    except (UsageError, TypeError):
        return False
    return True


def refuse_unread(methods: Mapping[str, Any], **given: Any) -> None:
    """Rules and conditions are of composites: refuse them where no method reads them."""
    if any(given.values()) and not any(METHODS[name].is_composite for name in methods):
        word = "--rule" if given["entries"] else "--condition"
        raise UsageError(
            f"{word}: {', '.join(methods)} gives layers no rules", "take a composite: -m epsilon_plus_flat"
        )


def conditions(args: argparse.Namespace) -> dict[str, list[int]]:
    """The channels of each module that --condition lets relevance through. Raises UsageError."""
    found: dict[str, list[int]] = {}
    for text in args.condition:
        path, _, numbers = text.rpartition(":")
        words = [word.strip() for word in numbers.split(",")]
        if not path or not all(word.isdecimal() for word in words):
            raise UsageError(f'--condition "{text}" is not LAYER:CHANNELS', "write it as in --condition 'layer3:12,45'")
        found.setdefault(path, []).extend(map(int, words))
    return found


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
    """The model, with the output, inputs and preprocessing that the flags state; `engine` goes before the flag's.

    Raises InputError, UnsupportedError, UsageError.
    """
    flags = {key: value for key in PREPROCESSING if (value := getattr(args, key)) is not None}
    chosen: str = getattr(args, "engine", "auto") if engine is None else engine
    names = getattr(args, "providers", None)
    model = load(
        args.model,
        chosen,
        providers(names),
        size=_size(args.size),
        prep=flags,
        strict=args.strict,
        max_memory=args.max_memory,
        allow_linked_data=args.allow_linked_data,
        precision=getattr(args, "precision", None) if engine is None else None,
    )
    return model.choose(args.output, args.input, _given(getattr(args, "given", [])), args.kind)


def _given(words: list[str]) -> dict[str, Any]:
    """Values by the names of inputs: numbers, or paths of .npy files."""
    found: dict[str, Any] = {}
    for word in words:
        name, _, value = word.rpartition("=")
        if not (name and value):
            raise UsageError(f'--given "{word}" is not NAME=VALUE', "write --given mask=mask.npy or --given scale=0.5")
        if name in found:
            raise UsageError(f"--given {name} is given twice", "give it once")
        try:
            found[name] = float(value)
        except ValueError:
            if not value.lower().endswith(".npy"):
                raise UsageError(
                    f'--given {name}: "{value}" is no number and no .npy file', f"--given {name}=0 or {name}.npy"
                ) from None
            found[name] = value
    return found


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


def _size(text: str | None) -> tuple[int, ...] | None:
    """One length for every axis that is left open, or one for each; what is wrong with it, preprocessing says."""
    words = (text or "").lower().replace("x", " ").replace(",", " ").split()
    return tuple(map(int, words)) if words and all(w.isdecimal() and 0 < int(w) < 1 << 20 for w in words) else None
