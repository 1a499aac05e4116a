"""How a product on tensor cores is divided: tiles, and shares of the sum, chosen by shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...errors import UsageError, did_you_mean

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
class Tile:
    """An instance of the kernel: channels x pixels of a block, channels of a warp (of 32 pixels), stages.

    `resident` blocks fit a multiprocessor; `cost` is that of a step when so many do, against a tile of 64 x 64.
    """

    rows: int
    pixels: int
    warp: int
    stages: int
    resident: int
    cost: float

    def name(self, precision: Precision) -> str:
        """The kernel that stores its sums."""
        return f"gemm_{precision}_{self.rows}x{self.pixels}"

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.rows // self.warp * self.pixels

    @property
    def shared(self) -> int:
        """Bytes of dynamic shared memory."""
        return 4 * self.stages * STEP * (self.rows + self.pixels + 8)


# As csrc/kernels/gemm.cuh instantiates them. Costs are estimates until they are measured: smaller tiles read more for a
# product.
TILES = (
    Tile(128, 128, 32, 3, 1, 3.4),
    Tile(128, 64, 32, 3, 2, 1.8),
    Tile(64, 64, 32, 4, 4, 1.0),
    Tile(32, 128, 32, 3, 4, 1.1),
    Tile(64, 32, 16, 4, 5, 0.65),
)
SHARES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
LEAST = 4  # steps that are worth a block
LATENCY = 1.6  # of a step whose block is alone on its multiprocessor
FILLING = 3  # steps that a block takes to begin and to end


@dataclass(frozen=True)
class Choice:
    """How one product is divided: its tile, and into how many shares the sum."""

    tile: Tile
    shares: int


def choose(rows: int, pixels: int, steps: int, phases: int = 1) -> Choice:
    """The tile and the shares for y[rows, pixels] as sums of `steps` steps, by an estimate of the time.

    In units of a step of 64 x 64 (a tenth of a microsecond): waves of blocks, the steps of each, and with shares
    another launch and the traffic of the workspace.
    """

    def time(choice: Choice) -> tuple[float, int]:
        tile, shares = choice.tile, choice.shares
        count = -(-rows // tile.rows) * -(-pixels // tile.pixels) * phases * shares
        full, last = divmod(count, PROCESSORS * tile.resident)
        step = full * tile.resident * tile.cost
        if last:
            step += max(-(-last // PROCESSORS) * tile.cost, LATENCY)
        sums = step * (-(-steps // shares) + FILLING)
        workspace = 15 + (2 * shares + 1) * phases * rows * pixels / 1e5 if shares > 1 else 0.0
        return sums + workspace, count

    wanted = [s for s in SHARES if s == 1 or steps >= s * LEAST]
    return min((Choice(tile, shares) for tile in TILES for shares in wanted), key=time)
