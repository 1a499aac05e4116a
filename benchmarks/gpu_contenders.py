"""Contenders of benchmarks/gpu.py over a whole pass: our engine, onnxruntime, zennit and torch; in ms."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import contenders
import numpy as np
from clocks import host_time, torch_clock
from contenders import Array, Case
from gpu_findings import Session, Unavailable, torch_cuda
from records import Record

from onnxlrp.program.program import SEED


def allow_tf32(torch: Any, allowed: bool) -> None:
    """Let torch use TF32 in convolutions and products, or not."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def cuda_session(model: Any) -> Any:
    """Open onnxruntime on the GPU, in float32; it falls back to the CPU silently where a library is missing."""
    import onnxruntime

    from onnxlrp.engines.providers import preload

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise Unavailable("onnxruntime has no CUDA provider")
    preload()
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


def replayer(run: Any, batch: int) -> Callable[[], None]:
    """The program alone, its activations in place, enqueued."""
    prepared = run.prepared[batch]
    return lambda: run.device.replay(prepared, lambda: run._launch(prepared))


def ours(session: Session, case: Case, batch: int, precision: str) -> Record:
    """From host to host, the program alone on the device, and what it launches."""
    run, name = session.run(case, precision), case.graph.inputs[0].name
    feeds = {name: case.inputs(batch), SEED: np.zeros(batch, np.int64)}
    call = host_time(lambda: run(feeds), session.given.seconds)
    if batch not in run.prepared:
        raise MemoryError(f"a batch of {batch} does not fit: it was split")
    replay = replayer(run, batch)
    start = time.perf_counter()
    replay()
    enqueue = time.perf_counter() - start
    schedule = run.schedule(batch)
    forward = host_time(lambda: forward_pass(run, feeds, batch), session.given.seconds, warm=0)
    return {
        "call ms": 1e3 * call,
        "program ms": 1e3 * session.clock(replay, session.given.seconds),
        "forward as bound ms": 1e3 * forward,
        "enqueue ms": 1e3 * enqueue,
        "launches": len(schedule.launches),
        "device MB": schedule.bytes / 1e6,
    }


def forward_pass(run: Any, feeds: dict[str, Array], batch: int) -> None:
    """The engine's own forward pass to its end: by onnxruntime on the GPU if it can, else on the CPU and copied."""
    run.session.run({name: feeds[name] for name in run.forward.inputs}, run.prepared[batch].inputs)
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
    from onnxlrp.engines.emit.explainer import explainer

    forward, made = contenders.program(case)
    explained = explainer(forward, made)
    opened = cuda_session(explained.model)
    inputs = {forward.inputs[0]: case.inputs(batch), explained.seeds[SEED]: np.zeros(batch, np.int64)}
    wanted = [explained.outputs["relevance"]]
    return {
        "call ms": 1e3 * host_time(lambda: opened.run(wanted, inputs), session.given.seconds),
        "device ms": 1e3 * host_time(bound(opened, inputs, wanted), session.given.seconds),
    }


def zennit(session: Session, case: Case, batch: int) -> Record:
    """Time zennit on torch, in float32 and in TF32; input and relevance are on the GPU."""
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
