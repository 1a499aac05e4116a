"""Arguments, checked: the model, its methods with their options, and rules."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..composites import matches
from ..errors import UnsupportedError, UsageError, did_you_mean
from ..explanation.names import file_pattern
from ..methods.default import ATTENTION, CANDIDATES, PICTURES
from ..methods.registry import METHODS, make
from ..model import DEFAULT, ExplainOptions, Model, load
from ..model.options.declaration import declared
from ..preprocessing.fields import LARGEST_SIDE
from ..registry import Option
from ..runtime import onnxruntime
from . import method_options
from .parsers.groups import METHOD_OPTIONS, PREPROCESSING

FLAGS = {f.name: said.flag for f, said in declared(ExplainOptions) if said.flag}
CHOSEN = ("output", "input", "kind", "task", "head", "given", "boxes")  # what a model is opened with
PROPAGATED = [f.name for f, said in declared(ExplainOptions) if said.composites]


def explaining(args: argparse.Namespace) -> list[ExplainOptions]:
    """Return what each method of the arguments is asked for, with those of the given options that it has.

    Raises:
        UsageError: A method, option or value that does not exist, or an option that none of the methods takes.
    """
    shared = stated(args)
    names = _method_names(shared.pop("method", DEFAULT))
    given = method_options.given(args)
    _refuse_clashes(args, names, given)
    _refuse_unknown(names, given)
    _refuse_without_effect(args)
    propagated = {name: shared.pop(name) for name in PROPAGATED if name in shared}
    own_of_composites = {name: value for name, value in propagated.items() if name != "ledger"}  # it is printed empty
    if not names_all(args):  # of all methods, `refused` leaves out those without rules
        _refuse_without_rules(names, own_of_composites)
    asked = []
    for name in names:
        own = _own(name, given)
        if name != DEFAULT:
            make(name, **own)
        further = propagated if is_composite(name) else own_of_composites
        asked.append(ExplainOptions(method=name, options=own, **shared, **further))
    return asked


def _refuse_without_effect(args: argparse.Namespace) -> None:
    """Refuse a flag that changes nothing without another one."""
    if is_stated(getattr(args, "similarity", None)) and not is_stated(getattr(args, "similar_to", None)):
        raise UsageError(
            f"--similarity {args.similarity} without --similar-to", "name the other sample: --similar-to FILE"
        )


def _refuse_without_rules(names: Sequence[str], propagated: Iterable[str]) -> None:
    """Refuse what only composites take, where one of the methods is none: it would explain something else."""
    others = [name for name in names if not is_composite(name)]
    if not others:
        return
    for key in propagated:
        flag, fitting = FLAGS[key].words[-1], [name for name in names if name not in others]
        # The rules of `attention` give positions relevance in every model, those of most other composites do not.
        composites = ATTENTION if key == "positions" else ",".join(fitting) or PICTURES
        raise UsageError(
            f"{flag}: {' and '.join(others)} {'has' if len(others) == 1 else 'have'} no rules for layers",
            f"leave out {flag}, or take {'composites' if ',' in composites else 'a composite'}: -m {composites}",
        )


def options_for(args: argparse.Namespace, method: str) -> dict[str, Any]:
    """Return the options that flags state for the one method of a command, by name. Raises UsageError."""
    given = method_options.given(args)
    _refuse_unknown([method], given)
    return _own(method, given)


def _own(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """The values of the given options that a method has."""
    known = options_of(name) if given else {}
    return {key: method_options.value(known[key], text) for key, text in given.items() if key in known}


def _refuse_unknown(names: Sequence[str], given: Mapping[str, str]) -> None:
    for key in given:
        if not any(key in options_of(name) for name in names):
            having = ", ".join(name for name, entry in METHODS.items() if key in entry.options)
            raise UsageError(
                f"method {' and '.join(names)} has no option {method_options.flag(key)}",
                f"methods that have it: {having}",
            )


def _refuse_clashes(args: argparse.Namespace, names: Sequence[str], given: Mapping[str, str]) -> None:
    """Refuse a flag of the command that is called like an option of a method, unless the option has its own flag."""
    for name in names:
        # Those that auto may stand for have flags of their own for all options: none of them is imported for that.
        for key in () if name == DEFAULT else options_of(name):
            if key not in METHOD_OPTIONS and key not in given and is_stated(getattr(args, key, None)):
                shown, own = method_options.flag(key), method_options.flag_of(name, key)
                raise UsageError(
                    f"{shown} is an option of {name} and means something else to the command",
                    f"for the option of {name}: {own} X; for the command too: {shown} X {own} X",
                )


def explaining_one(args: argparse.Namespace) -> ExplainOptions:
    """Return what the one method of a command that takes one is asked for. Raises UsageError."""
    asked = explaining(args)
    if len(asked) > 1:
        raise UsageError(f"--method {args.method}: one at a time here", f"--method {asked[0].method}")
    return asked[0]


def stated(args: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of ExplainOptions that flags state, by name. Raises UsageError."""
    found = {}
    for name, flag in FLAGS.items():
        value = getattr(args, name, None)
        if is_stated(value):
            found[name] = flag.read(value)
    if isinstance(words := found.get("target"), list):  # of several targets, one forward pass
        found |= {"target": words[0]} if len(words) == 1 else {"target": "top1", "targets": words}
    return found


