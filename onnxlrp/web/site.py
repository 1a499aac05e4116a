"""Write a site: the explainers of a model, onnxruntime-web and one page, as files for any web server."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

from .. import files
from ..errors import InputError, UsageError
from ..files import to_jsonable
from ..model import ExplainOptions, Model
from ..pictures.colors import colormap
from ..pictures.style import DEFAULT
from ..preprocessing import labels
from ..version import __version__

RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
SHARED = ("shared/base.css", "shared/dom.js", "shared/ledger.js", "shared/paint.js")  # with `onnxlrp view`
PAGE = ("index.html", "app.js", "style.css", "sw.js", *SHARED)
PACKAGE = "onnxruntime-web"
# What is shown of the first output, by the kind of the head.
_SHOWN = {"": "softmax", "Softmax": "as-is", "Sigmoid": "as-is", "LogSoftmax": "exp", "LogSigmoid": "exp"}


def write(model: Model, folder: Path, methods: Mapping[str, ExplainOptions], runtime: Path | None = None) -> list[Path]:
    """Write a site.

    Args:
        model: A model of pictures.
        folder: Where it is written.
        methods: What each method is asked for, by its name; the first is shown first.
        runtime: The folder of the npm package onnxruntime-web, or of its files; None for `node_modules` here.

    Returns:
        The files.

    Raises:
        UnsupportedError: The input is no picture, or a layer has no rule.
        UsageError: A head that the page cannot show, or no onnxruntime-web.
        InputError: The folder cannot be written to.
    """
    if model.head.kind not in _SHOWN:
        raise UsageError(
            f"the page shows scores of classes; this output is read as {model.head.kind.lower()}",
            "export without --web, or --head logits",
        )
    parts = _runtime(runtime)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--web {folder}: a file, not a folder", "give a folder: --web site/")
    composites = {name: model.composite(options, pictures=True) for name, options in methods.items()}
    written, listed = [], []
    for name, options in methods.items():
        path = folder / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}.onnx"
        composite, how = composites[name], options.keywords()
        shares = composite.seed != "one"  # slopes are no shares of the score, and have no ledger
        model.export(path, str(options.method), "input", embed_preprocessing=True, ledger=shares, **how)
        listed.append({"name": name, "file": path.name, "layers": _layers(model, composite) if shares else None})
        written.append(path)
    prep = model.preprocessing
    about: dict[str, Any] = {
        "title": model.path.stem if model.path else "model", "onnxlrp": __version__, "sha256": model.graph.sha256,
        "methods": listed, "shown": _SHOWN[model.head.kind], "size": list(prep.size),
        "labels": [labels.name(model.labels, n) for n in range(model.classes)],
        "preprocessing": {**prep.to_dict(), "source": prep.source}, "assumed": list(prep.assumed),
        "colors": colormap(DEFAULT.cmap).tolist(), "clip": DEFAULT.clip, "blend": DEFAULT.blend,
    }  # fmt: skip
    contents = {"site.json": json.dumps(to_jsonable(about), ensure_ascii=False).encode()}
    contents |= {name: resources(__package__).joinpath(name).read_bytes() for name in PAGE}
    contents |= {f"ort/{name}": path.read_bytes() for name, path in parts.items()}
    # What the page keeps for use without a network; another site has another name.
    names = sorted({*contents, *(path.name for path in written)} - {"sw.js"})
    made = hashlib.sha256()
    for name in names:
        made.update(contents[name] if name in contents else (folder / name).read_bytes())
    kept = {"NAME": f"onnxlrp-{made.hexdigest()[:16]}", "FILES": ["./", *names]}
    head = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in kept.items())
    contents["sw.js"] = head.encode() + contents["sw.js"]
    return [*written, *(files.replace(folder / name, data) for name, data in contents.items())]


def _layers(model: Model, composite: Any) -> dict[str, dict[str, Any]]:
    """What the page says of the layers of the ledger, by their nodes."""
    return {
        layer.name: {"layer": layer.label, "op": layer.op, "conserves": bool(getattr(rule, "conserves", True))}
        for layer, _, rule in model.layers(composite)
    }


def _runtime(folder: Path | None) -> dict[str, Path]:
    """The files of onnxruntime-web by name. Raises UsageError where there are none."""
    places: Sequence[Path] = [folder] if folder is not None else [Path("node_modules") / PACKAGE]
    for place in places:
        for inner in (place, place / "dist", place / PACKAGE / "dist", place / "node_modules" / PACKAGE / "dist"):
            if all((inner / name).is_file() for name in RUNTIME):
                return {name: inner / name for name in RUNTIME}
    where = str(folder) if folder is not None else "node_modules"
    raise UsageError(
        f"{where}: has no {PACKAGE} ({', '.join(RUNTIME)})",
        f"npm install {PACKAGE}, then --runtime-files node_modules/{PACKAGE}",
    )


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds files which are no site. Raises InputError."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "site.json").exists():
        raise InputError(f"{folder}: holds other files", "give an empty or new folder: --web site/")
