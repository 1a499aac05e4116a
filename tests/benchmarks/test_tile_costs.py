"""benchmarks/tile_costs.py: machine code is read as it is written, and tiles.py has the costs that it found."""

from __future__ import annotations

import json

import pytest
import tile_costs

from onnxlrp.engines.cuda.kernels.tiles import PRECISIONS, TILES
from support.paths import ROOT

BENCHMARKS = ROOT / "benchmarks"

SASS = """
\t\tFunction : gemm_fast_one
        /*0000*/                   LDS.128 R4, [R2] ;                  /* 0x0000 */
        /*0010*/                   ISETP.GE.AND P0, PT, R13, R6, PT ;  /* 0x0000 */
        /*0020*/              @!PT LDS RZ, [RZ] ;                      /* 0x0000 */
        /*0030*/                   LDS.64 R8, [R2+0x10] ;              /* 0x0000 */
        /*0040*/                   HMMA.1688.F32.TF32 R60, R72, R36, R60 ;
        /*0050*/              @!P1 BRA 0x30 ;                          /* 0x0000 */
        /*0060*/              @!P0 BRA 0x10 ;                          /* 0x0000 */
        /*0070*/                   BRA 0x70;                           /* 0x0000 */
\t\tFunction : axpy
        /*0000*/                   EXIT ;
"""


def test_a_loop_in_the_loop_runs_twice() -> None:
    code = tile_costs.instructions(SASS)
    assert set(code) == {"gemm_fast_one", "axpy"}
    counted = tile_costs.step(code["gemm_fast_one"])
    assert counted == {"ISETP.GE.AND": 1, "LDS.64": 2, "HMMA.1688.F32.TF32": 2, "BRA": 3}
    assert tile_costs.step(code["axpy"]) == {}


def test_units_are_counted_for_a_block() -> None:
    tile = next(t for t in TILES if (t.rows, t.pixels) == (64, 64))  # 4 warps: one for each quarter
    busy = tile_costs.units({"LDS.128": 3, "LDS.64": 1, "HMMA.1688.F32.TF32": 10, "ISETP.GE.AND": 4}, tile, "fast")
    copied = 16 * 4 * 128
    l2 = copied / (5.5e12 / 132 / 1.7e9)
    expected = {"tensor": 64.5, "issue": 18, "integer": 8, "shared": 4 * 14 + copied / 128, "l2": l2}
    assert busy == pytest.approx(expected)
    assert tile_costs.cost(busy) == 120


def test_tiles_have_the_costs_that_were_counted() -> None:
    found = json.loads((BENCHMARKS / "results" / "tile_costs.json").read_text("utf-8"))
    costs = {record["kernel"]: record["cost"] for record in found["records"]}
    assert costs == {tile.name(p): tile.warp(p).cost for p in PRECISIONS for tile in TILES}
