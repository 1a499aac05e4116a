"""Rewrites: cheaper equal forms of the expressions that rules write, from the facts that values carry.

Each is one of REWRITES and can be switched off; the results stay the same up to rounding. `a` is an activation behind
its ReLU, `z` the pre-activation, `r` and `s` are relevance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .linear import Conv, LinearMap, Matmul, Select, Slice
from .value import Value

if TYPE_CHECKING:
    from .tape import Tape

REWRITES = frozenset({"reuse", "gated", "zero", "fold", "cse", "summand", "factor", "route", "slice"})


def simplify(trace: Tape, op: str, values: tuple[Value, ...]) -> Value | None:
    """Return an elementwise map without terms and factors known to be zero or one ("zero"); None if it has none."""
    a = values[0]
    b = values[1] if len(values) > 1 else a
    shape = np.broadcast_shapes(*(v.shape for v in values))
    if op in ("add", "sub") and b.is_zero and a.shape == shape:
        return a
    if op == "add" and a.is_zero and b.shape == shape:
        return b
    if op == "sub" and a.is_zero and b.shape == shape:
        return -b
    if (op in ("mul", "div") and a.is_zero) or (op == "mul" and b.is_zero):
        return trace.zeros(shape)
    if op == "mul":
        for r, ones in ((a, b), (b, a)):
            if trace.uniform(ones) == 1 and len(r.shape) == len(shape):
                return trace.broadcast_to(r, shape)
        for r, mask in ((a, b), (b, a)):
            unmasked = _masked(trace, r, mask)
            if unmasked is not None and "gated" in trace.rewrites:
                return unmasked
            routed = _masked_before(trace, r, mask) if "route" in trace.rewrites else None
            if routed is not None:
                return routed
    if op == "max" and b.is_zero and a.shape == shape:
        return a if a.nonnegative else trace.zeros(shape) if a.nonpositive else None
    if op == "min" and b.is_zero and a.shape == shape:
        return trace.zeros(shape) if a.nonnegative else a if a.nonpositive else None
    if op == "greater" and ((a.is_zero and b.nonnegative) or (b.is_zero and a.nonpositive) or (a is b)):
        return trace.zeros(shape)
    if op == "neg" and a.is_zero:
        return a
    return None


def _masked(trace: Tape, r: Value, mask: Value) -> Value | None:
    """Return r for r·[a > 0], and 0 for r·[z < 0], where r is zero wherever a is; else None."""
    step = trace.steps[mask.index]
    if step.op != "greater":
        return None
    left, right = (trace.values[i] for i in step.inputs)
    if right.is_zero and left.index in r.gates and left.nonnegative:
        return r
    a = trace.clipped.get(right.index)
    if left.is_zero and a is not None and a.index in r.gates:
        return trace.zeros(r.shape)
    return None


def _masked_before(trace: Tape, r: Value, mask: Value) -> Value | None:
    """Return Sᵀ(s·[y > 0]) for r·[x > 0], r = Sᵀ(s), and the same for a part of both; else None ("route").

    S selects the largest elements of x, y = S x: what wins is positive exactly where the result is. There are fewer
    results than elements.
    """
    step, own = trace.steps[r.index], trace.steps[mask.index]
    if own.op != "greater" or not trace.values[own.inputs[1]].is_zero:
        return None
    part = step.what if isinstance(step.what, Slice) and step.kind == "linear" else None
    inner = trace.steps[step.inputs[0]] if part is not None else step
    if not isinstance(inner.what, Select) or inner.kind != "adjoint":
        return None
    s, x = (trace.values[i] for i in inner.inputs)
    y = trace.find_linear(inner.what, x, x, None)
    compared = x if part is None else trace.find_linear(part, x, None, None)
    if y is None or compared is None or compared.index != own.inputs[0]:
        return None
    routed = trace.adjoint(inner.what, s * (y > 0), x)
    return routed if part is None else trace.linear(part, routed)


def part_of_adjoint(trace: Tape, linear: LinearMap, x: Value) -> Value | None:
    """Return channels of Wᵀs by the filters of these channels alone; None where x is nothing of the kind ("slice").

    x is Wᵀs of a convolution, or its product with a tensor whose channels the forward pass has by themselves, as those
    of a concatenation.
    """
    channels = _channels(linear)
    if channels is None:
        return None
    step = trace.steps[x.index]
    if step.op == "mul":
        for own, other in (step.inputs, step.inputs[::-1]):
            a, r = trace.values[own], trace.values[other]
            known = trace.find_linear(linear, a, None, None) if a.shape == r.shape else None
            if known is not None and (part := part_of_adjoint(trace, linear, r)) is not None:
                return known * part
    conv = step.what
    if step.kind != "adjoint" or not isinstance(conv, Conv) or conv.group > 1:
        return None
    s, weight = (trace.values[i] for i in step.inputs)
    if not weight.constant or weight.shape[1] != conv.source[0]:
        return None
    filters = Slice(weight.shape, (weight.shape[0], len(channels), *weight.shape[2:]),
                    (0, channels.start, *[0] * len(conv.window.kernel)), (1,) * len(weight.shape))  # fmt: skip
    narrow = Conv((len(channels), *conv.source[1:]), conv.target, conv.window)
    part = trace.adjoint(narrow, s, trace.linear(filters, weight))
    return trace.with_gates(part, trace.forward_gates(linear, x))


def _channels(linear: LinearMap) -> range | None:
    """Return the channels that a slice along the first axis alone takes, else None."""
    if not isinstance(linear, Slice) or linear.source[1:] != linear.target[1:] or any(n != 1 for n in linear.steps):
        return None
    if any(linear.starts[1:]) or linear.target == linear.source:
        return None
    return range(linear.starts[0], linear.starts[0] + linear.target[0])


def without_summands(trace: Tape, values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return the factors of a·s as (y - b)·s where y = relu(a + b) and s is zero wherever y is ("summand")."""
    for own, other in ((0, 1), (1, 0)):
        y, b = trace.summands.get(values[own].index, (None, None))
        if y is not None and b is not None and y.index in values[other].gates:
            return (y - b, values[other])
    return values


