"""What a heatmap costs on a GPU: our kernels, onnxruntime, zennit, torch and the floor, in one run of ten minutes.

    python benchmarks/gpu.py                                # all of it; about --minutes 9
    python benchmarks/gpu.py --networks resnet50 --batches 1,64 --no-layers
    python benchmarks/gpu.py --tiny --engine emulator       # the whole script on a small model, without a GPU

Networks are made from a seed on the spot. First the engine is validated, then everything is timed, warm, as medians;
a contender that fails or is not there is reported and the rest goes on. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import contenders
import floors
import numpy as np
from clocks import Clock, cuda_clock, host_clock, host_time, torch_clock
from contenders import Array, Case

HERE = Path(__file__).parent
MODELS = HERE.parent / "models"
NETWORKS = ("resnet50", "vgg16", "mobilenetv2")
PRECISIONS = ("plain", "exact", "fast")  # no tensor cores, 3xTF32, TF32
# Relative L2 to onnxruntime or the float64 reference, end to end, of methods with the epsilon rule in them.
BOUNDS = {"plain": 1e-3, "exact": 1e-3, "fast": 5e-3}
COSINE = 0.9999
Record = dict[str, Any]


class Unavailable(Exception):
    """A contender that this machine does not have."""


@dataclass
class Session:
    """One run of the script: what it has found, and how long it may still take."""

    given: argparse.Namespace
    device: Any
    clock: Clock
    about: Record
    end: float
    valid: list[Record] = field(default_factory=list)
    whole: list[Record] = field(default_factory=list)
    layers: list[Record] = field(default_factory=list)
    overhead: Record = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    failed: list[Record] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _runs: dict[tuple[str, str], Any] = field(default_factory=dict)

    def step(self, what: str, do: Callable[[], Any], needs: float = 0.0) -> Any:
        """What `do` gives; None where it fails, or where the time that is left is shorter than it needs (seconds)."""
        if time.monotonic() + needs > self.end:
            self.left_out.append(what)
            return None
        try:
            return do()
        except Unavailable as error:
            self.unavailable.setdefault(str(error), what)
        except Exception as error:
            said = " ".join(str(error).split())[:400]
            self.failed.append({"what": what, "error": f"{type(error).__name__}: {said}"})
            print(f"FAILED {what}: {type(error).__name__}: {said}", flush=True)
        finally:
            self.save()
        return None

    def run(self, case: Case, precision: str) -> Any:
        """Our engine, prepared once for each network and precision."""
        key = (case.label, precision)
        if key not in self._runs:
            self._runs[key] = engine(self.device, precision).prepare(*contenders.program(case))
        return self._runs[key]

    def forget(self) -> None:
        """Give the memory of a network back."""
        self._runs.clear()
        with suppress(Exception):
            import cupy

            cupy.get_default_memory_pool().free_all_blocks()
        with suppress(Exception):
            torch_cuda().cuda.empty_cache()

    def save(self) -> None:
        """The JSON so far: a run that is cut off leaves what it has found."""
        path: Path = self.given.json
        path.parent.mkdir(parents=True, exist_ok=True)
        names = ("valid", "whole", "overhead", "layers", "unavailable", "failed")
        content = {"meta": self.about, **{name: getattr(self, name) for name in names}, "left out": self.left_out}
        part = path.with_suffix(".part")
        part.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(part, path)


# -- what is there


def engine(device: Any, precision: str) -> Any:
    from onnxlrp.engines.cuda.engine import Cuda

    return Cuda(device, None if precision == "plain" else precision)  # type: ignore[arg-type]


def torch_cuda() -> Any:
    """torch, if it sees a GPU."""
    try:
        import torch
    except ImportError:
        raise Unavailable("torch is not installed") from None
    if not torch.cuda.is_available():
        raise Unavailable("torch sees no GPU")
    return torch


def allow_tf32(torch: Any, allowed: bool) -> None:
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def cuda_session(model: Any) -> Any:
    """onnxruntime on the GPU, in float32; it falls back to the CPU in silence where a library is missing."""
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise Unavailable("onnxruntime has no CUDA provider")
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    providers = [("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"})]
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), contenders.session_options(), providers=[*providers, "CPUExecutionProvider"]
    )
    if "CUDAExecutionProvider" not in session.get_providers():
        raise Unavailable("onnxruntime cannot load its CUDA provider")
    return session


def bound(session: Any, inputs: dict[str, Array], outputs: list[str]) -> Callable[[], None]:
    """A run from and to arrays on the GPU; it returns when it is done."""
    import onnxruntime

    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array, "cuda", 0))
    for name in outputs:
        binding.bind_output(name, "cuda")

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run


# -- validation


def distance(ours: Array, other: Array) -> Record:
    """Relative L2, largest error relative to max|other|, and the cosine."""
    a, b = ours.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return {
        "l2": float(np.linalg.norm(a - b) / np.linalg.norm(b)),
        "max": float(np.abs(a - b).max() / np.abs(b).max()),
        "cosine": float(a @ b) / norms if norms else 0.0,
    }


def validate(session: Session, case: Case, precision: str, deep: bool) -> Record:
    """Against onnxruntime on the CPU, or with `deep` the float64 reference; the same bits again, a row by itself."""
    x = case.inputs(2)
    name = case.graph.inputs[0].name
    contender = contenders.reference if deep else contenders.ours
    with contenders.forward(case) as forward:
        ids = np.asarray(forward(x, x).reshape(2, -1).argmax(1), np.int64)
    with contender(case) as other:
        found = other(x, ids)
        wanted = found if deep else found["relevance"]
    run = session.run(case, precision)
    outputs = [run({name: x, "target": ids})["relevance"] for _ in range(3)]  # launched, captured, replayed
    alone = run({name: x[:1], "target": ids[:1]})["relevance"]
    apart = distance(outputs[0], wanted)
    record = {
        "network": case.label,
        "preset": case.preset,
        "precision": precision,
        "against": "reference, float64" if deep else "ort on the CPU, float32",
        **apart,
        "bound": BOUNDS[precision],
        "same bits": all(np.array_equal(outputs[0], one) for one in outputs[1:]),
        "row alone": distance(outputs[0][:1], alone)["l2"],
    }
    good = record["same bits"] and record["row alone"] < BOUNDS[precision] and apart["l2"] <= BOUNDS[precision]
    return record | {"ok": bool(good and apart["cosine"] >= COSINE)}


# -- the whole pass


def replayer(run: Any, batch: int) -> Callable[[], None]:
    """The program alone, its activations in place, enqueued."""
    planned = run.plans[batch]
    return lambda: run.device.replay(planned, lambda: run._launch(planned))


def ours(session: Session, case: Case, batch: int, precision: str) -> Record:
    """From host to host, the program alone on the device, and what it launches."""
    run, name = session.run(case, precision), case.graph.inputs[0].name
    feeds = {name: case.inputs(batch), "target": np.zeros(batch, np.int64)}
    call = host_time(lambda: run(feeds), session.given.seconds)
    if batch not in run.plans:
        raise MemoryError(f"a batch of {batch} does not fit: it was split")
    replay = replayer(run, batch)
    start = time.perf_counter()
    replay()
    enqueue = time.perf_counter() - start
    draft = run.draft(batch)
    forward = host_time(lambda: forward_pass(run, feeds, batch), session.given.seconds, warm=0)
    return {
        "call ms": 1e3 * call,
        "program ms": 1e3 * session.clock(replay, session.given.seconds),
        "forward as bound ms": 1e3 * forward,
        "enqueue ms": 1e3 * enqueue,
        "launches": len(draft.launches),
        "device MB": draft.bytes / 1e6,
    }


def forward_pass(run: Any, feeds: dict[str, Array], batch: int) -> None:
    """The engine's own forward pass to its end: by onnxruntime on the GPU if it can, else on the CPU and copied."""
    run.session.run({name: feeds[name] for name in run.forward.inputs}, run.plans[batch].fed)
    if run.device.stream is not None:
        run.device.stream.synchronize()


