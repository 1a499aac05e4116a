"""Sources written for onnxlrp: flags, `model.prep.toml`, and `onnxlrp.prep` in a model's metadata; mistakes raise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError, UsageError, did_you_mean
from ...files import read_text, reason
from .. import labels
from ..checking import check_fields
from ..fields import PRESETS, Source
from .statement import LONGEST_TEXT, SourceContext, Statement

METADATA_KEY = "onnxlrp.prep"
OWN_SIZE = "own size"  # among the flags of a model that takes a picture at its own size, which no user states


def from_flags(context: SourceContext) -> Iterator[Statement]:
    """Read the flags, then the file that `--prep` names."""
    if context.flags.get(OWN_SIZE):
        yield Statement(Source("the picture's size", UsageError), {"resize": "stretch"})
    source = Source("flags", UsageError)
    unread = ("tokenizer", OWN_SIZE)
    given = {key: value for key, value in context.flags.items() if value is not None and key not in unread}
    prep = given.pop("prep", None)
    named = str(prep).endswith(".toml")
    if prep is not None and not named:
        if str(prep) not in PRESETS:
            raise UsageError(
                f"--prep {prep}: no such preset", did_you_mean(str(prep), PRESETS) + " Or give a .toml file"
            )
        given["preset"] = prep
    if given:
        yield Statement(source, check_fields(given, source))
    if named:
        yield _toml(Path(str(prep)))


def from_sidecar(context: SourceContext) -> Iterator[Statement]:
    """Read `model.prep.toml` beside `model.onnx`."""
    if context.model is not None and (path := sidecar_of(context.model)).exists():
        yield _toml(path)


def sidecar_of(model: Path) -> Path:
    """Return the path of a model's `model.prep.toml`."""
    return model.with_name(model.stem + ".prep.toml")


def from_metadata(context: SourceContext) -> Iterator[Statement]:
    """Read the JSON object under `onnxlrp.prep` in `metadata_props`."""
    if METADATA_KEY not in context.metadata:
        return
    source, text = Source("model metadata", InputError), context.metadata[METADATA_KEY]
    fix = f"store a JSON object under {METADATA_KEY}, or override it by model.prep.toml beside the model"
    try:
        value = json.loads(text) if len(text) <= LONGEST_TEXT else None
    except (ValueError, RecursionError) as error:
        raise InputError(f"model metadata: {METADATA_KEY} is not valid JSON ({reason(error)})", fix) from None
    if not isinstance(value, dict):
        raise InputError(f"model metadata: {METADATA_KEY} is not a JSON object of at most 4 MiB", fix)
    yield Statement(source, check_fields(value, source))


def _toml(path: Path) -> Statement:
    source = Source(path.name, InputError)
    fix = "write it as TOML, such as: mean = [0.485, 0.456, 0.406]"
    try:
        import tomllib

        value = tomllib.loads(read_text(path, LONGEST_TEXT))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path after --prep") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as TOML ({reason(error)})", fix) from None
    if isinstance(value.get("labels"), str):
        name = Path(value["labels"])
        if name.is_absolute() or ".." in name.parts:
            raise InputError(f"{path}: labels: {name} is in another folder", "name a file in the same folder")
        value["labels"] = labels.read(path.parent / name)
    return Statement(source, check_fields(value, source))
