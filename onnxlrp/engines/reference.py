"""Reference engine: numpy in float64, and onnx's reference evaluator for the forward pass; slow and simple."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..program.interpret import ADJOINT, LINEAR, counts, run_linear, run_loop, run_map
from ..program.linear import Conv, Pool, Select, Shape, Window
from ..program.maps import MAPS
from ..program.program import Activation, Array, Constant, Program, Seed
from . import Forward, Run, engine, seed_values
from .recurrent_operators import recurrent_operators


@engine("reference", order=0)
class Reference:
    """The definition, in numpy and float64, with which the other engines are compared: slow."""

    name: str

    def prepare(self, forward: Forward, program: Program) -> Run:
        """Return a function from inputs to the program's outputs, all in float64."""
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(forward.model(np.float64, program.tensors), new_ops=_operators())
        names = evaluator.output_names

        @np.errstate(all="ignore")  # what is not finite is refused by the model, in words
        def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
            feeds = {name: _double(inputs[name]) for name in forward.inputs}
            activations = dict(zip(names, _evaluated(evaluator, names, feeds), strict=True))
            values: list[Array] = []
            for step in program.instructions:
                if step.kind == "read":
                    if isinstance(step.what, Activation):
                        values.append(_double(activations[step.what.tensor]))
                    elif isinstance(step.what, Constant):
                        values.append(_double(step.what.array))
                    else:
                        assert isinstance(step.what, Seed)
                        scores = activations[step.what.tensor] if step.what.mode == "top" else None
                        values.append(seed_values(step, inputs, np.float64, scores))
                else:
                    run_step = _RUN[step.kind]
                    values.append(run_step(step, [values[i] for i in step.inputs]))
            return {name: values[i] for name, i in program.outputs.items()}

        return run


_RUN = {"map": run_map, "linear": run_linear, "adjoint": run_linear, "loop": run_loop}


def _evaluated(evaluator: Any, names: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
    """Run onnx's evaluator. Raises UnsupportedError where it fails, with what it says."""
    try:
        return list(evaluator.run(list(names), dict(feeds)))
    except Exception as error:  # it raises anything from IndexError to ZeroDivisionError
        raise UnsupportedError(
            f"onnx's reference evaluator fails: {type(error).__name__}: {str(error)[:200]}",
            "try --engine ort, which may say more",
        ) from error


def _double(array: Array) -> Array:
    return np.asarray(array, np.float64) if np.issubdtype(np.asarray(array).dtype, np.floating) else np.asarray(array)


def _operators() -> list[Any]:
    """Return operators that replace slow, wrong or missing ones of onnx's evaluator (1.23).

    Its poolings are slow, take the pads of stride 1 in the wrong order, and LpPool ignores dilations; GlobalMaxPool
    reduces the wrong axes unless there are two; Erf, and Gelu with it, has single precision; GatherElements takes no
    axis that is counted from the end; LRN normalises over the batch axis; LpNormalization sums x where p is 1, not |x|;
    MeanVarianceNormalization adds a float32 to doubles; ConvTranspose writes one channel of each group; SVMClassifier
    couples the probabilities of more than two classes by a matrix product where the formula has one of elements.
    """
    from onnx.reference.op_run import OpRun
    from onnx.reference.ops.aionnxml.op_svm_classifier import SVMClassifier as TheirSVMClassifier

    class MaxPool(OpRun):
        op_domain = ""

        def _run(self, x: Array, **attributes: Any) -> tuple[Array]:
            window = _window(x.shape[2:], attributes)
            select = Select(x.shape[1:], (x.shape[1], *window.target), window)
            wide = x.astype(np.float64)  # integers have no -inf, the padding
            return (LINEAR["Select"](select, wide, wide).astype(x.dtype),)

    class AveragePool(OpRun):
        op_domain = ""

        def _run(self, x: Array, **attributes: Any) -> tuple[Array]:
            window = _window(x.shape[2:], attributes)
            pool = Pool(x.shape[1:], (x.shape[1], *window.target), window, bool(attributes["count_include_pad"]))
            return (LINEAR["Pool"](pool, x),)

    class ConvTranspose(OpRun):
        op_domain = ""

        def _run(self, x: Array, weight: Array, bias: Array | None = None, **attributes: Any) -> tuple[Array]:
            window, group = _transposed_window(x.shape[2:], attributes), int(attributes["group"])
            conv = Conv((weight.shape[1] * group, *window.source), x.shape[1:], window, group)
            y = ADJOINT["Conv"](conv, x, weight)
            return (y if bias is None else y + bias.reshape(-1, *([1] * len(window.kernel))),)

    class LpPool(OpRun):
        op_domain = ""

        def _run(self, x: Array, **attributes: Any) -> tuple[Array]:
            window, p = _window(x.shape[2:], attributes), attributes["p"]
            pool = Pool(x.shape[1:], (x.shape[1], *window.target), window, count_padding=True)
            return ((LINEAR["Pool"](pool, np.abs(x) ** p) * counts(pool)) ** (1 / p),)

    class GlobalLpPool(OpRun):
        op_domain = ""

        def _run(self, x: Array, p: int) -> tuple[Array]:
            return ((np.abs(x) ** p).sum(axis=tuple(range(2, x.ndim)), keepdims=True) ** (1 / p),)

    class GlobalMaxPool(OpRun):
        op_domain = ""

        def _run(self, x: Array) -> tuple[Array]:
            return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)

    class Erf(OpRun):
        op_domain = ""

        def _run(self, x: Array) -> tuple[Array]:
            return (np.asarray(MAPS["erf"].run(x)),)

    class Gelu(OpRun):
        op_domain = ""

        def _run(self, x: Array, approximate: str) -> tuple[Array]:
            if approximate == "tanh":
                return (x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),)
            return (x / 2 * (1 + MAPS["erf"].run(x / math.sqrt(2))),)

    class GatherElements(OpRun):
        op_domain = ""

        def _run(self, x: Array, indices: Array, axis: int) -> tuple[Array]:
            places: list[Array] = list(np.indices(indices.shape))
            places[axis] = indices
            return (x[tuple(places)],)

    class LpNormalization(OpRun):
        op_domain = ""

        def _run(self, x: Array, axis: int, p: int) -> tuple[Array]:
            length = (np.abs(x) ** p).sum(axis=axis, keepdims=True) ** (1 / p)
            return (np.divide(x, length, out=np.zeros_like(x), where=length != 0),)

    class MeanVarianceNormalization(OpRun):
        op_domain = ""

        def _run(self, x: Array, axes: Sequence[int]) -> tuple[Array]:
            mean, deviation = (f(x, axis=tuple(axes), keepdims=True) for f in (np.mean, np.std))
            return ((x - mean) / (deviation + 1e-9),)

    class LRN(OpRun):
        op_domain = ""

        def _run(self, x: Array, alpha: float, beta: float, bias: float, size: int) -> tuple[Array]:
            channels, before, after = x.shape[1], (size - 1) // 2, size // 2
            squares = np.pad(x**2, [(0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)])
            around = sum(squares[:, n : n + channels] for n in range(size))
            return (x / (bias + alpha / size * around) ** beta,)

    class SVMClassifier(TheirSVMClassifier):
        op_domain = "ai.onnx.ml"

        def _probabilities(self, scores: Array, classes: int) -> Array:
            stated: Any = self._svm.atts
            r = np.zeros((classes, classes))
            for n, (i, j) in enumerate(zip(*np.triu_indices(classes, 1), strict=True)):
                share = 1 / (1 + np.exp(scores[n] * stated.prob_a[n] + stated.prob_b[n]))
                r[i, j] = np.clip(share, 1e-7, 1 - 1e-7)
                r[j, i] = 1 - r[i, j]
            return _coupled(r)

    return [
        SVMClassifier,
        ConvTranspose,
        MaxPool,
        AveragePool,
        LpPool,
        GlobalLpPool,
        GlobalMaxPool,
        GatherElements,
        Erf,
        Gelu,
        LpNormalization,
        MeanVarianceNormalization,
        LRN,
        *recurrent_operators(),
    ]


