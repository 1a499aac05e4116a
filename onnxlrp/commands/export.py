"""`onnxlrp export`: a model and a method as one ONNX file for any runtime."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from ..errors import UsageError, listed
from ..model.options.explain import is_default
from . import arguments, summary
from .console import Console


def run(args: argparse.Namespace, console: Console) -> int:
    """Write the explainer, or a page around it; return the exit code."""
    if args.web is not None:
        return _site(args, console)
    if args.runtime_files is not None:
        raise UsageError("--runtime-files belongs to --web", "leave it out, or name a folder: --web site/")
    if args.out is None:
        raise UsageError("onnxlrp export needs -o", "onnxlrp export MODEL -o FILE [options]")
    options = arguments.explaining_one(args)
    path = arguments.out_file(args.out, f"{Path(args.model).stem}.onnx")
    _check_suffix(path)
    model = arguments.open_model(args)
    (method,) = arguments.methods([options], model)
    path = arguments.out_file(args.out, f"{Path(args.model).stem}.{method}.onnx")
    if path.exists() and Path(args.model).exists() and path.samefile(args.model):
        raise UsageError(f"{path}: the explainer would replace the model itself", "choose another name with -o")
    arguments.check_matches(model, options)
    picture = {"embed_preprocessing": args.embed_preprocessing, "overlay": args.overlay}
    model.export(
        path,
        str(options.method),
        args.target,
        **picture,
        opset=args.opset,
        precision=args.weights,
        **options.keywords(),
    )
    if any(picture.values()):
        prep = model.preprocessing
        console.line("prep", summary.preprocessing(prep))
        if prep.assumed:
            console.note(*summary.assumed(prep))
    default = f"  [default for {model.default_method.reason}]" if is_default(options) else ""
    import onnx

    written = onnx.load(path, load_external_data=False)
    graph = written.graph
    tensors = {"input": [_tensor(v) for v in graph.input], "output": [_tensor(v) for v in graph.output]}
    size, before = path.stat().st_size, Path(args.model).stat().st_size
    console.line("method", f"{method}, target {args.target}{default}")
    for key, values in tensors.items():
        for value in values:
            console.line(key, f"{value['name']}  {value['dtype']} [{', '.join(map(str, value['shape']))}]")
    for column, codes in model.categories.items():
        said = listed([f"{word!r} {code}" for word, code in codes.items()], 6)
        console.line("words", f"{column} takes codes: {said}; 0 for other words  [categories in its metadata]")
    opset = next(entry.version for entry in written.opset_import if not entry.domain)
    if args.opset is not None:
        console.line("opset", str(opset))
    if args.opset is not None or args.weights != "fp32":
        apart = _apart(written)
        if apart is None:
            console.note("not run beside the explainer without --opset", "pip install onnxruntime, or run both")
        else:
            console.line(
                "differs", f"{apart:.1e} at most, of scores or relevance of a random sample, from the plain file"
            )
    console.line("wrote", f"{path}  {size / 1e6:.2f} MB  (the model has {before / 1e6:.2f} MB)")
    console.json(
        {
            "file": str(path),
            "bytes": size,
            "method": method,
            "options": {name: value for name, value in options.keywords().items() if name != "rules"},
            "target": args.target,
            "opset": opset,
            "inputs": tensors["input"],
            "outputs": tensors["output"],
            "categories": model.categories,
        },
        indent=1,
    )
    return 0


def _site(args: argparse.Namespace, console: Console) -> int:
    """Write a page with an explainer for each method."""
    from ..web import site

    if args.out is not None:
        raise UsageError(f"-o {args.out} beside --web {args.web}", "give one of them")
    if args.target != "input":
        raise UsageError(f"--target {args.target}: the class is chosen on the page", "leave --target out")
    folder = Path(args.web)
    for flag, asked_for in (("--opset", args.opset is not None), ("--precision", args.weights != "fp32")):
        if asked_for:
            raise UsageError(f"{flag} belongs to -o: the page brings its own runtime", f"leave {flag} out")
    site.check_folder(folder)
    asked = arguments.explaining(args)
    model = arguments.open_model(args)
    methods = dict(zip(arguments.methods(asked, model), asked, strict=True))
    for options in asked:
        arguments.check_matches(model, options)
    written = site.write(model, folder, methods, args.runtime_files and Path(args.runtime_files))
    prep, size = model.preprocessing, sum(path.stat().st_size for path in written)
    console.line("method", ", ".join(methods))
    console.line("prep", summary.preprocessing(prep))
    if prep.assumed:
        console.note(*summary.assumed(prep))
    console.line("wrote", f"{folder}  {len(written)} files, {size / 1e6:.1f} MB")
    console.line("serve", f"python -m http.server -d {folder} -b 127.0.0.1, then open http://127.0.0.1:8000")
    console.json({"folder": str(folder), "files": [str(path) for path in written], "methods": list(methods)}, indent=1)
    return 0


def _apart(written: Any) -> float | None:
    """Return by how much a converted file differs from the plain one; None where they could not be run."""
    about = next(entry.value for entry in written.metadata_props if entry.key == "onnxlrp.explainer")
    found: float | None = json.loads(about)["compared"]
    return found


def _check_suffix(path: Path) -> None:
    """Refuse, before the model is loaded, a file that is none of ONNX by its name. Raises UsageError."""
    if path.suffix.lower() != ".onnx":
        named = path.with_suffix(".onnx") if path.name else path / "explainer.onnx"
        raise UsageError(f"{path}: the explainer is an ONNX file", f"-o '{named}'")


def _tensor(value: Any) -> dict[str, Any]:
    from onnx import helper

    kind = value.type.tensor_type
    shape = [dim.dim_param or dim.dim_value for dim in kind.shape.dim]
    return {"name": value.name, "dtype": str(helper.tensor_dtype_to_np_dtype(kind.elem_type)), "shape": shape}