def is_stated(value: Any) -> bool:
    """Return whether an argument was given: 0 is, no words and a switch that is off are not."""
    return not (value is None or value is False or value in ([], ()))


def is_composite(method: Any) -> bool:
    """Return whether a method that is named propagates through layers; the default always does."""
    return method == DEFAULT or METHODS[str(method)].is_composite


def options_of(method: str) -> Mapping[str, Option]:
    """Return the options of a method; of "auto", those of all methods that it may stand for."""
    return _options(CANDIDATES if method == DEFAULT else (method,))


def _options(names: Sequence[str]) -> dict[str, Option]:
    return {key: option for name in names for key, option in METHODS[name].options.items()}


def methods(asked: Sequence[ExplainOptions], model: Model) -> list[str]:
    """Return the names of the methods for a model, that of "auto" decided.

    Raises:
        UsageError: "auto" is a method that is named too, or one without an option that is given.
    """
    names = [str(model.decided(options).method) for options in asked]
    for name, options in zip(names, asked, strict=True):
        if unknown := [key for key in options.options if key not in METHODS[name].options]:
            having = [other for other in CANDIDATES if unknown[0] in METHODS[other].options]
            raise UsageError(
                f"{method_options.flag(unknown[0])}: the default is {name} here, for {model.default_method.reason}, "
                "which has no such option",
                f"name the method: -m {' or -m '.join(having)}",
            )
    for name in names:
        if names.count(name) > 1:
            fix = ",".join(dict.fromkeys(names))
            raise UsageError(f"--method auto,{name}: auto is {name} here, {model.default_method.reason}", f"-m {fix}")
    return names


def names_all(args: argparse.Namespace) -> bool:
    """Return whether the methods were not named one by one: `-m all`."""
    return str(getattr(args, "method", "") or "").strip() == "all"


def refused(model: Model, options: ExplainOptions, pictures: bool) -> UsageError | UnsupportedError | None:
    """Return why a method cannot explain a model, before it runs; None where nothing speaks against it."""
    try:
        model.prepare(options, pictures=pictures)
    except (UsageError, UnsupportedError) as error:
        return error
    return None


def _method_names(text: str) -> list[str]:
    names = list(dict.fromkeys(filter(None, (word.strip() for word in text.split(",")))))
    if names == ["all"]:
        names = [name for name in METHODS if _stands_alone(name)]
    if not names:
        raise UsageError("--method names no method", "onnxlrp methods lists them")
    for name in names:
        if name != DEFAULT and name not in METHODS:
            raise METHODS.unknown(name)
    return names


def _stands_alone(name: str) -> bool:
    """Return whether a method needs no options."""
    try:
        make(name)
    except (UsageError, TypeError):
        return False
    return True


