"""Program → ONNX: forward and relevance as one plain graph of standard operators.

Weights are shared with the forward model by name, and arithmetic on them is emitted as expressions (W⁺ as Relu(W)):
the runtime folds them when it loads the graph, and the saved file stays small.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..program.interpret import counts, run_linear, run_map
from ..program.linear import Conv, LinearMap, Matmul, Pool, Select, Slice, Sum, Window
from ..program.program import Activation, Array, Constant, Instruction, Program, Seed
from ..program.value import distinct

SMALL = 4096  # constant expressions up to this many elements are stored folded
HUGE = 1e38  # z·HUGE is beyond any ε for every normal float32 z but 0


class Emitter:
    """Nodes and initialisers of the graph in the making; `names` are the tensors of instructions."""

    def __init__(self, model: onnx.ModelProto, program: Program) -> None:
        self.model, self.program = model, program
        self.graph = model.graph
        self.names: dict[int, str] = {}
        self.folded: dict[int, str] = {}  # [T, N, ...] as [T·N, ...]
        self._taken = {name for node in self.graph.node for name in (*node.output, *node.input)}
        self._taken |= {value.name for value in self.graph.input}
        self._weights = {tensor.name for tensor in self.graph.initializer}
        self._stored: dict[tuple[Any, ...], str] = {}
        self._shared: dict[tuple[Any, ...], list[str]] = {}
        self._arrays: dict[int, Array] = {}
        self._annotated: set[str] = set()
        self.origin = self.seed = ""

    # -- nodes

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append a node; equal nodes are one."""
        return self.nodes(op, inputs, 1, **attributes)[0]

    def nodes(self, op: str, inputs: Sequence[str], results: int, **attributes: Any) -> list[str]:
        """Append a node with several results; equal nodes are one."""
        key = (op, tuple(inputs), results, repr(sorted(attributes.items())))
        if key not in self._shared:
            outputs = [self.fresh(f"{self.origin}/{op}") for _ in range(results)]
            self.graph.node.append(helper.make_node(op, list(inputs), outputs, name=outputs[0], **attributes))
            self._shared[key] = outputs
        return self._shared[key]

    def fresh(self, wish: str, prefix: str = "lrp/") -> str:
        """A name that no tensor has."""
        wish = prefix + re.sub(r"[^\w./:-]", "_", wish)
        name, n = wish, 1
        while name in self._taken:
            n += 1
            name = f"{wish}_{n}"
        self._taken.add(name)
        return name

    def store(self, array: npt.ArrayLike) -> str:
        """An initialiser; float arrays as float32, equal ones once."""
        array = np.asarray(array)
        if np.issubdtype(array.dtype, np.floating):
            array = array.astype(np.float32)
        array = np.ascontiguousarray(array).reshape(array.shape)
        # Never by id: the array is ours alone, and the next one may get its place.
        content = array.tobytes() if array.size <= SMALL else hashlib.sha256(array.data).digest()
        key = (array.shape, array.dtype.str, content)
        if key not in self._stored:
            name = self.fresh("constant")
            self.graph.initializer.append(numpy_helper.from_array(array, name))
            self._stored[key] = name
        return self._stored[key]

    def ints(self, *values: int) -> str:
        """A vector of int64."""
        return self.store(np.asarray(values, np.int64))

    # -- instructions

    def emit(self, seed: str = "") -> dict[str, str]:
        """All instructions; the tensor of each output. `seed` is the graph's input that chooses the target."""
        self.seed = seed
        for n, step in enumerate(self.program.instructions):
            self.origin = step.origin
            self.names[n] = self._step(n, step)
            self._annotate(n, step)
        return {name: self.names[n] for name, n in self.program.outputs.items()}

    def _annotate(self, n: int, step: Instruction) -> None:
        """Say the shape. A batch that got lost in a Reshape would keep onnxruntime from its blocked kernels."""
        name = self.names[n]
        if step.constant or step.targets or name in self._annotated or isinstance(step.what, Activation):
            return
        self._annotated.add(name)
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *step.shape])
        self.graph.value_info.append(info)

    def _step(self, n: int, step: Instruction) -> str:
        if isinstance(step.what, Activation):
            return step.what.tensor
        if isinstance(step.what, Constant):
            return self._constant(step.what)
        if isinstance(step.what, Seed):
            return emit_seed(self, step)
        if step.constant and int(np.prod(step.shape)) <= SMALL:
            return self.store(self._array(n))
        if step.kind == "map":
            names = [self.names[i] for i in step.inputs]
            if np.broadcast_shapes(*(self._stored_shape(i) for i in step.inputs)) != step.shape:
                names = [self._whole(i, self.program.instructions[i].shape) for i in step.inputs]
            return MAPS[step.op](self, step, names)
        return self._linear(n, step)

    def _constant(self, source: Constant) -> str:
        if source.tensor:
            if source.tensor not in self._weights:
                self.graph.initializer.append(numpy_helper.from_array(source.array.astype(np.float32), source.tensor))
                self._weights.add(source.tensor)
                self._taken.add(source.tensor)
            return source.tensor
        return self.store(distinct(source.array))

    def _array(self, n: int) -> Array:
        if n not in self._arrays:
            step = self.program.instructions[n]
            if isinstance(step.what, Constant):
                return step.what.array
            operands = [self._array(i) for i in step.inputs]
            self._arrays[n] = np.asarray((run_map if step.kind == "map" else run_linear)(step, operands))
        return self._arrays[n]

    def _linear(self, n: int, step: Instruction) -> str:
        linear = step.what
        assert isinstance(linear, LinearMap)
        inner, outer = (linear.source, linear.target) if step.kind == "linear" else (linear.target, linear.source)
        first = self.program.instructions[step.inputs[0]]
        rest = [self._operand(i) for i in step.inputs[1:]]
        table = LINEAR if step.kind == "linear" else ADJOINT
        if step.constant:
            x = self.node("Unsqueeze", self._whole(step.inputs[0], inner), self.ints(0))
            return self.node("Squeeze", table[linear.name](self, linear, x, *rest), self.ints(0))
        x = self.names[step.inputs[0]] if not first.constant else self._whole(step.inputs[0], inner)
        if isinstance(linear, Matmul) and (rank := self._matrices(step.inputs[1])):
            return matrices(self, linear.transposed == (step.kind == "linear"), x, rank, *rest)
        if not first.targets or linear.name == "Select":
            if linear.name == "Select":
                return select(self, step, x, rest[0], first.targets)
            return table[linear.name](self, linear, x, *rest)
        if any(not self.program.instructions[i].constant for i in step.inputs[1:]):
            raise NotImplementedError("a weight that is an activation, with several targets")
        if step.inputs[0] not in self.folded:
            self.folded[step.inputs[0]] = self.node("Reshape", x, self.ints(-1, *inner))
        self.folded[n] = table[linear.name](self, linear, self.folded[step.inputs[0]], *rest)
        return self.node("Reshape", self.folded[n], self.ints(self.program.targets or 1, -1, *outer))

    def _matrices(self, n: int) -> int:
        """The rank of a weight that is more than one matrix: one for each sample, or for each place; else 0."""
        step = self.program.instructions[n]
        rank = len(step.shape) + (not step.constant)
        return rank if rank > 2 else 0

    def _stored_shape(self, n: int) -> tuple[int, ...]:
        step = self.program.instructions[n]
        own = isinstance(step.what, Constant) and not step.what.tensor
        return distinct(step.what.array).shape if own and isinstance(step.what, Constant) else step.shape

    def _operand(self, n: int) -> str:
        """A weight or bias, whole: kernels do not broadcast theirs."""
        what = self.program.instructions[n].what
        return self.store(what.array) if isinstance(what, Constant) and not what.tensor else self.names[n]

    def _whole(self, n: int, shape: tuple[int, ...]) -> str:
        """A constant with the copies that broadcasting leaves out."""
        if self._stored_shape(n) == shape:
            return self.names[n]
        return self.node("Expand", self.names[n], self.ints(*shape))


