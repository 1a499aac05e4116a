"""`onnxlrp export`: a model and a method as one ONNX file for any runtime."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import UsageError, listed
from ..model.options import is_default
from . import arguments, summary
from .console import Console


def run(args: argparse.Namespace, console: Console) -> int:
    """Write the explainer; return the exit code."""
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
    model.export(path, str(options.method), args.target, **picture, **options.keywords())
    if any(picture.values()):
        prep = model.preprocessing
        console.line("prep", summary.preprocessing(prep))
        if prep.assumed:
            console.note(f"preprocessing ASSUMED, not stated: {', '.join(prep.assumed)}", f"state it: {prep.flags()}")
    default = f"  [default for {model.default_method.reason}]" if is_default(options) else ""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    tensors = {"input": [_tensor(v) for v in graph.input], "output": [_tensor(v) for v in graph.output]}
    size, before = path.stat().st_size, Path(args.model).stat().st_size
    console.line("method", f"{method}, target {args.target}{default}")
    for key, values in tensors.items():
        for value in values:
            console.line(key, f"{value['name']}  {value['dtype']} [{', '.join(map(str, value['shape']))}]")
    for column, codes in model.categories.items():
        said = listed([f"{word} {code}" for word, code in codes.items()], 6)
        console.line("words", f"{column} takes codes: {said}; 0 for other words  [categories in its metadata]")
    console.line("wrote", f"{path}  {size / 1e6:.2f} MB  (the model has {before / 1e6:.2f} MB)")
    console.json(
        {
            "file": str(path),
            "bytes": size,
            "method": method,
            "options": {name: value for name, value in options.keywords().items() if name != "rules"},
            "target": args.target,
            "inputs": tensors["input"],
            "outputs": tensors["output"],
            "categories": model.categories,
        },
        indent=1,
    )
    return 0


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
