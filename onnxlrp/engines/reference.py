"""The definition: numpy in float64, with onnx's own reference evaluator for the forward pass. Slow and obvious."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..program.interpret import run_linear, run_map
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
        evaluator = ReferenceEvaluator(forward.model(np.float64, wanted))
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
