"""Several maps of each sample on axis 0, as video models and bags of patches have them: any batch size."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from support.arrays import one_output
from support.tiny_models import batch_norm, model, node, norm, values

I64 = np.int64
MAPS = {"fold": np.array([-1, 4, 9, 8], I64), "w": values(4, 4, 3, 2), "grouped": values(6, 2, 3, 3), "bias": values(6),
        "up": values(4, 3, 2, 2), **norm(4)}  # fmt: skip
LAYERS = {
    "conv": node("Conv", ["f", "w"], ["y"], pads=[0, 2, 1, 0], strides=[2, 1], dilations=[1, 2]),
    "grouped": node("Conv", ["f", "grouped", "bias"], ["y"], group=2, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "same": node("Conv", ["f", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2]),
    "transposed": node("ConvTranspose", ["f", "up"], ["y"], strides=[2, 2], output_padding=[1, 0]),
    "max": node("MaxPool", ["f"], ["y"], kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    "average": node("AveragePool", ["f"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 0, 0], count_include_pad=1),
    "norm": batch_norm("f", "y"),
    "global average": node("GlobalAveragePool", ["f"], ["y"]),
    "global max": node("GlobalMaxPool", ["f"], ["y"]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_over_the_frames_of_each_sample(name: str) -> None:
    layer = LAYERS[name]
    back = node("Reshape", ["y", "back"], ["u"])
    steps = [node("Reshape", ["x", "fold"], ["f"]), layer, back, node("ReduceSum", ["u", "axis"], ["z"], keepdims=0)]
    probe = model([layer], MAPS, (3, 4, 9, 8))
    probe.graph.input[0].name = "f"
    size = one_output(ReferenceEvaluator(probe).run(["y"], {"f": values(3, 4, 9, 8)}))[0].size
    constants = {**MAPS, "back": np.array([-1, 3, size], I64), "axis": np.array([1], I64)}
    source = model(steps, constants, ("N", 3, 4, 9, 8), outputs=["z"])
    graph = load(source)
    assert graph.batch is None
    assert verify(graph, source, batches=(1, 3, 8)) < 1e-5


def test_the_batch_may_lie_behind_the_frames() -> None:
    steps = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2, 3, 4]), node("Reshape", ["t", "fold"], ["f"]),
        node("Conv", ["f", "w"], ["c"]), node("GlobalMaxPool", ["c"], ["y"]),
        node("Reshape", ["y", "back"], ["u"]), node("ReduceSum", ["u", "axis"], ["z"], keepdims=0),
    ]  # fmt: skip
    constants = {**MAPS, "back": np.array([3, -1, 4], I64), "axis": np.array([0], I64)}
    source = model(steps, constants, ("N", 3, 4, 9, 8), outputs=["z"])
    graph = load(source)
    assert graph.batch is None
    assert verify(graph, source, batches=(1, 3, 8)) < 1e-5


def test_what_has_no_form_over_frames_is_refused_by_name() -> None:
    steps = [
        node("Reshape", ["x", "fold"], ["f"]), node("InstanceNormalization", ["f", "s", "b"], ["y"], name="per_map"),
    ]  # fmt: skip
    with pytest.raises(UnsupportedError, match='InstanceNormalization node "per_map"'):
        load(model(steps, MAPS, ("N", 3, 4, 9, 8)))