def forward_on_gpu(session: Session, case: Case, batch: int) -> Record:
    """The forward pass by onnxruntime, input and the activations that the program reads on the GPU."""
    forward, made = contenders.program(case)
    run = bound(
        cuda_session(forward.model(np.float32, made.reads)), {forward.inputs[0]: case.inputs(batch)}, list(made.reads)
    )
    return {"device ms": 1e3 * host_time(run, session.given.seconds)}


def ort_on_gpu(session: Session, case: Case, batch: int) -> Record:
    """The `ort` engine's graph on the CUDA provider."""
    from onnxlrp.engines.ort import explainer

    forward, made = contenders.program(case)
    explained = explainer(forward, made)
    opened = cuda_session(explained.model)
    inputs = {forward.inputs[0]: case.inputs(batch), explained.seed: np.zeros(batch, np.int64)}
    wanted = [explained.outputs["relevance"]]
    return {
        "call ms": 1e3 * host_time(lambda: opened.run(wanted, inputs), session.given.seconds),
        "device ms": 1e3 * host_time(bound(opened, inputs, wanted), session.given.seconds),
    }


def zennit(session: Session, case: Case, batch: int) -> Record:
    """zennit's attribution on torch, as float32 and as TF32; input and relevance on the GPU."""
    torch = torch_cuda()
    if not case.network:
        raise Unavailable("this model has no torch twin")
    x, ids = case.inputs(batch), np.zeros(batch, np.int64)
    times = {}
    try:
        with contenders.attributor(case, torch.float32, "cuda") as run:
            given = torch.from_numpy(x).cuda(), torch.from_numpy(ids).cuda()
            for kind, allowed in (("", False), ("tf32 ", True)):
                allow_tf32(torch, allowed)
                times[f"{kind}device ms"] = 1e3 * torch_clock(torch)(lambda: run(*given), session.given.seconds)
            allow_tf32(torch, False)
            times["call ms"] = 1e3 * host_time(
                lambda: run(torch.from_numpy(x).cuda(), given[1]).cpu().numpy(), session.given.seconds
            )
    except ImportError as error:
        raise Unavailable(f"zennit: {error}") from None
    return times