# -- elementwise maps


def _is_scalar(e: Emitter, n: int) -> float | None:
    step = e.program.instructions[n]
    return float(e._array(n)) if step.constant and step.shape == () else None


def _bounded(op: str, low: bool) -> Callable[[Emitter, Instruction, list[str]], str]:
    def run(e: Emitter, step: Instruction, names: list[str]) -> str:
        for own, other in ((0, 1), (1, 0)):
            bound = _is_scalar(e, step.inputs[other])
            if bound is not None:
                if low:
                    return e.node("Relu", names[own]) if bound == 0 else e.node("Clip", names[own], names[other])
                return e.node("Clip", names[own], "", names[other])
        return e.node(op, *names)

    return run


def _plain(op: str) -> Callable[[Emitter, Instruction, list[str]], str]:
    return lambda e, step, names: e.node(op, *names)


def _greater(e: Emitter, step: Instruction, names: list[str]) -> str:
    # Clip(x·1e38, 0, 1) is 1 where a normal float32 x > 0, else 0, in two fast passes; comparisons are slow ones.
    for own, other, steep in ((0, 1, HUGE), (1, 0, -HUGE)):
        if _is_scalar(e, step.inputs[other]) == 0:
            steeper = e.node("Mul", names[own], e.store(np.float32(steep)))
            return e.node("Clip", steeper, e.store(np.float32(0)), e.store(np.float32(1)))
    return e.node("Cast", e.node("Greater", *names), to=TensorProto.FLOAT)