def _coupled(r: Array) -> Array:
    """The probabilities p [C] that pairwise ones r [C, C] agree with best: pᵀQp is least, Σp = 1 (Wu et al. 2004).

    Stopped as libsvm and onnxruntime do, at a precision of .005 / C.
    """
    classes = len(r)
    q = -r.T * r
    np.fill_diagonal(q, (r**2).sum(axis=0) - np.diag(r) ** 2)
    p = np.full(classes, 1 / classes)
    for _ in range(max(100, classes)):
        slopes = q @ p
        value = p @ slopes
        if np.abs(slopes - value).max() < 0.005 / classes:
            break
        for t in range(classes):
            step = (value - slopes[t]) / q[t, t]
            value = (value + step * (step * q[t, t] + 2 * slopes[t])) / (1 + step) ** 2
            slopes = (slopes + step * q[t]) / (1 + step)
            p[t] += step
            p /= 1 + step
    return p


def _transposed_window(target: Shape, attributes: Mapping[str, Any]) -> Window:
    kernel, d = tuple(attributes["kernel_shape"]), len(target)
    strides, dilations = (tuple(attributes[name] or (1,) * d) for name in ("strides", "dilations"))
    pads, extra = tuple(attributes["pads"] or (0,) * (2 * d)), tuple(attributes["output_padding"] or (0,) * d)
    source = tuple(
        s * (t - 1) + e + dilation * (k - 1) + 1 - b - a
        for t, s, e, dilation, k, b, a in zip(
            target, strides, extra, dilations, kernel, pads[:d], pads[d:], strict=True
        )
    )
    return Window(kernel, strides, dilations, pads[:d], pads[d:], source, target)


def _window(source: Shape, attributes: Mapping[str, Any]) -> Window:
    kernel, ceil = tuple(attributes["kernel_shape"]), attributes["ceil_mode"]
    d = len(kernel)
    strides, dilations = (tuple(attributes[name] or (1,) * d) for name in ("strides", "dilations"))
    pads = tuple(attributes["pads"] or (0,) * (2 * d))
    target = []
    for n, k, s, dilation, b, a in zip(source, kernel, strides, dilations, pads[:d], pads[d:], strict=True):
        room = n + b + a - dilation * (k - 1) - 1
        count = (math.ceil if ceil else math.floor)(room / s) + 1
        # A window that ceil_mode adds must not start in the padding at the end.
        target.append(count - 1 if ceil and (count - 1) * s >= n + b else count)
    return Window(kernel, strides, dilations, pads[:d], pads[d:], source, tuple(target))