def torch_forward(session: Session, case: Case, batch: int) -> Record:
    """The torch model's forward pass, as float32 and as TF32."""
    torch = torch_cuda()
    if not case.network:
        raise Unavailable("this model has no torch twin")
    import networks

    model, x = networks.export(case.network, case.cache)[0].cuda(), torch.from_numpy(case.inputs(batch)).cuda()
    times = {}
    for kind, allowed in (("", False), ("tf32 ", True)):
        allow_tf32(torch, allowed)
        with torch.no_grad():
            times[f"{kind}device ms"] = 1e3 * torch_clock(torch)(lambda: model(x), session.given.seconds)
    return times


def whole(session: Session, case: Case, batch: int) -> None:
    """Every contender on one network and batch size."""
    label = f"{case.label} b{batch}"
    record: Record = {"network": case.label, "preset": case.preset, "batch": batch}
    record["floor"] = session.step(f"{label}: floor", lambda: floors.floors(case, batch, session.about["bandwidth"]))
    for precision in session.given.precisions:
        needs = 8 * slower(session, case, precision, batch)
        made = session.step(f"{label}: ours, {precision}", partial(ours, session, case, batch, precision), needs)
        record[f"ours {precision}"] = made
    others = {"forward": forward_on_gpu, "ort": ort_on_gpu, "zennit": zennit, "torch": torch_forward}
    for name, contender in others.items():
        record[name] = session.step(f"{label}: {name}", partial(contender, session, case, batch))
    session.whole.append(record)
    print(line(record), flush=True)
    session.save()


def slower(session: Session, case: Case, precision: str, batch: int) -> float:
    """Seconds that a call takes, judged by a smaller batch of the same network."""
    known = [
        batch / r["batch"] * made["call ms"] / 1e3
        for r in session.whole
        if r["network"] == case.label and (made := r.get(f"ours {precision}"))
    ]
    return known[-1] if known else 0.0


