"""Does onnxlrp explain what every exporter makes of every family of image models?

    pip install -e '.[cpu,zoo]' && PYTHONPATH=tests python -m zoo.zoo [FAMILY...]
        [--exporter NAME]... [--store]

Builds each family of families.py with random weights (batch norms calibrated, none dead), writes it as each exporter of
exporters.py does, and asks of each file: the forward pass equals that of the untouched file (1e-4 of its range), every
layer's balance closes (1e-4 of Σ|R|), relevance is finite, and the exported explainer gives what `explain` gives. On
torch's own file the engines `ort` and `reference` agree, and the reference engine gives zennit's relevance in float64
where zennit can explain the family. Results go to benchmarks/results/coverage.json, families run again replace their
lines (`python docs/_extensions/result_tables.py coverage` prints the table); `--store` writes the small files of
test_stored.py, and `--light` explains the nine light models of the onnx wheel, with weights from a seed, instead.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from support.arrays import Array

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "coverage.json"

METHOD = "epsilon_plus_flat"
FORWARD = {"fp16": 2e-2}
TOLERANCE = 1e-4
# Where a file gives torch's scores this well (it rounds no weights), it has the relevance of torch's own file as well.
EQUAL, SAME = 1e-5, 1e-2
# `ort` against `reference`: float32 against float64.
REFERENCE = 1e-3
# ΣR/logit of an explanation that says something.
LOW, HIGH = 0.1, 2
# What is stored for the tests: one file for each idiom.
STORED = {
    "mobilenet_v3": "torch 11", "efficientnet": "dynamo 18", "shufflenet": "torch 13", "densenet": "keras",
    "googlenet": "caffe", "resnet": "ort extended", "squeezenet": "cntk", "xception": "caffe2",
    "mobilenet_v2": "paddle", "inception": "int8 weights", "convnext": "dynamo 18",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*")
    parser.add_argument("--exporter", action="append")
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--light", action="store_true", help="the nine light models of the onnx wheel instead")
    asked = parser.parse_args()
    if asked.light:
        light()
        return
    import torch

    from golden import make as golden

    golden._import_zennit()
    torch.set_num_threads(1)
    if asked.store:
        store(asked.families)
        return
    from zoo.families import FAMILIES

    for family in asked.families or FAMILIES:
        write(family, examine(family, asked.exporter))


def build(family: Any) -> tuple[Any, Any]:
    """(the network, a batch of two of its inputs), with weights and batch norms that let signals through."""
    import torch

    from golden import make as golden
    from golden import nets
    from zoo import families

    torch.manual_seed(0)
    x = golden.pictures(24, families.shape(family))
    return nets.initialise(families.FAMILIES[family](), x).requires_grad_(False), x[:2].clone()


def examine(family: Any, only: Any = None) -> Any:
    """The record of a family: a cell for each exporter, and how far zennit is."""
    from zoo import families
    from zoo.exporters import EXPORTERS

    net, x = build(family)
    record = {"cells": {}}
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
        context = {"target": None, "relevance": None}
        for exporter in only or EXPORTERS:
            start = time.perf_counter()
            cell = _cell(family, exporter, net, x, Path(folder), context)
            cell["seconds"] = round(time.perf_counter() - start, 1)
            record["cells"][exporter] = cell
            said = {k: f"{v:.1e}" if isinstance(v, float) else v for k, v in cell.items()}
            print(f"{family:14} {exporter:13}", *(f"{k} {v}" for k, v in said.items()), flush=True)
        path = Path(folder) / "legacy17-raw.onnx"  # its batch norms are folded by us, in float64
        if family in families.ZENNIT and context["target"] is not None and path.exists():
            record["zennit"] = _zennit(family, net, x, context["target"], path)
            print(f"{family:14} zennit", record["zennit"], flush=True)
    return record


def _cell(family: Any, exporter: Any, net: Any, x: Any, folder: Any, context: Any) -> dict[str, Any]:
    """One file: made, loaded, explained, compared."""
    from onnxlrp.errors import OnnxLrpError, UnsupportedError
    from zoo.exporters import EXPORTERS

    try:
        path = EXPORTERS[exporter](net, x, folder)
    except Exception as error:
        return {"status": "none", "why": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"}
    if path is None:
        return {"status": "none", "why": "this exporter has no form of it here"}
    try:
        cell = _compared(exporter, path, x.numpy(), net(x).numpy(), folder, context)
    except UnsupportedError as error:
        return {"status": "refused", "why": error.message}
    except OnnxLrpError as error:
        return {"status": "failed", "why": f"{type(error).__name__}: {error.message}"}
    except Exception as error:
        return {"status": "failed", "why": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"}
    bounds = {"forward": FORWARD.get(exporter, TOLERANCE), "ledger": TOLERANCE, "export": TOLERANCE}
    bounds["reference"] = REFERENCE
    broken = [name for name, bound in bounds.items() if not cell.get(name, 0.0) <= bound]
    # Of relevance that exploded nothing follows.
    if cell["own"] <= EQUAL and all(LOW < s < HIGH for s in cell["share"]) and not cell["same"] <= SAME:
        broken.append("same")
    return {"status": "failed", "why": ", ".join(broken), **cell} if broken else {"status": "ok", **cell}


def _compared(exporter: Any, path: Any, x: Any, scores: Any, folder: Any, context: Any) -> Any:
    import numpy as np
    import onnxruntime

    import onnxlrp
    from onnxlrp.graph.verify import verify
    from zoo.exporters import back, feed

    fed = feed(exporter, x)
    model = onnxlrp.load(path, engine="ort")
    cell: dict[str, Any] = {
        "forward": verify(model.graph, path, batches=(2,), tolerance=1.0),
        "layers": len(model.graph.layers),
    }
    if context["target"] is None:
        context["target"] = _targets(model, fed)
    target = context["target"]
    e = model.explain(fed, target=target, method=METHOD, ledger=True)
    if not np.isfinite(e.relevance).all():
        raise ArithmeticError("relevance is not finite")
    cell["own"] = _distance(e.output, scores)
    cell["ledger"] = max(row.error for row in e.ledger)
    cell["share"] = [round(float(s), 4) for s in e.relevance.reshape(2, -1).sum(1) / e.logit]
    saved = model.export(folder / "explainer.onnx", method=METHOD, target="input")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(saved), options, providers=["CPUExecutionProvider"])
    name, kind = session.get_inputs()[0].name, np.float32
    per = model.graph.batch or 2
    parts = [
        session.run(["relevance"], {name: fed[i : i + per].astype(kind), "target": np.asarray(target[i : i + per])})[0]
        for i in range(0, 2, per)
    ]
    cell["export"] = _distance(np.concatenate(parts), e.relevance)
    relevance = back(exporter, e.relevance).astype(np.float64)
    if context["relevance"] is None:
        context["relevance"] = relevance
        exact = onnxlrp.load(path, engine="reference").explain(fed[:1], target=target[:1], method=METHOD)
        cell["reference"] = _distance(e.relevance[:1], exact.relevance)
    cell["same"] = _distance(relevance, context["relevance"])
    return cell


def _distance(ours: Any, theirs: Any) -> float:
    import numpy as np

    return float(np.abs(ours - theirs).max() / (np.abs(theirs).max() or 1.0))


def _targets(model: Any, x: Any) -> Array:
    """For each sample its best class whose relevance is of the logit's size: of exploded relevance nothing follows."""
    import numpy as np

    e = model.explain(x, targets=list(range(model.classes)), method=METHOD)
    seeds = np.where(np.asarray(e.logit) == 0, np.inf, e.logit)
    share = e.relevance.reshape(model.classes, len(x), -1).sum(-1) / seeds
    good = (share > LOW) & (share < HIGH)
    order = np.argsort(-np.asarray(e.logit), axis=0)
    chosen = [next((t for t in ranks if good[t, n]), ranks[0]) for n, ranks in enumerate(order.T)]
    return np.asarray(chosen, np.int64)