def _where(e: Emitter, step: Instruction, names: list[str]) -> str:
    condition = e.node("Cast", names[0], to=TensorProto.BOOL)
    return e.node("Where", condition, *names[1:])


def _stabilize(e: Emitter, step: Instruction, names: list[str]) -> str:
    # Clip(z·1e38 + ε, −ε, ε) is ε·sgn(z) with sgn(0) = +1; Where and Less cost ten times as much.
    low, high = e.store(np.float32(-step.parameter)), e.store(np.float32(step.parameter))
    steep = e.node("Add", e.node("Mul", names[0], e.store(np.float32(HUGE))), high)
    return e.node("Add", names[0], e.node("Clip", steep, low, high))


MAPS: dict[str, Callable[[Emitter, Instruction, list[str]], str]] = {
    "add": _plain("Add"),
    "sub": _plain("Sub"),
    "mul": _plain("Mul"),
    "div": _plain("Div"),
    "neg": _plain("Neg"),
    "max": _bounded("Max", low=True),
    "min": _bounded("Min", low=False),
    "greater": _greater,
    "where": _where,
    "square": lambda e, step, names: e.node("Mul", names[0], names[0]),
    "sqrt": _plain("Sqrt"),
    "exp": _plain("Exp"),
    "sin": _plain("Sin"),
    "cos": _plain("Cos"),
    "tanh": _plain("Tanh"),
    "sigmoid": _plain("Sigmoid"),
    "erf": _plain("Erf"),
    "power": lambda e, step, names: e.node("Pow", names[0], e.store(np.float32(step.parameter))),
    "stabilize": _stabilize,
}


# -- the seed