def open_model(args: argparse.Namespace, engine: str | None = None) -> Model:
    """Load the model, with the output, inputs and preprocessing that the flags state.

    Args:
        args: The arguments.
        engine: An engine in the place of the flag's.

    Raises:
        InputError: A file that is missing or no model.
        UnsupportedError: An operator that is not supported.
        UsageError: No such engine, output or input, or boxes where none is explained.
    """
    model = load(args.model, **load_keywords(args, engine))
    chosen_inputs = {name: value for name, value in stated(args).items() if name in CHOSEN}
    model = model.choose(**chosen_inputs)
    if getattr(args, "similar_to", None) is not None:
        model = model.for_seed(args.similarity or "cosine")
    else:
        model = model.for_target(getattr(args, "target", None))
    model.refuse_idle_boxes(getattr(args, "boxes", None))
    return model


def load_keywords(args: argparse.Namespace, engine: str | None = None) -> dict[str, Any]:
    """Return the keywords of `onnxlrp.load` that the flags state.

    Args:
        args: The arguments.
        engine: An engine in the place of the flag's.

    Raises:
        UsageError: No such provider, or a size that is none.
    """
    size = read_size(args.size)
    flags = {key: value for key in PREPROCESSING if (value := getattr(args, key)) is not None}
    if not is_of_pictures(size):
        flags.pop("size", None)
    return {
        "engine": getattr(args, "engine", "auto") if engine is None else engine,
        "providers": providers(getattr(args, "providers", None)),
        "size": size,
        "prep": flags,
        "strict": args.strict,
        "max_memory": args.max_memory,
        "allow_linked_data": args.allow_linked_data,
        "precision": getattr(args, "precision", None) if engine is None else None,
        "cache": not getattr(args, "no_cache", True),
    }


def check_matches(model: Model, options: ExplainOptions) -> None:
    """Refuse a pattern of --rule that matches no layer. Raises UsageError."""
    if not options.rules or not is_composite(options.method):
        return
    seen = [matched for _, matched, _ in model.layers(model.composite(options))]
    for pattern, _ in options.entries:
        if not any(matches(pattern, layer) for layer in seen):
            known = {word for layer in seen for word in (layer.path or layer.name, layer.op)}
            hint = did_you_mean(str(pattern), known)
            if hint.startswith("known") and len(known) > 20:
                hint = f"onnxlrp inspect {model.path} lists the layers"
            raise UsageError(f'--rule "{pattern}" matches no layer', hint)


def providers(text: str | None) -> list[str] | None:
    """Return onnxruntime's names of providers: `cuda` is CUDAExecutionProvider. Raises UsageError for others."""
    if text is None:
        return None
    here = {name.removesuffix("ExecutionProvider").lower(): name for name in onnxruntime().get_available_providers()}
    found = []
    for word in filter(None, (word.strip() for word in text.split(","))):
        key = word.lower().removesuffix("executionprovider")
        if key not in here:
            raise UsageError(f'no provider "{word}" in this onnxruntime', did_you_mean(key, here))
        found.append(here[key])
    if not found:
        raise UsageError("--providers names none", "known: " + ", ".join(here))
    return found


def read_size(text: str | None) -> tuple[int, ...] | dict[str, int] | None:
    """Return the lengths that --size states: of every open axis, of each in order, or by name. Raises UsageError."""
    if text is None:
        return None
    words = text.replace("x", ",").replace("X", ",") if "=" not in text else text
    entries = [word.strip() for word in words.replace(" ", ",").split(",") if word.strip()]
    named = dict(entry.split("=", 1) for entry in entries if "=" in entry)
    numbers = list(named.values()) or entries
    if not numbers or (named and len(named) != len(entries)) or not all(n.isdecimal() and int(n) for n in numbers):
        raise UsageError(
            f'--size "{text}" is no size', "give HEIGHTxWIDTH, a length, or lengths by name: --size h=64,w=128"
        )
    return {key: int(n) for key, n in named.items()} if named else tuple(map(int, numbers))


