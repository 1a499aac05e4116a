"""Exported explainers in the runtimes at hand: whether they load, how far relevance is from the `reference` engine.

Nothing is timed. A runtime that is not installed is written down as not run. Each run is a process of its own: one that
ends by a signal is an answer too. Two random pictures, the same for all; the target, the best class, is an input.
Files of another form, at an older opset or with half weights, are run in one runtime of each kind.

    python benchmarks/runtimes.py --squeezenet squeezenet1.1.onnx --npm node_modules
    python benchmarks/runtimes.py --networks digits --runtimes onnxruntime -o /tmp/runtimes.json

Runtimes of other languages are found in the folder of npm packages that `--npm` names.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from records import Record, environment, save, words

import onnxlrp
from onnxlrp.errors import OnnxLrpError

HERE = Path(__file__).parent
MODELS = HERE.parent / "models"
METHODS = ("epsilon_plus_flat", "epsilon_gamma_box", "gradient")
FORMS: dict[str, Record] = {"plain": {}, "opset 17": {"opset": 17}, "fp16 weights": {"precision": "fp16"}}
ONE_OF_EACH = ("onnxruntime, all", "OpenVINO, f32", "tract", "onnxruntime-web, wasm")
NPM_RUN = """
const fs = require("fs");
const [, , library, model, folder, outputs] = process.argv;
(async () => {
  const ort = require(library);
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(fs.readFileSync(model));
  const feed = {};
  for (const one of JSON.parse(fs.readFileSync(`${folder}/feed.json`))) {
    const bytes = fs.readFileSync(`${folder}/${one.file}`);
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    const data = one.dtype === "int64" ? new BigInt64Array(buffer) : new Float32Array(buffer);
    feed[one.name] = new ort.Tensor(one.dtype, data, one.shape);
  }
  const found = await session.run(feed);
  const said = JSON.parse(outputs).map((name) => ({ dims: found[name].dims, data: Array.from(found[name].data) }));
  fs.writeFileSync(`${folder}/found.json`, JSON.stringify(said));
})().catch((error) => { console.error(String(error.message || error).split("\\n")[0]); process.exit(1); });
"""
Arrays = dict[str, Any]


def onnxruntime(path: Path, feed: Arrays, outputs: list[str], level: str) -> list[Any]:
    """Run a file in onnxruntime at a level of optimisation."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return list(session.run(outputs, feed))


def reference(path: Path, feed: Arrays, outputs: list[str]) -> list[Any]:
    """Run a file in the evaluator of onnx."""
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(str(path)).run(outputs, feed))


def openvino(path: Path, feed: Arrays, outputs: list[str], hint: str) -> list[Any]:
    """Run a file in OpenVINO."""
    ov = import_module("openvino")

    core = ov.Core()
    if hint:
        core.set_property("CPU", {"INFERENCE_PRECISION_HINT": hint})
    found = core.compile_model(core.read_model(str(path)), "CPU")(feed)
    return [found[name] for name in outputs]


def tract(path: Path, feed: Arrays, outputs: list[str]) -> list[Any]:
    """Run a file in tract."""
    model = import_module("tract").onnx().load(str(path))
    names = [model.input_name(i) for i in range(model.input_count())]
    found = model.into_model().into_runnable().run([feed[name] for name in names])
    return [value.to_numpy() for value in found[: len(outputs)]]  # they have no names there, and the order of the file


# Name → what has to be installed, what runs it.
PYTHON: dict[str, tuple[str, Callable[[Path, Arrays, list[str]], list[Any]]]] = {
    "onnxruntime, no optimisation": ("onnxruntime", partial(onnxruntime, level="ORT_DISABLE_ALL")),
    "onnxruntime, basic": ("onnxruntime", partial(onnxruntime, level="ORT_ENABLE_BASIC")),
    "onnxruntime, all": ("onnxruntime", partial(onnxruntime, level="ORT_ENABLE_ALL")),
    "onnx.reference": ("onnx", reference),
    "OpenVINO, f32": ("openvino", partial(openvino, hint="f32")),
    "OpenVINO, its default": ("openvino", partial(openvino, hint="")),
    "tract": ("tract", tract),
}
NPM = {"onnxruntime-node": "onnxruntime-node", "onnxruntime-web, wasm": "onnxruntime-web"}
RUNTIMES = (*PYTHON, *NPM)


def version(runtime: str, npm: Path | None) -> str | None:
    """Return the version of a runtime, None where it is not at hand."""
    if runtime in NPM:
        about = npm and npm / NPM[runtime] / "package.json"
        return str(json.loads(about.read_text())["version"]) if about and about.exists() else None
    package = PYTHON[runtime][0]
    found = environment([package])["versions"][package]
    return str(found) if found and find_spec(package) else None


