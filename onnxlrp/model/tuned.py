"""The method that was found best for a model, in a file beside it: its default, written by `onnxlrp tune`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError
from ..methods.default import Default
from ..methods.registry import METHODS, make

_LONGEST = 1 << 16


def tuned_path(model: Path) -> Path:
    """Return the path of a model's `model.tune.toml`."""
    return model.with_name(model.stem + ".tune.toml")


def write_tuned(path: Path, method: str, options: Mapping[str, Any], sha256: str, remark: str) -> Path:
    """Write the method of a model.

    Args:
        path: The file, as `tuned_path` names it.
        method: The method's name.
        options: Its options: numbers, truths and words.
        sha256: The digest of the model that it was found for.
        remark: How it was found.

    Raises:
        InputError: The file cannot be written.
    """
    lines = [f"# {remark}", f"method = {json.dumps(method)}", f"sha256 = {json.dumps(sha256)}", "", "[options]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in options.items()]
    return files.replace(path, ("\n".join(lines) + "\n").encode())


def read_tuned(model: Path | None, sha256: str) -> Default | None:
    """Read `model.tune.toml` beside a model; None where there is none.

    Args:
        model: The model's file; None for a model from memory.
        sha256: The digest of the model.

    Raises:
        InputError: The file is not what `write_tuned` writes, or was written for another model.
    """
    if model is None or not (path := tuned_path(model)).exists():
        return None
    again = f"remove it, and run onnxlrp tune {model} again"
    try:
        import tomllib

        found = tomllib.loads(files.read_text(path, _LONGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as TOML ({files.reason(error)})", again) from None
    method, options = found.get("method"), found.get("options", {})
    unknown = sorted(found.keys() - {"method", "sha256", "options"})
    if not isinstance(method, str) or method not in METHODS or not isinstance(options, dict) or unknown:
        what = f"unknown key {unknown[0]}" if unknown else f"no method {method!r}"
        raise InputError(f"{path}: {what}", again)
    if found.get("sha256") != sha256:
        raise InputError(f"{path}: its method was found for another model", again)
    make(method, **options)
    return Default(method, f"this model, by {path.name}", options)
