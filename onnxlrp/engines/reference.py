"""The definition: numpy in float64, with onnx's own reference evaluator for the forward pass. Slow and obvious."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..program.interpret import LINEAR, run_linear, run_map
from ..program.linear import Pool, Select, Shape, Window
from ..program.program import Activation, Array, Constant, Program
from . import Forward, Run, seed_mask


class Reference:
    """The oracle of the other engines."""

    name = "reference"

    def prepare(self, forward: Forward, program: Program) -> Run:
        """A function from inputs to the program's outputs, all in float64."""
        from onnx.reference import ReferenceEvaluator

        seed = program.seed
        wanted = tuple(dict.fromkeys((*program.reads, *([] if seed is None else [seed.tensor]))))
        evaluator = ReferenceEvaluator(forward.model(np.float64, wanted), new_ops=_poolings())
        names = evaluator.output_names

        def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
            feeds = {name: _double(inputs[name]) for name in forward.inputs}
            activations = dict(zip(names, evaluator.run(list(names), feeds), strict=True))
            values: list[Array] = []
            for step in program.instructions:
                if step.kind == "read":
                    if isinstance(step.what, Activation):
                        values.append(_double(activations[step.what.tensor]))
                    elif isinstance(step.what, Constant):
                        values.append(_double(step.what.array))
                    else:
                        assert seed is not None
                        values.append(seed_mask(program, _double(activations[seed.tensor]), inputs))
                else:
                    run_step = run_map if step.kind == "map" else run_linear
                    values.append(run_step(step, [values[i] for i in step.inputs]))
            return {name: values[i] for name, i in program.outputs.items()}

        return run


def _double(array: Array) -> Array:
    return np.asarray(array, np.float64) if np.issubdtype(np.asarray(array).dtype, np.floating) else np.asarray(array)


def _poolings() -> list[Any]:
    """Poolings for onnx's evaluator, whose own are slow, and (1.23) take the pads of stride 1 in the wrong order."""
    from onnx.reference.op_run import OpRun

    class MaxPool(OpRun):
        op_domain = ""

        def _run(self, x: Array, **attributes: Any) -> tuple[Array]:
            window = _window(x.shape[2:], attributes)
            select = Select(x.shape[1:], (x.shape[1], *window.target), window)
            return (LINEAR["Select"](select, x, x),)

    class AveragePool(OpRun):
        op_domain = ""

        def _run(self, x: Array, **attributes: Any) -> tuple[Array]:
            window = _window(x.shape[2:], attributes)
            pool = Pool(x.shape[1:], (x.shape[1], *window.target), window, bool(attributes["count_include_pad"]))
            return (LINEAR["Pool"](pool, x),)

    return [MaxPool, AveragePool]


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