# -- layer by layer


def layers(session: Session, cases: list[Case], batch: int) -> None:
    """The distinct convolutions of the networks and their adjoints: our kernels against torch's cuDNN."""
    found: dict[tuple[str, Any], Record] = {}
    for case in cases:
        for step in contenders.program(case)[1].instructions:
            if step.op == "Conv" and not step.constant:
                key = (step.kind, step.what)
                record = found.setdefault(key, {"kind": step.kind, "times": 0, "network": case.label})
                record["times"] += 1
    works = sorted(found.items(), key=lambda entry: -_flop(entry[0][1]) * entry[1]["times"])
    for (kind, conv), record in works:
        record |= {"shape": described(conv), "batch": batch, "GFLOP": batch * _flop(conv) / 1e9}
        label = f"layer {kind} {record['shape']}"
        for precision in session.given.precisions:
            made = session.step(f"{label}: ours", partial(layer, session, kind, conv, batch, precision))
            record |= {f"{key} {precision}": value for key, value in (made or {}).items()}
        theirs = session.step(f"{label}: cudnn", partial(cudnn, session, kind, conv, batch))
        record |= theirs or {}
        if len(record) > 6:
            session.layers.append(record)
    session.save()


def _flop(conv: Any) -> float:
    outer, *place = conv.target
    return float(2 * outer * np.prod(place) * conv.source[0] / conv.group * np.prod(conv.window.kernel))


def described(conv: Any) -> str:
    """`64x56x56 → 128x28x28 3x3 s2 g1`."""
    source, target, kernel = ("x".join(map(str, s)) for s in (conv.source, conv.target, conv.window.kernel))
    return f"{source} → {target} {kernel} s{conv.window.strides[0]} g{conv.group}"


def alone(kind: str, conv: Any, weight: Array) -> tuple[Any, Any, tuple[int, ...]]:
    """(forward, program, shape of its input) of one convolution or its adjoint."""
    from onnxlrp.program.program import Activation, Constant, Instruction, Program

    source, target = (conv.source, conv.target) if kind == "linear" else (conv.target, conv.source)
    steps = (
        Instruction("read", "activation", (), Activation("x"), source, False, False),
        Instruction("read", "constant", (), Constant(weight), weight.shape, True, False),
        Instruction(kind, "Conv", (0, 1), conv, target, False, False, origin="layer"),
    )
    return identity(source), Program(steps, {"y": 2}), source


def identity(shape: tuple[int, ...]) -> Any:
    """A forward model that hands out its input: tensor "x" is input "in"."""
    from onnx import TensorProto, helper

    from onnxlrp.engines import Forward

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]) for name in ("in", "x")]
    graph = helper.make_graph([helper.make_node("Identity", ["in"], ["x"])], "identity", ends[:1], ends[1:])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    return Forward(lambda dtype, tensors: model, ("in",))


def layer(session: Session, kind: str, conv: Any, batch: int, precision: str) -> Record:
    """One convolution by our kernels; in ms."""
    weight = np.random.default_rng(0).standard_normal(weight_shape(conv)).astype(np.float32)
    forward, made, source = alone(kind, conv, weight)
    run = engine(session.device, precision).prepare(forward, made)
    x = np.random.default_rng(1).random((batch, *source), np.float32)
    for _ in range(3):
        run({"in": x})
    kernels = " ".join(launch.kernel for _, launch in run.draft(batch).launches)
    return {"ms": 1e3 * session.clock(replayer(run, batch), session.given.seconds / 4), "kernels": kernels}


