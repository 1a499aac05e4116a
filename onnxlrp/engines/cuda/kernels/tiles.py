"""Tiles of matrix products on tensor cores, and the choice of tile and split-K by the shape of a product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ....errors import UsageError, did_you_mean

Precision = Literal["exact", "fast"]  # 3xTF32, whose errors are float32's; TF32
PRECISIONS: tuple[Precision, ...] = ("exact", "fast")


def precision_of(name: str | None) -> Precision:
    """Return a precision by its name.

    Args:
        name: "exact", "fast", or None for "exact".

    Raises:
        UsageError: There is no such precision.
    """
    for known in PRECISIONS:
        if name in (None, known):
            return known
    raise UsageError(f'there is no precision "{name}"', did_you_mean(name or "", PRECISIONS))


STEP = 16  # channels of one step of a sum
PROCESSORS = 132  # multiprocessors of an H100 or H200, which a grid should fill


@dataclass(frozen=True)
class WarpTile:
    """Division of a tile among warps, at one precision.

    Args:
        rows: Channels of a warp.
        pixels: Pixels of a warp.
        resident: Blocks that fit on a multiprocessor.
        cost: Cycles of a multiprocessor for one step of a block when so many are resident, without memory.
    """

    rows: int
    pixels: int
    resident: int
    cost: int


@dataclass(frozen=True)
class Tile:
    """Two instances of the kernel, one for each precision.

    Args:
        rows: Channels of a block.
        pixels: Pixels of a block.
        stages: Steps whose operands are in shared memory at once.
        exact: Warps of the instance in 3xTF32.
        fast: Warps of the instance in TF32.
    """

    rows: int
    pixels: int
    stages: int
    exact: WarpTile
    fast: WarpTile

    def warp(self, precision: Precision) -> WarpTile:
        """Return the division among warps at a precision."""
        return self.exact if precision == "exact" else self.fast

    def name(self, precision: Precision) -> str:
        """Return the name of the kernel that stores its sums."""
        return f"gemm_{precision}_{self.rows}x{self.pixels}"

    def threads(self, precision: Precision) -> int:
        """Return the threads of a block."""
        warp = self.warp(precision)
        return self.rows // warp.rows * (self.pixels // warp.pixels) * 32

    @property
    def shared(self) -> int:
        """Bytes of dynamic shared memory of a block."""
        return 4 * self.stages * STEP * (self.rows + self.pixels + 8)

    def template(self, precision: Precision) -> str:
        """Return the template arguments of the kernel (gemm.cuh): tile, warp, stages, and whether it is exact."""
        warp = self.warp(precision)
        exact = "true" if precision == "exact" else "false"
        return f"{self.rows}, {self.pixels}, {warp.rows}, {warp.pixels}, {self.stages}, {exact}"


# The costs are counted, not measured: benchmarks/tile_costs.py takes them from the instructions of the compiled loops.
TILES = (
    Tile(128, 128, 3, WarpTile(64, 32, 1, 1240), WarpTile(64, 64, 2, 410)),
    Tile(128, 64, 3, WarpTile(64, 32, 2, 620), WarpTile(64, 32, 3, 310)),
    Tile(64, 128, 3, WarpTile(64, 32, 2, 620), WarpTile(64, 32, 3, 310)),
    Tile(64, 64, 4, WarpTile(32, 32, 4, 360), WarpTile(32, 32, 4, 220)),
    Tile(32, 128, 3, WarpTile(32, 32, 4, 370), WarpTile(32, 32, 4, 230)),
    Tile(64, 32, 4, WarpTile(32, 16, 5, 250), WarpTile(32, 16, 5, 170)),
)


def instances() -> str:
    """Return the lines of csrc/kernels/gemm_instances.cuh that instantiate TILES; a test compares them."""
    made = []
    for precision in PRECISIONS:
        for tile in TILES:
            resident = tile.warp(precision).resident
            made.append(f"GEMM({tile.name(precision)}, {resident}, {tile.template(precision)})\n")
    return "".join(made)


SPLITS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
MIN_STEPS = 4  # of a split that is worth its block
# Estimates, in cycles: a step's latency where a block is alone on its multiprocessor; begin and end of a block; launch.
WAIT, FILLING, LAUNCH = 150, 2000, 3000
# Estimates, in bytes a cycle: of device memory, and of the L2 cache (5.5 TB/s at 1.7 GHz).
BYTES, CACHED = 2500, 3200


@dataclass(frozen=True)
class GemmProblem:
    """The shape of a convolution as a matrix product y[rows, pixels].

    Args:
        rows: Channels of the result.
        pixels: Pixels of the result, of all samples and of the largest phase.
        steps: Steps of a sum, the mean over phases; each has 16 channels at one tap.
        taps: The most taps of a phase.
        phases: Number of phases, each with pixels of its own.
        precision: Of the products.
    """

    rows: int
    pixels: int
    steps: int
    taps: int = 1
    phases: int = 1
    precision: Precision = "exact"


@dataclass(frozen=True)
class Tiling:
    """Division of a product among blocks.

    Args:
        tile: The tile of a block.
        splits: Number of parts into which sums are split (split-K).
    """

    tile: Tile
    splits: int

    def blocks(self, product: GemmProblem) -> int:
        """Return the number of blocks."""
        tiles = -(-product.rows // self.tile.rows) * -(-product.pixels // self.tile.pixels)
        return tiles * product.phases * self.splits

    def cycles(self, product: GemmProblem, reduced: bool = True) -> float:
        """Estimate the time of a product: waves of blocks times the steps of each.

        A step waits for the L2 cache or for the multiprocessor; pixels that the taps of a channel share are read once.

        Args:
            product: The product.
            reduced: Include the launch that adds up splits.

        Returns:
            Cycles.
        """
        tile, warp, splits = self.tile, self.tile.warp(product.precision), self.splits
        copied = 4 * STEP * (tile.rows + tile.pixels / max(product.taps, 1))
        cost = max(warp.cost, copied * PROCESSORS / CACHED)
        full, last = divmod(self.blocks(product), PROCESSORS * warp.resident)
        waves = [warp.resident] * full + [-(-last // PROCESSORS)] * (last > 0)
        step = sum(max(blocks * cost, warp.cost + WAIT) for blocks in waves)
        sums = step * -(-product.steps // splits) + FILLING * (1 + (len(waves) - 1) / warp.resident)
        if splits == 1 or not reduced:
            return sums
        return sums + LAUNCH + 4 * (2 * splits + 1) * product.rows * product.pixels * product.phases / BYTES


def choose_tiling(product: GemmProblem) -> Tiling:
    """Return the tiling of a product that takes the fewest cycles."""
    possible = [s for s in SPLITS if s == 1 or product.steps >= s * MIN_STEPS]
    choices = (Tiling(tile, splits) for tile in TILES for splits in possible)
    return min(choices, key=lambda one: (one.cycles(product), one.blocks(product)))
