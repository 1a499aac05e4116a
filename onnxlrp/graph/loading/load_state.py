"""A model on its way from a file to a `Graph`: what the passes of `load` read and change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx

from ..frontend.open_axes import Size
from ..frontend.placeholder import PRIME
from ..frontend.symbolic_sizes import DEFAULT_SIZE, Sizes
from ..graph import Array
from ..reading.read import Read
from ..rewriting.mutable_graph import MutableGraph

# (height, width) that the model's metadata state, or None.
SizeReader = Callable[[Mapping[str, str]], tuple[int, int] | None]


@dataclass
class LoadState:
    """The file, what was asked of `load`, and the model in its present form.

    Attributes:
        file: The parsed file, never changed.
        memory_limit: Bytes that loading may take.
        size: Lengths of the axes that the inputs leave open; None for defaults.
        assumed: The length of open axes that nobody states, other than height and width.
        height: The height of pictures that nobody states.
        read_size: Finds the height and width that the metadata of a model state.
        above: The prime that stands for any batch is larger than this.
        numbers: Values of inputs of shape [], by name.
        only_batch: The one batch that a file runs with which states none; None where it is not known.
        turned: Input → the axis of its batch in the file, where that is not 0: they are read with it in front.
        scalars: The inputs of shape [], with their numbers; None for one that is not given.
        model: The model as ONNX has it, up to the pass that parses it.
        weights: Name → value of the constants that were taken out of `model`.
        paths: Tensor → path of the module that computes it.
        positions: Tensor → position of its node in the file.
        found: What passes say of the model, as entries of its metadata.
        columns: The names of inputs that became the columns of one.
        sizes: The batch that the model runs at while it is loaded, and what was assumed of its inputs.
    """

    file: Read
    memory_limit: int = 1 << 62
    size: Size | None = None
    read_size: SizeReader = lambda metadata: None
    assumed: int = DEFAULT_SIZE
    above: int = PRIME - 1
    numbers: Mapping[str, float] = field(default_factory=dict)
    only_batch: int | None = None
    height: int = DEFAULT_SIZE
    turned: dict[str, int] = field(default_factory=dict)
    scalars: dict[str, float | None] = field(default_factory=dict)
    model: onnx.ModelProto = field(init=False)
    weights: dict[str, Array] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    positions: Mapping[str, int] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    sizes: Sizes | None = None
    parsed: MutableGraph | None = None

    def __post_init__(self) -> None:
        self.model = self.file.model

    @property
    def graph(self) -> MutableGraph:
        """The model as layers, from the pass on that parses it."""
        assert self.parsed is not None, "the model is not parsed yet"
        return self.parsed

    @property
    def batch(self) -> int:
        """The size of the batch axis while the model is loaded."""
        assert self.sizes is not None, "the sizes of the inputs are not fixed yet"
        return self.sizes.batch

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of the file."""
        return {entry.key: entry.value for entry in self.file.model.metadata_props}