def emit_seed(e: Emitter, step: Instruction) -> str:
    """How relevance enters, as part of the graph."""
    seed = step.what
    assert isinstance(seed, Seed)
    if seed.mode == "relevance":
        return e.seed
    depth = int(np.prod(step.shape))
    if seed.mode == "top":
        flat = e.node("Reshape", seed.tensor, e.ints(-1, depth))
        if seed.targets is None:
            ids = e.node("ArgMax", flat, axis=1, keepdims=0)
        else:
            ids = e.node("Transpose", e.nodes("TopK", (flat, e.ints(seed.targets)), 2, axis=1)[1], perm=[1, 0])
    else:
        ids = e.seed
    hot = e.node("OneHot", ids, e.store(np.int64(depth)), e.store(np.asarray([0.0, 1.0])), axis=-1)
    if step.shape == (depth,):
        return hot
    lead = (-1,) if seed.targets is None else (seed.targets, -1)
    return e.node("Reshape", hot, e.ints(*lead, *step.shape))


# -- linear maps and their adjoints, on [N, ...]


def _pads(window: Window) -> list[int]:
    return [*window.before, *(max(0, a) for a in window.after)]


def _window(window: Window) -> dict[str, list[int]]:
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.strides),
        "dilations": list(window.dilations),
        "pads": _pads(window),
    }


def _overhangs(window: Window) -> bool:
    """Whether ceil_mode puts a dilated window over more padding than pooling operators let one declare."""
    return any(a >= k for a, k in zip(window.after, window.kernel, strict=True))


def _conv(e: Emitter, c: Conv, x: str, weight: str, bias: str = "") -> str:
    inputs = (x, weight, bias) if bias else (x, weight)
    return e.node("Conv", *inputs, group=c.group, **_window(c.window))


