"""Layer by layer: the distinct convolutions of the networks and their adjoints, ours against cuDNN; and one launch."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import contenders
import numpy as np
from clocks import host_time, torch_clock
from contenders import Array, Case
from gpu_contenders import allow_tf32, replayer
from gpu_findings import Session, Unavailable, engine, torch_cuda
from records import Record


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
    kernels = " ".join(launch.kernel for _, launch in run.schedule(batch).launches)
    return {"ms": 1e3 * session.clock(replayer(run, batch), session.given.seconds / 4), "kernels": kernels}


def weight_shape(conv: Any) -> tuple[int, ...]:
    """Return the shape of a convolution's weight."""
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