def common_factor(trace: Tape, left: Value, right: Value) -> Value | None:
    """Return x·(p + q) for x·p + x·q ("factor"), one pass fewer, and p + q can be fused with what computes q."""
    a, b = trace.steps[left.index], trace.steps[right.index]
    if not a.op == b.op == "mul" or left.shape != right.shape:
        return None
    for n, m in ((0, 0), (0, 1), (1, 0), (1, 1)):
        if a.inputs[n] == b.inputs[m] and trace.values[a.inputs[n]].shape == left.shape:
            p, q = trace.values[a.inputs[1 - n]], trace.values[b.inputs[1 - m]]
            one, other = trace.uniform(p), trace.uniform(q)
            if one is not None and other is not None:  # halves of a mean are a factor of 1, which is none
                total = np.broadcast_to(np.asarray(one + other), np.broadcast_shapes(p.shape, q.shape))
                return trace.values[a.inputs[n]] * trace.constant(total)
            return trace.values[a.inputs[n]] * (p + q)
    return None


def total_of_product(trace: Tape, value: Value) -> Value | None:
    """Return Σ k·x as Σ k·(Σ x over positions), k a constant for each channel, or for all ("factor").

    The inner sum is the same for the bias and the ε of a layer, so that both take one pass. None for other values.
    """
    step = trace.steps[value.index]
    if step.op != "mul" or len(value.shape) < 2:
        return None
    for own, other in (step.inputs, step.inputs[::-1]):
        x, k = trace.values[own], trace.values[other]
        axes = range(len(x.shape))
        of_channels = k.constant and all(n == 1 for n in k.shape[1 - len(x.shape) :])
        if of_channels and not x.constant and x.shape == value.shape:
            channels = (x.shape[0], *[1] * len(axes[1:]))
            return trace.sum_over(trace.sum_over(x, axes[1:], channels) * k, axes, ())
    return None


def compare_activation(trace: Tape, values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return the operands of z > 0 as those of a > 0, a = relu(z), so that the pre-activation is not read ("gated")."""
    left, right = values
    return (trace.clipped.get(left.index, left) if right.is_zero else left, right)


def under_gate(trace: Tape, value: Value, gates: frozenset[int]) -> Value:
    """Return the denominator D of R / D with z read as a = relu(z) in its elementwise part ("gated").

    It requires that R is zero wherever a is: `gates` are those of R.
    """
    if value.index in trace.rectified:
        a = trace.rectified[value.index]
        return a if a.index in gates else value
    step = trace.steps[value.index]
    if step.kind != "map" or value.constant or step.op == "where":
        return value
    old = tuple(trace.values[i] for i in step.inputs)
    new = tuple(under_gate(trace, v, gates) for v in old)
    if all(a is b for a, b in zip(old, new, strict=True)):
        return value
    return trace.map(step.op, *new, parameter=step.parameter)


def stabilize_by_sign(trace: Tape, z: Value, epsilon: float) -> Value:
    """Return stabilize(z) as z ± ε where the sign of z is known, ε in the bias of what computes z ("fold")."""
    if z.nonnegative and "fold" in trace.rewrites:
        return _plus_constant(trace, z, epsilon) or z + epsilon
    if z.nonpositive and "fold" in trace.rewrites:
        # At z = 0 every term of a sum of nonpositive terms is 0, so that the sign of ε there is free.
        return _minus_constant(trace, z, epsilon) or z - epsilon
    return trace.append_map("stabilize", (z,), epsilon)


def _minus_constant(trace: Tape, z: Value, epsilon: float) -> Value | None:
    """Return z - ε without a pass of its own, by min(v - w, 0) - ε = min(v - (w + ε), -ε); else None."""
    step = trace.steps[z.index]
    if step.op != "min" or step.constant or not trace.values[step.inputs[1]].is_zero:
        return None
    inner = trace.steps[step.inputs[0]]
    if inner.op != "sub":
        return None
    left, right = (trace.values[i] for i in inner.inputs)
    raised = _plus_constant(trace, right, epsilon)
    return None if raised is None else trace.map("min", left - raised, -epsilon)


def _plus_constant(trace: Tape, z: Value, epsilon: float) -> Value | None:
    """Return z + ε without a pass of its own, ε added to a bias; None where z has none."""
    step = trace.steps[z.index]
    if step.constant:
        return None
    operands = tuple(trace.values[i] for i in step.inputs)
    if step.op == "add":
        for n, v in enumerate(operands):
            raised = _plus_constant(trace, v, epsilon)
            if raised is not None:
                return raised + operands[1 - n]
    if step.op == "max" and operands[1].is_zero:
        raised = _plus_constant(trace, operands[0], epsilon)
        if raised is not None:
            return trace.map("max", raised, epsilon)
    if step.kind == "linear" and isinstance(step.what, Conv | Matmul):
        linear = step.what
        width = (linear.target[0],) if isinstance(linear, Conv) else linear.target[-1:]
        bias = operands[2] + epsilon if step.biased else trace.constant(np.full(width, epsilon))
        return trace.linear(linear, operands[0], operands[1], bias)
    return None