def weight_shape(conv: Any) -> tuple[int, ...]:
    return (conv.target[0], conv.source[0] // conv.group, *conv.window.kernel)


def cudnn(session: Session, kind: str, conv: Any, batch: int) -> Record:
    """The same by torch, as float32 and as TF32, as a CUDA graph; in ms."""
    torch = torch_cuda()
    w, window = torch.randn(weight_shape(conv), device="cuda"), conv.window
    padding = [max(p) for p in zip(window.before, window.after, strict=True)]
    if list(window.before) != list(window.after) and kind == "linear" and max(window.strides) == 1:
        raise Unavailable("torch pads both sides alike")
    times = {}
    for name, allowed in (("cudnn ms", False), ("cudnn tf32 ms", True)):
        allow_tf32(torch, allowed)
        if kind == "linear":
            x = torch.rand((batch, *conv.source), device="cuda")

            def run(x: Any = x) -> Any:
                return torch.nn.functional.conv2d(x, w, None, window.strides, padding, window.dilations, conv.group)
        else:
            s = torch.rand((batch, *conv.target), device="cuda")

            def run(x: Any = s) -> Any:
                return torch.nn.grad.conv2d_input(
                    (batch, *conv.source), w, x, window.strides, padding, window.dilations, conv.group
                )

        times[name] = 1e3 * torch_clock(torch, graph=True)(run, session.given.seconds / 4)
    return times


# -- launch overhead


def overhead(session: Session) -> Record:
    """What a launch costs: a program of one kernel from host to host, and a node of a replay of many, in µs."""
    from onnxlrp.program.linear import Permute
    from onnxlrp.program.program import Activation, Instruction, Program

    def chained(count: int) -> Any:
        steps = [Instruction("read", "activation", (), Activation("x"), (4, 4), False, False)]
        for n in range(count):
            flip = Permute((4, 4), (4, 4), (1, 0))
            steps.append(Instruction("linear", "Permute", (n,), flip, (4, 4), False, False))
        return engine(session.device, "plain").prepare(identity((4, 4)), Program(tuple(steps), {"y": count}))

    x, few, many = np.ones((1, 4, 4), np.float32), 1, 10 if session.given.tiny else 200
    found, times = {}, {}
    for count in (few, many):
        run = chained(count)
        for _ in range(3):
            run({"in": x})
        replay = replayer(run, 1)
        times[count] = session.clock(replay, session.given.seconds)
        found[f"call of {count} µs"] = 1e6 * host_time(partial(run, {"in": x}), session.given.seconds)
        found[f"replay of {count} µs"] = 1e6 * times[count]
        start = time.perf_counter()
        replay()
        found[f"enqueue of {count} µs"] = 1e6 * (time.perf_counter() - start)
    return found | {"node µs": 1e6 * (times[many] - times[few]) / (many - few)}


# -- the table

COLUMNS = (
    ("network", 12), ("batch", 5), ("program", 8), ("call", 8), ("forward", 8), ("ours", 8), ("ort cuda", 8),
    ("zennit", 8), ("tf32", 8), ("torch fwd", 9), ("floor mma/mem", 14), ("zennit/ours", 11),
)  # fmt: skip


def header() -> str:
    return " ".join(f"{name:<{width}}" if n == 0 else f"{name:>{width}}" for n, (name, width) in enumerate(COLUMNS))


def line(record: Record) -> str:
    """A record as a line of the table, in ms; "ours" is the forward pass on the GPU (torch's where onnxruntime has no
    CUDA provider, marked *) and the program."""
    found = [made for p in PRECISIONS if (made := record.get(f"ours {p}"))]
    best: Record = min(found, key=lambda made: float(made["program ms"]), default={})
    forward, torch = (record.get(name) or {} for name in ("forward", "torch"))
    ms = forward.get("device ms") or torch.get("device ms")
    total = ms + best["program ms"] if ms and "program ms" in best else None
    theirs, floor = record.get("zennit") or {}, (record.get("floor") or {}).get("ms", {})
    fastest = min((t for key, t in theirs.items() if "device" in key), default=None)
    cells = (
        record["network"], str(record["batch"]), _ms(best.get("program ms")), _ms(best.get("call ms")),
        _ms(ms) + ("" if forward or not ms else "*"), _ms(total), _ms((record.get("ort") or {}).get("device ms")),
        _ms(theirs.get("device ms")), _ms(theirs.get("tf32 device ms")), _ms(torch.get("device ms")),
        f"{_ms(floor.get('mma.sync TF32'))}/{_ms(floor.get('memory'))}",
        f"{fastest / total:.1f}" if fastest and total else "-",
    )  # fmt: skip
    return " ".join(
        f"{c:<{w}}" if n == 0 else f"{c:>{w}}" for n, (c, (_, w)) in enumerate(zip(cells, COLUMNS, strict=True))
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def layer_line(record: Record) -> str:
    """`linear 64x56x56 → 64x56x56 3x3 s1 g1   ours 0.12 (98 TFLOP/s)   cudnn 0.20 / 0.08 tf32`."""
    mine = [f"{p} {_ms(record.get(f'ms {p}'))}" for p in PRECISIONS if f"ms {p}" in record]
    best = min((ms for p in PRECISIONS if (ms := record.get(f"ms {p}"))), default=None)
    rate = f"{record['GFLOP'] / best:.1f} TFLOP/s" if best else ""
    theirs = f"cudnn {_ms(record.get('cudnn ms'))}, tf32 {_ms(record.get('cudnn tf32 ms'))}"
    return f"{record['kind']:<8} {record['shape']:<44} x{record['times']:<3} {', '.join(mine)}  {rate:<14} {theirs}"


# -- the run


def meta(given: argparse.Namespace) -> Record:
    """The GPU, the driver, the versions and the day."""
    from onnxlrp.commands import probes

    packages = ("onnxlrp", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "cupy-cuda13x", "torch", "zennit")
    versions: dict[str, str | None] = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    there = probes.gpus() if given.engine == "cuda" else []
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": there[0]["name"] if there else given.engine,
        "gpus": there,
        "driver CUDA": probes.driver_cuda(),
        "CUDA runtime": probes.runtime_cuda(),
        "cuDNN": probes.cudnn(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "bandwidth": floors.BANDWIDTH,
        "arguments": {key: str(value) for key, value in vars(given).items()},
    }


def copy_rate() -> float:
    """Bytes a second of a copy on the device, read and written."""
    import cupy

    size = 2**30
    a, b = cupy.zeros(size, cupy.uint8), cupy.zeros(size, cupy.uint8)
    stream = cupy.cuda.Stream(non_blocking=True)
    seconds = cuda_clock(stream, flush=0)(lambda: b.data.copy_from_device_async(a.data, size, stream), 0.5)
    return 2 * size / seconds


def cases(session: Session) -> list[Case]:
    """The networks, made where they are missing."""
    given = session.given
    if given.tiny:
        return [Case(MODELS / "digits.onnx", given.preset)]
    made = []
    for network in given.networks:

        def make(network: str = network) -> Case:
            import networks

            return Case(networks.export(network, given.cache)[1], given.preset, network, given.cache)

        case = session.step(f"{network}: make it", make)
        made += [case] if case else []
    return made


def small() -> list[Case]:
    """The models of this repository, under every preset: the float64 reference takes seconds."""
    return [Case(MODELS / f"{n}.onnx", preset) for n in ("digits", "shapes") for preset in contenders.PRESETS]


def measure(session: Session) -> None:
    """Validate, then time, what matters most first."""
    given = session.given
    for case in small()[: 1 if given.tiny else None]:
        for precision in given.precisions:
            check(session, case, precision, deep=True)
        session.forget()
    made = cases(session)
    found = session.step("launch overhead", lambda: overhead(session))
    session.overhead |= found or {}
    print("overhead " + ", ".join(f"{key} {value:.1f}" for key, value in session.overhead.items()))
    print("\n" + header(), flush=True)
    for case in made:
        for precision in given.precisions:
            check(session, case, precision, deep=False)
        for batch in given.batches:
            whole(session, case, batch)
        session.forget()
    if not given.no_layers:
        print(f"\nlayers, batch {given.layer_batch}, ms, L2 cold", flush=True)
        layers(session, made, given.layer_batch)
        print(*map(layer_line, session.layers), sep="\n")


def check(session: Session, case: Case, precision: str, deep: bool) -> None:
    label = f"{case.label} {case.preset} {precision}"
    record = session.step(f"validate {label}", lambda: validate(session, case, precision, deep))
    if record:
        session.valid.append(record)
        verdict = "valid" if record["ok"] else "NOT VALID"
        bits = "same bits" if record["same bits"] else "OTHER BITS"
        print(f"{verdict}: {label}: l2 {record['l2']:.1e} to {record['against']}, {bits}", flush=True)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    def words(text: str) -> list[str]:
        return text.split(",")

    def numbers(text: str) -> list[int]:
        return [int(word) for word in text.split(",")]

    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--engine", choices=("cuda", "emulator"), default="cuda")
    parser.add_argument("--loader", default="auto", help="of the kernels: auto, fatbin or nvrtc")
    parser.add_argument("--tiny", action="store_true", help="the digits model alone, two small batches")
    parser.add_argument("--networks", type=words, default=list(NETWORKS), help=",".join(NETWORKS))
    parser.add_argument("--batches", type=numbers)
    parser.add_argument("--preset", choices=contenders.PRESETS, default=contenders.PRESETS[0])
    parser.add_argument("--precisions", type=words, default=["exact", "fast"], help=",".join(PRECISIONS))
    parser.add_argument("--no-layers", action="store_true")
    parser.add_argument("--layer-batch", type=int)
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after these; what is left out is listed")
    parser.add_argument("--seconds", type=float, help="that a contender is timed for (default: 0.5)")
    parser.add_argument("--cache", type=Path, default=Path(gettempdir()) / "onnxlrp-bench")
    parser.add_argument("--json", type=Path, help="default: benchmarks/results/gpu-NAME.json")
    given = parser.parse_args(argv)
    for word in given.precisions:
        if word not in PRECISIONS:
            parser.error(f"no such precision: {word}")
    for word in given.networks:
        if word not in NETWORKS:
            parser.error(f"no such network: {word}")
    given.batches = given.batches or ([1, 2] if given.tiny else [1, 16, 64])
    given.layer_batch = given.layer_batch or (1 if given.tiny else 16)
    given.seconds = given.seconds or (0.02 if given.tiny else 0.5)
    return given


def main(argv: list[str] | None = None) -> int:
    start = time.monotonic()
    given = arguments(argv)
    from onnxlrp.engines.cuda.device import Emulated, Gpu
    from onnxlrp.errors import OnnxLrpError

    try:
        device: Any = Gpu(given.loader) if given.engine == "cuda" else Emulated()
    except OnnxLrpError as error:
        print(f"error: {error.message}\nfix: {error.fix}", file=sys.stderr)
        return error.code
    about = meta(given)
    slug = re.sub(r"\W+", "-", about["device"].lower()).strip("-")
    given.json = given.json or HERE / "results" / f"gpu-{slug}.json"
    clock = cuda_clock(device.stream) if given.engine == "cuda" else host_clock
    session = Session(given, device, clock, about, start + 60 * given.minutes)
    if given.engine == "cuda":
        about["copy bytes/s"] = session.step("copy rate", copy_rate)
        about["kernels"] = device.kernels.name
        if "H200" not in about["device"] and about["copy bytes/s"]:
            about["bandwidth"] = about["copy bytes/s"]
    print(f"{about['device']}, {about['date']}, driver CUDA {about['driver CUDA']}", flush=True)
    measure(session)
    about["seconds"] = round(time.monotonic() - start, 1)
    session.save()
    for reason, what in session.unavailable.items():
        print(f"not there: {reason} (first at {what})")
    if session.left_out:
        print(f"left out, for time: {len(session.left_out)}: {'; '.join(session.left_out[:12])}")
    print(f"{len(session.failed)} failed, {about['seconds']} s, wrote {given.json}")
    good = all(record["ok"] for record in session.valid) and session.valid
    return 0 if good and not session.failed else 1


if __name__ == "__main__":
    sys.exit(main())
