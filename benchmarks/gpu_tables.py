"""Tables of benchmarks/gpu.py: a line for each network and batch size, and one for each layer."""

from __future__ import annotations

from gpu_findings import PRECISIONS
from records import Record

COLUMNS = (
    ("network", 12), ("batch", 5), ("program", 8), ("call", 8), ("forward", 8), ("ours", 8), ("ort cuda", 8),
    ("zennit", 8), ("tf32", 8), ("torch fwd", 9), ("floor mma/mem", 14), ("zennit/ours", 11),
)  # fmt: skip


def header() -> str:
    """Return the head of the table."""
    return " ".join(f"{name:<{width}}" if n == 0 else f"{name:>{width}}" for n, (name, width) in enumerate(COLUMNS))


def line(record: Record) -> str:
    """Return a record as a line of the table, in ms.

    "ours" is the forward pass on the GPU and the program; where onnxruntime has no CUDA provider the forward pass is
    torch's, marked *.
    """
    found = [made for p in PRECISIONS if (made := record.get(f"ours {p}"))]
    best: Record = min(found, key=lambda made: float(made["program ms"]), default={})
    forward, torch = (record.get(name) or {} for name in ("forward", "torch"))
    ms = forward.get("device ms") or torch.get("device ms")
    total = ms + best["program ms"] if ms and "program ms" in best else None
    theirs, floor = record.get("zennit") or {}, (record.get("floor") or {}).get("ms", {})
    fastest = min((t for key, t in theirs.items() if "device" in key), default=None)
    cells = (
        record["network"], str(record["batch"]), _ms(best.get("program ms")), _ms(best.get("call ms")),
        _ms(ms) + ("" if forward or not ms else "*"), _ms(total), _ms((record.get("ort") or {}).get("device ms")),
        _ms(theirs.get("device ms")), _ms(theirs.get("tf32 device ms")), _ms(torch.get("device ms")),
        f"{_ms(floor.get('mma.sync TF32'))}/{_ms(floor.get('memory'))}",
        f"{fastest / total:.1f}" if fastest and total else "-",
    )  # fmt: skip
    return " ".join(
        f"{c:<{w}}" if n == 0 else f"{c:>{w}}" for n, (c, (_, w)) in enumerate(zip(cells, COLUMNS, strict=True))
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def layer_line(record: Record) -> str:
    """`linear 64x56x56 → 64x56x56 3x3 s1 g1   ours 0.12 (98 TFLOP/s)   cudnn 0.20 / 0.08 tf32`."""
    mine = [f"{p} {_ms(record.get(f'ms {p}'))}" for p in PRECISIONS if f"ms {p}" in record]
    best = min((ms for p in PRECISIONS if (ms := record.get(f"ms {p}"))), default=None)
    rate = f"{record['GFLOP'] / best:.1f} TFLOP/s" if best else ""
    theirs = f"cudnn {_ms(record.get('cudnn ms'))}, tf32 {_ms(record.get('cudnn tf32 ms'))}"
    return f"{record['kind']:<8} {record['shape']:<44} x{record['times']:<3} {', '.join(mine)}  {rate:<14} {theirs}"