def _zennit(family: Any, net: Any, x: Any, target: Any, path: Any) -> Any:
    """Composite → how far our reference engine is from zennit in float64, as a share of max |R|."""
    import torch

    import onnxlrp
    from golden import make as golden
    from zoo import families

    fold, found = families.ZENNIT[family][1], {}
    if not fold:
        net = _folded(net)
    for name, options in (("epsilon_plus_flat", {}), ("epsilon_alpha2_beta1", {}), ("epsilon", {})):
        theirs = golden.relevance(net, name, x[:1].double(), torch.as_tensor(target[:1]), fold)
        ours = onnxlrp.load(path, engine="reference").explain(x[:1].numpy(), target=target[:1], method=name, **options)
        found[name] = _distance(ours.relevance, theirs.numpy())
    return found


def _folded(net: Any) -> Any:
    """Batch norms behind a convolution folded into it, where zennit's canonizer cannot."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    net = copy.deepcopy(net).double()
    for module in net.modules():
        if isinstance(module, torch.nn.Sequential):
            for i in range(len(module) - 1):
                if isinstance(module[i], torch.nn.Conv2d) and isinstance(module[i + 1], torch.nn.BatchNorm2d):
                    module[i], module[i + 1] = fuse_conv_bn_eval(module[i], module[i + 1]), torch.nn.Identity()
    return net


def write(family: Any, record: Any) -> None:
    """Put a family's record into the results."""
    import onnx
    import onnxruntime
    import torch
    import transformers

    from zoo.families import FAMILIES

    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"records": {}}
    old = found["records"].get(family, {})
    merged = {"cells": {**old.get("cells", {}), **record["cells"]}}
    if "zennit" in {**old, **record}:
        merged["zennit"] = record.get("zennit", old.get("zennit"))
    found["records"][family] = merged
    found["records"] = {name: found["records"][name] for name in FAMILIES if name in found["records"]}
    modules = (torch, transformers, onnx, onnxruntime)
    versions = {module.__name__: module.__version__ for module in modules}
    found["meta"] = {"date": datetime.date.today().isoformat(), "method": METHOD, "versions": versions}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def light() -> None:
    """The light models with seeded weights: the same checks, less the exported explainer."""
    import numpy as np

    import onnxlrp
    from onnxlrp.graph.verify import verify
    from support.light_nets import NAMES, reinitialised

    found = {}
    for name in NAMES:
        source = reinitialised(name)
        model = onnxlrp.load(source, engine="ort")
        x = np.random.default_rng(1).normal(size=(1, *model.graph.inputs[0].shape)).astype(np.float32)
        e = model.explain(x, method=METHOD, ledger=True)
        record = {"forward": verify(model.graph, source, batches=(1,), tolerance=1.0)}
        record |= {"ledger": max(row.error for row in e.ledger), "share": float(e.relevance.sum() / e.logit[0])}
        good = max(record["forward"], record["ledger"]) < TOLERANCE and np.isfinite(e.relevance).all()
        found[name] = {"status": "ok" if good else "failed", **record}
        print(f"{name:14}", found[name], flush=True)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"records": {}}
    RESULTS.write_text(json.dumps({**results, "light": found}, indent=1) + "\n")


def store(wanted: Any) -> None:
    """The files of test_stored.py, less what exporters note about our sources."""
    import onnx

    from zoo.exporters import EXPORTERS

    for family, exporter in STORED.items():
        if wanted and family not in wanted:
            continue
        net, x = build(family)
        with tempfile.TemporaryDirectory(prefix="zoo-") as folder:
            model = onnx.load(EXPORTERS[exporter](net, x, Path(folder)))
        for node in model.graph.node:
            kept = [entry for entry in node.metadata_props if entry.key.endswith("name_scopes")]
            del node.metadata_props[:]
            node.metadata_props.extend(kept)
        del model.metadata_props[:], model.graph.metadata_props[:]
        for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
            del value.metadata_props[:]
        del model.graph.value_info[:]
        path = HERE / f"{family}-{exporter.replace(' ', '-')}.onnx"
        onnx.save(model, path)
        print(f"{path.name:40} {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