def _transposed_weight(e: Emitter, c: Conv, weight: str) -> str:
    """[O, I/g, *k] as [I, O/g, *k], flipped: the weight of the adjoint of a stride-1 convolution."""
    out, inner, k = c.target[0], c.source[0] // c.group, c.window.kernel
    d = len(k)
    if c.group == 1:
        weight = e.node("Transpose", weight, perm=[1, 0, *range(2, 2 + d)])
    elif (out, inner) != (c.group, 1):
        weight = e.node("Reshape", weight, e.ints(c.group, out // c.group, inner, *k))
        weight = e.node("Transpose", weight, perm=[0, 2, 1, *range(3, 3 + d)])
        weight = e.node("Reshape", weight, e.ints(c.source[0], out // c.group, *k))
    axes = [2 + i for i in range(d) if k[i] > 1]
    if not axes:
        return weight
    ends = e.ints(*([np.iinfo(np.int64).min] * len(axes)))
    return e.node("Slice", weight, e.ints(*([-1] * len(axes))), ends, e.ints(*axes), e.ints(*([-1] * len(axes))))


def _conv_adjoint(e: Emitter, c: Conv, s: str, weight: str) -> str:
    w = c.window
    reach = [d * (k - 1) for d, k in zip(w.dilations, w.kernel, strict=True)]
    if all(stride == 1 for stride in w.strides):
        before = [r - b for r, b in zip(reach, w.before, strict=True)]
        after = [n - t - b + r for n, t, b, r in zip(w.source, w.target, before, reach, strict=True)]
        if min(*before, *after) >= 0:
            return e.node(
                "Conv", s, _transposed_weight(e, c, weight), group=c.group, kernel_shape=list(w.kernel),
                strides=list(w.strides), dilations=list(w.dilations), pads=[*before, *after],
            )  # fmt: skip
    after_all = list(w.after)
    return e.node(
        "ConvTranspose", s, weight, group=c.group, kernel_shape=list(w.kernel), strides=list(w.strides),
        dilations=list(w.dilations), pads=[*w.before, *(max(0, a) for a in after_all)],
        output_padding=[max(0, -a) for a in after_all],
    )  # fmt: skip


def _matmul(e: Emitter, m: Matmul, x: str, weight: str, bias: str = "") -> str:
    if len(m.source) == 1:
        return e.node("Gemm", *((x, weight, bias) if bias else (x, weight)), transB=int(m.transposed))
    y = e.node("MatMul", x, e.node("Transpose", weight, perm=[1, 0]) if m.transposed else weight)
    return e.node("Add", y, bias) if bias else y


def _matmul_adjoint(e: Emitter, m: Matmul, s: str, weight: str) -> str:
    if len(m.source) == 1:
        return e.node("Gemm", s, weight, transB=int(not m.transposed))
    return e.node("MatMul", s, weight if m.transposed else e.node("Transpose", weight, perm=[1, 0]))


def matrices(e: Emitter, transposed: bool, x: str, rank: int, weight: str, bias: str = "") -> str:
    """x times a matrix of its own for each sample or place; several targets share it by broadcasting."""
    if transposed:
        weight = e.node("Transpose", weight, perm=[*range(rank - 2), rank - 1, rank - 2])
    y = e.node("MatMul", x, weight)
    return e.node("Add", y, bias) if bias else y


def _pool(e: Emitter, p: Pool, x: str) -> str:
    if p.window.covers:
        return e.node("GlobalAveragePool", x)
    if _overhangs(p.window):
        ones = e.store(np.ones((p.source[0], 1, *p.window.kernel)))
        y = _conv(e, Conv(p.source, p.target, p.window, p.source[0]), x, ones)
        return e.node("Mul", y, e.store(1 / counts(p)))
    y = e.node("AveragePool", x, count_include_pad=1, **_window(p.window))
    taps, divisor = float(np.prod(p.window.kernel)), counts(p)
    return y if np.all(divisor == taps) else e.node("Mul", y, e.store(taps / divisor))


def _pool_adjoint(e: Emitter, p: Pool, s: str) -> str:
    w, divisor = p.window, counts(p)
    uniform = np.all(divisor == divisor.flat[0])
    s = e.node("Mul", s, e.store(1.0 / (divisor.flat[0] if uniform else divisor)))
    channels = p.source[0]
    ones = e.store(np.ones((channels, 1, *w.kernel)))
    conv = Conv((channels, *w.source), (channels, *w.target), w, channels)
    return _conv_adjoint(e, conv, s, ones)


def _sum(e: Emitter, p: Sum, x: str) -> str:
    axes = [1 + a for a in p.axes]
    if p.target == p.kept:
        return e.node("ReduceSum", x, e.ints(*axes), keepdims=1)
    return e.node("ReduceSum", x, e.ints(*axes), keepdims=0)


def _sum_adjoint(e: Emitter, p: Sum, s: str) -> str:
    if p.target != p.kept:
        s = e.node("Reshape", s, e.ints(-1, *p.kept))
    return e.node("Expand", s, e.ints(1, *p.source))


def _reshape(shape: tuple[int, ...]) -> Callable[[Emitter, str], str]:
    return lambda e, x: e.node("Reshape", x, e.ints(-1, *shape))


def _permute(e: Emitter, order: Sequence[int], x: str) -> str:
    return e.node("Transpose", x, perm=[0, *(1 + a for a in order)])


def _slice(e: Emitter, p: Slice, x: str) -> str:
    picked = [i for i, box in enumerate(p.slices()) if p.source[i] != p.target[i] or box.step != 1]
    if not picked:
        return e.node("Identity", x)
    boxes = [p.slices()[i] for i in picked]
    starts, steps = [b.start for b in boxes], [b.step for b in boxes]
    ends = [np.iinfo(np.int64).min if b.stop is None else b.stop for b in boxes]
    return e.node("Slice", x, e.ints(*starts), e.ints(*ends), e.ints(*(1 + i for i in picked)), e.ints(*steps))


def _slice_adjoint(e: Emitter, p: Slice, s: str) -> str:
    flipped = [i for i, step in enumerate(p.steps) if step < 0]
    if flipped:
        least, many = np.iinfo(np.int64).min, len(flipped)
        s = e.node("Slice", s, e.ints(*[-1] * many), e.ints(*[least] * many), e.ints(*(1 + i for i in flipped)),
                   e.ints(*[-1] * many))  # fmt: skip
    starts, steps = list(p.starts), [abs(step) for step in p.steps]
    for i in flipped:
        starts[i] = p.starts[i] + p.steps[i] * (p.target[i] - 1)
    if any(step > 1 for step in steps):
        # Zeros between elements: a trailing axis of each strided one is padded, then merged.
        wide = [x for n, step in zip(p.target, steps, strict=True) for x in ((n, 1) if step > 1 else (n,))]
        after = [x for step in steps for x in ((0, step - 1) if step > 1 else (0,))]
        s = e.node("Reshape", s, e.ints(-1, *wide))
        s = e.node("Pad", s, e.ints(*[0] * (1 + len(wide)), 0, *after))
        s = e.node("Reshape", s, e.ints(-1, *(n * step for n, step in zip(p.target, steps, strict=True))))
    have = [n * step for n, step in zip(p.target, steps, strict=True)]
    after = [n - start - h for n, start, h in zip(p.source, starts, have, strict=True)]
    # A negative amount cuts the zeros that stand after the last element.
    return e.node("Pad", s, e.ints(0, *starts, 0, *after))


def select(e: Emitter, step: Instruction, x: str, selector: str, targets: bool) -> str:
    """Max-pool routing: the winners' places are found again by MaxPool, whose ties go to the first index."""
    p = step.what
    assert isinstance(p, Select)
    window: dict[str, Any] = _window(p.window)
    if _overhangs(p.window):
        window |= {"pads": [*p.window.before, *p.window.explicit], "ceil_mode": 1}
    pooled = e.nodes("MaxPool", (selector,), 2, **window)
    lead = (e.program.targets or 1,) if targets else ()
    if step.kind == "linear":
        flat = e.node("Reshape", x, e.ints(*lead, -1))
        places = e.node("Reshape", pooled[1], e.ints(-1))
        y = e.node("Gather", flat, places, axis=len(lead))
        return e.node("Reshape", y, e.ints(*lead, -1, *p.target))
    if not (lead or p.window.overlaps or any(p.window.before) or _overhangs(p.window)):
        shape = e.node("Shape", selector)
        return e.node("MaxUnpool", x, pooled[1], shape, kernel_shape=list(p.window.kernel),
                      strides=list(p.window.strides), pads=_pads(p.window))  # fmt: skip
    size = e.node("Size", selector)
    flat = e.node("Reshape", x, e.ints(*lead, -1))
    places = e.node("Reshape", pooled[1], e.ints(*[1] * len(lead), -1))
    shape = e.node("Reshape", size, e.ints(1))
    if lead:
        shape = e.node("Concat", e.ints(*lead), shape, axis=0)
        places = e.node("Expand", places, e.ints(*lead, 1))
    zeros = e.node("ConstantOfShape", shape, value=numpy_helper.from_array(np.zeros(1, np.float32)))
    y = e.node("ScatterElements", zeros, places, flat, axis=len(lead), reduction="add")
    return e.node("Reshape", y, e.ints(*lead, -1, *p.source))


LINEAR: dict[str, Callable[..., str]] = {
    "Conv": _conv,
    "Matmul": _matmul,
    "Pool": _pool,
    "Sum": _sum,
    "Reshape": lambda e, p, x: _reshape(p.target)(e, x),
    "Permute": lambda e, p, x: _permute(e, p.order, x),
    "Slice": _slice,
}

ADJOINT: dict[str, Callable[..., str]] = {
    "Conv": _conv_adjoint,
    "Matmul": _matmul_adjoint,
    "Pool": _pool_adjoint,
    "Sum": _sum_adjoint,
    "Reshape": lambda e, p, s: _reshape(p.source)(e, s),
    "Permute": lambda e, p, s: _permute(e, np.argsort(p.order).tolist(), s),
    "Slice": _slice_adjoint,
}
