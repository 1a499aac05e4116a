"""How a product on tensor cores is divided: tiles, and shares of the sum, chosen by shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ....errors import UsageError, did_you_mean

Precision = Literal["exact", "fast"]  # 3xTF32, whose errors are float32's; TF32
PRECISIONS: tuple[Precision, ...] = ("exact", "fast")


def precision_of(name: str | None) -> Precision:
    """A precision by its name; "exact" if none is given. Raises UsageError."""
    for known in PRECISIONS:
        if name in (None, known):
            return known
    raise UsageError(f'there is no precision "{name}"', did_you_mean(name or "", PRECISIONS))


STEP = 16  # channels of one step of a sum
PROCESSORS = 132  # of an H100 or H200: what a grid should fill


@dataclass(frozen=True)
class Warp:
    """How an instance divides its tile: channels x pixels of a warp.

    `resident` blocks fit a multiprocessor; `cost` is that of a step when so many do, in its cycles, memory apart.
    """

    rows: int
    pixels: int
    resident: int
    cost: int


@dataclass(frozen=True)
class Tile:
    """Two instances of the kernel, one for each precision: channels x pixels of a block, stages."""

    rows: int
    pixels: int
    stages: int
    exact: Warp
    fast: Warp

    def warp(self, precision: Precision) -> Warp:
        """That of an instance."""
        return self.exact if precision == "exact" else self.fast

    def name(self, precision: Precision) -> str:
        """The kernel that stores its sums."""
        return f"gemm_{precision}_{self.rows}x{self.pixels}"

    def threads(self, precision: Precision) -> int:
        """Of a block."""
        warp = self.warp(precision)
        return self.rows // warp.rows * (self.pixels // warp.pixels) * 32

    @property
    def shared(self) -> int:
        """Bytes of dynamic shared memory."""
        return 4 * self.stages * STEP * (self.rows + self.pixels + 8)


# As csrc/kernels/gemm_instances.cuh instantiates them. The costs are counted, not measured: benchmarks/tile_costs.py
# takes them from the instructions of the compiled loops.
TILES = (
    Tile(128, 128, 3, Warp(64, 32, 1, 1240), Warp(64, 64, 2, 410)),
    Tile(128, 64, 3, Warp(64, 32, 2, 620), Warp(64, 32, 3, 310)),
    Tile(64, 128, 3, Warp(64, 32, 2, 620), Warp(64, 32, 3, 310)),
    Tile(64, 64, 4, Warp(32, 32, 4, 360), Warp(32, 32, 4, 220)),
    Tile(32, 128, 3, Warp(32, 32, 4, 370), Warp(32, 32, 4, 230)),
    Tile(64, 32, 4, Warp(32, 16, 5, 250), Warp(32, 16, 5, 170)),
)
SHARES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
LEAST = 4  # steps that are worth a block
# In cycles, estimates as well: what a step waits when its block is alone on its multiprocessor; what a block takes to
# begin and to end; another launch; and the bytes that memory moves in one, and the L2 cache (5.5 TB/s at 1.7 GHz).
WAIT, FILLING, LAUNCH, BYTES, CACHED = 150, 2000, 3000, 2500, 3200


@dataclass(frozen=True)
class Product:
    """y[rows, pixels] as sums of `steps` steps, up to `taps` of each channel, in phases of their own pixels.

    Where phases have more and fewer steps, these are the mean.
    """

    rows: int
    pixels: int
    steps: int
    taps: int = 1
    phases: int = 1
    precision: Precision = "exact"


@dataclass(frozen=True)
class Choice:
    """How one product is divided: its tile, and into how many shares the sum."""

    tile: Tile
    shares: int

    def blocks(self, product: Product) -> int:
        """Of its grid."""
        tiles = -(-product.rows // self.tile.rows) * -(-product.pixels // self.tile.pixels)
        return tiles * product.phases * self.shares

    def cycles(self, product: Product, reduced: bool = True) -> float:
        """An estimate: waves of blocks, the steps of each, and if `reduced`, the launch that adds up shares.

        Blocks wait for the L2 cache or for their multiprocessor; what the taps of a channel share is read once.
        """
        tile, warp, shares = self.tile, self.tile.warp(product.precision), self.shares
        copied = 4 * STEP * (tile.rows + tile.pixels / max(product.taps, 1))
        cost = max(warp.cost, copied * PROCESSORS / CACHED)
        full, last = divmod(self.blocks(product), PROCESSORS * warp.resident)
        waves = [warp.resident] * full + [-(-last // PROCESSORS)] * (last > 0)
        step = sum(max(blocks * cost, warp.cost + WAIT) for blocks in waves)
        sums = step * -(-product.steps // shares) + FILLING * (1 + (len(waves) - 1) / warp.resident)
        if shares == 1 or not reduced:
            return sums
        return sums + LAUNCH + 4 * (2 * shares + 1) * product.rows * product.pixels * product.phases / BYTES


def choose(product: Product) -> Choice:
    """The tile and the shares that take the fewest cycles."""
    wanted = [s for s in SHARES if s == 1 or product.steps >= s * LEAST]
    choices = (Choice(tile, shares) for tile in TILES for shares in wanted)
    return min(choices, key=lambda one: (one.cycles(product), one.blocks(product)))