def run(runtime: str, path: Path, feed: Arrays, outputs: list[str], npm: Path | None, seconds: int = 300) -> Any:
    """Run a file in a runtime, in a process of its own.

    Args:
        runtime: A name of `RUNTIMES`.
        path: The explainer.
        feed: Its inputs.
        outputs: The names of the outputs to give.
        npm: The folder of npm packages.
        seconds: How long it may take.

    Returns:
        The outputs in order, or in words why there are none.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if runtime in NPM:
            assert npm is not None
            said = []
            for i, (key, value) in enumerate(feed.items()):
                (folder / f"{i}.bin").write_bytes(np.ascontiguousarray(value).tobytes())
                said.append({"name": key, "file": f"{i}.bin", "dtype": str(value.dtype), "shape": list(value.shape)})
            (folder / "feed.json").write_text(json.dumps(said))
            (folder / "run.cjs").write_text(NPM_RUN)
            module = str((npm / NPM[runtime]).resolve())
            command = ["node", str(folder / "run.cjs"), module, str(path), name, json.dumps(outputs)]
        else:
            np.savez(folder / "feed.npz", allow_pickle=False, **feed)
            command = [sys.executable, __file__, "--one", runtime, str(path), name, json.dumps(outputs)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return f"no answer in {seconds} s"
        if done.returncode < 0:
            return f"ended by signal {-done.returncode}"
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["?"]
            return next((line for line in reversed(lines) if "rror" in line), lines[-1]).strip()[:200]
        if runtime in NPM:
            return [np.array(v["data"]).reshape(v["dims"]) for v in json.loads((folder / "found.json").read_text())]
        with np.load(folder / "found.npz") as file:
            return [file[str(i)] for i in range(len(outputs))]


def _one(runtime: str, path: str, folder: str, outputs: str) -> None:
    """Run a file in this process, for `run`."""
    with np.load(f"{folder}/feed.npz") as file:
        feed = dict(file)
    found = PYTHON[runtime][1](Path(path), feed, json.loads(outputs))
    np.savez(f"{folder}/found.npz", allow_pickle=False, **{str(i): np.asarray(value) for i, value in enumerate(found)})


def apart(found: Any, wanted: Any) -> float | str:
    """Return |a - b|₂ / |b|₂, or in words why there is none."""
    a, b = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    if a.shape != b.shape:
        return f"shape {list(a.shape)} for {list(b.shape)}"
    if not np.isfinite(a).all():
        return "values that are not finite"
    return float(np.linalg.norm((a - b).ravel()) / np.linalg.norm(b.ravel()))


def sample(model: onnxlrp.Model) -> Any:
    """Return two random pictures between the lowest and the highest input of a model."""
    low, high = model.preprocessing.bounds()
    drawn = np.random.default_rng(0).random((2, *model.graph.inputs[0].shape))
    return (low + drawn * (high - low)).astype(np.float32)


def measured(
    name: str,
    file: Path,
    options: Mapping[str, Any],
    methods: Iterable[str],
    runtimes: Mapping[str, str | None],
    npm: Path | None,
    jobs: int = 1,
) -> list[Record]:
    """Return a record for each method, form and runtime of a network."""
    exact = onnxlrp.load(file, engine="reference", **options)
    model, x = onnxlrp.load(file, **options), sample(exact)
    records: list[Record] = []
    with tempfile.TemporaryDirectory() as folder:
        for method in methods:
            logits = np.asarray(exact.explain(x, method=method).output).reshape(2, -1)
            ids = logits.argmax(axis=1)
            wanted = exact.explain(x, method=method, target=ids).relevance
            for form, how in FORMS.items():
                about = {"network": name, "method": method, "form": form}
                try:
                    path = model.export(Path(folder) / "e.onnx", method=method, **how)
                except OnnxLrpError as error:
                    records.append({**about, "refused": error.message})
                    continue
                scores, relevance = (value.name for value in onnx.load(path).graph.output)
                feed = {model.graph.inputs[0].name: x, "target": ids.astype(np.int64)}
                at_hand = [one for one, there in runtimes.items() if there and (form == "plain" or one in ONE_OF_EACH)]
                with ThreadPoolExecutor(jobs) as pool:
                    runs = [pool.submit(run, one, path, feed, [scores, relevance], npm) for one in at_hand]
                    found = [one.result() for one in runs]
                for runtime, answer in zip(at_hand, found, strict=True):
                    record: Record = {**about, "runtime": runtime}
                    if isinstance(answer, str):
                        record["error"] = answer
                    else:
                        record |= {"scores": apart(answer[0], logits), "relevance": apart(answer[1], wanted)}
                    records.append(record)
                    print(json.dumps(record), flush=True)
    return records


def main() -> None:
    """Run every network, method and form in every runtime at hand."""
    if sys.argv[1:2] == ["--one"]:
        _one(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--networks", type=words, default=["digits", "shapes"], help="names of models/")
    parser.add_argument("--methods", type=words, default=list(METHODS), help=", ".join(METHODS))
    parser.add_argument("--squeezenet", type=Path, help="the file of SqueezeNet 1.1, which is run too")
    parser.add_argument("--runtimes", default="", help="only those whose name begins so")
    parser.add_argument("--npm", type=Path, help="the folder node_modules with onnxruntime-node or onnxruntime-web")
    parser.add_argument("--jobs", type=int, default=2, help="runtimes side by side (default: %(default)s)")
    parser.add_argument("-o", "--out", type=Path, default=HERE / "results" / "runtimes.json")
    given = parser.parse_args()
    runtimes = {name: version(name, given.npm) for name in RUNTIMES if name.startswith(given.runtimes)}
    files: dict[str, tuple[Path, Record]] = {name: (MODELS / f"{name}.onnx", {}) for name in given.networks}
    if given.squeezenet:
        files["SqueezeNet 1.1"] = given.squeezenet, {"prep": {"prep": "imagenet"}}
    records: list[Record] = []
    for name, (file, options) in files.items():
        records += measured(name, file, options, given.methods, runtimes, given.npm, given.jobs)
        facts = environment(("onnxlrp", "numpy", "onnx"))
        save(given.out, {**facts, "runtimes": runtimes, "records": records})


if __name__ == "__main__":
    main()