def numbers(args: argparse.Namespace, name: str) -> list[float] | None:
    """Return the number of a flag, or those between its commas; None where it is not given. Raises UsageError."""
    text = getattr(args, name)
    if text is None:
        return None
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f'--{name} "{text}": no number', "give a number, or several as in 0,0,1") from None


def pixels(args: argparse.Namespace, role: str) -> tuple[float, float] | None:
    """Return what black and white are in the pictures of a network that draws. Raises UsageError.

    Args:
        args: The arguments.
        role: The flag of the network, "decoder" or "generator".
    """
    found = numbers(args, "pixels")
    if found is None:
        return None
    if len(found) != 2 or found[0] == found[1]:
        raise UsageError(f"--pixels {args.pixels}", "give what black and white are: --pixels=0,1 or --pixels=-1,1")
    if getattr(args, role) is None:
        raise UsageError(f"--pixels is of a {role}'s pictures, and none is given", f"--{role} FILE")
    return found[0], found[1]


def open_network(path: str, args: argparse.Namespace) -> Model:
    """Load a decoder or a generator: its output as it is, on the model's engine. Raises InputError."""
    engine = getattr(args, "engine", "auto")
    network = load(path, engine, max_memory=args.max_memory, allow_linked_data=args.allow_linked_data)
    return network.choose(head="as-is")


def is_of_pictures(size: tuple[int, ...] | dict[str, int] | None) -> bool:
    """Return whether a size may be height and width, which preprocessing checks too."""
    return isinstance(size, tuple) and len(size) <= 2 and max(size) <= LARGEST_SIDE


def seed(text: str | None) -> int:
    """Return the seed that --seed states, 0 without it. Raises UsageError."""
    if text is None:
        return 0
    if not text.isdecimal():
        raise UsageError(f'--seed "{text}" is no whole number from 0', "write --seed 1")
    return int(text)


def picture_files(args: argparse.Namespace, default: str, check: Callable[[Path], None]) -> list[Path]:
    """Return the files that -o and --format name, one for each format.

    Args:
        args: The arguments, with `out`, `format` and `figure`.
        default: The name where -o gives none.
        check: Raises UsageError for a name that is none of such a file.

    Raises:
        UsageError: A file, or the figure, of another kind.
    """
    path = out_file(args.out, default) if args.out else Path(default)
    kinds = [kind.strip() for kind in args.format.split(",")] if args.format else [None]
    paths = [Path(file_pattern(path, kind)[0]) for kind in kinds]
    for one in paths:
        check(one)
    figure_file(args)
    return paths


def known_words(text: str, known: Sequence[str], what: str) -> list[str]:
    """Return the words of a list between commas, each once.

    Args:
        text: The list.
        known: The words that there are.
        what: What they are, in an error.

    Raises:
        UsageError: A word that is not known, or none at all.
    """
    words = list(dict.fromkeys(word.strip().lower() for word in text.split(",") if word.strip()))
    for word in words or [""]:
        if word not in known:
            raise UsageError(f'no {what} "{word}"', did_you_mean(word, known))
    return words


def figure_file(args: argparse.Namespace) -> Path | None:
    """Return the file that --figure names, None where it is not given. Raises UsageError for one of another kind."""
    return png_file(args, "figure", "a figure")


def png_file(args: argparse.Namespace, option: str, what: str) -> Path | None:
    """Return the file that an option names, None where it is not given. Raises UsageError for one that is no .png."""
    word = getattr(args, option)
    if word is None:
        return None
    path = Path(word)
    if path.suffix.lower() != ".png":
        raise UsageError(f"--{option} {path}: {what} is a .png", f"--{option} '{path.with_suffix('.png')}'")
    return path


def out_file(word: str, default: str) -> Path:
    """Return the file that -o names: a file, or a folder, which gets a file of the default name.

    Args:
        word: What -o is given; it ends in a slash for a folder that is not there yet.
        default: The name of a file in a folder.
    """
    return Path(word) / default if word.endswith(("/", "\\")) or os.path.isdir(word) else Path(word)
