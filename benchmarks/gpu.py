"""Cost of a heatmap on a GPU: our kernels, onnxruntime, zennit, torch and the floor, in one run of ten minutes.

    python benchmarks/gpu.py                                # all of it; about --minutes 9
    python benchmarks/gpu.py --networks resnet50 --batches 1,64 --no-layers
    python benchmarks/gpu.py --tiny --engine emulator       # the whole script on a small model, without a GPU

Networks are made from a seed on the spot. First the engine is validated, then everything is timed, warm, as medians;
a contender that fails or is not there is reported and the rest goes on. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import contenders
import floors
from clocks import cuda_clock, host_clock
from contenders import Case
from gpu_contenders import forward_on_gpu, ort_on_gpu, ours, torch_forward, zennit
from gpu_findings import PRECISIONS, Session
from gpu_layers import layers, overhead
from gpu_machine import copy_rate, meta
from gpu_tables import header, layer_line, line
from gpu_validation import MODELS, check, small
from records import Record, numbers, words

HERE = Path(__file__).parent
NETWORKS = ("resnet50", "vgg16", "mobilenetv2")


def measure(session: Session) -> None:
    """Validate, then time, what matters most first."""
    given = session.given
    for case in small()[: 1 if given.tiny else None]:
        for precision in given.precisions:
            check(session, case, precision, deep=True)
        session.forget()
    made = cases(session)
    found = session.step("launch overhead", lambda: overhead(session))
    session.overhead |= found or {}
    print("overhead " + ", ".join(f"{key} {value:.1f}" for key, value in session.overhead.items()))
    print("\n" + header(), flush=True)
    for case in made:
        for precision in given.precisions:
            check(session, case, precision, deep=False)
        for batch in given.batches:
            whole(session, case, batch)
        session.forget()
    if not given.no_layers:
        print(f"\nlayers, batch {given.layer_batch}, ms, L2 cold", flush=True)
        layers(session, made, given.layer_batch)
        print(*map(layer_line, session.layers), sep="\n")


def whole(session: Session, case: Case, batch: int) -> None:
    """Every contender on one network and batch size."""
    label = f"{case.label} b{batch}"
    record: Record = {"network": case.label, "preset": case.preset, "batch": batch}
    record["floor"] = session.step(f"{label}: floor", lambda: floors.floors(case, batch, session.about["bandwidth"]))
    for precision in session.given.precisions:
        needs = 8 * slower(session, case, precision, batch)
        made = session.step(f"{label}: ours, {precision}", partial(ours, session, case, batch, precision), needs)
        record[f"ours {precision}"] = made
    others = {"forward": forward_on_gpu, "ort": ort_on_gpu, "zennit": zennit, "torch": torch_forward}
    for name, contender in others.items():
        record[name] = session.step(f"{label}: {name}", partial(contender, session, case, batch))
    session.whole.append(record)
    print(line(record), flush=True)
    session.save()


def slower(session: Session, case: Case, precision: str, batch: int) -> float:
    """Seconds that a call takes, judged by a smaller batch of the same network."""
    known = [
        batch / r["batch"] * made["call ms"] / 1e3
        for r in session.whole
        if r["network"] == case.label and (made := r.get(f"ours {precision}"))
    ]
    return known[-1] if known else 0.0


def cases(session: Session) -> list[Case]:
    """The networks, made where they are missing."""
    given = session.given
    if given.tiny:
        return [Case(MODELS / "digits.onnx", given.preset)]
    made = []
    for network in given.networks:

        def make(network: str = network) -> Case:
            import networks

            return Case(networks.export(network, given.cache)[1], given.preset, network, given.cache)

        case = session.step(f"{network}: make it", make)
        made += [case] if case else []
    return made


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--engine", choices=("cuda", "emulator"), default="cuda")
    parser.add_argument("--loader", default="auto", help="of the kernels: auto, fatbin or nvrtc")
    parser.add_argument("--tiny", action="store_true", help="the digits model alone, two small batches")
    parser.add_argument("--networks", type=words, default=list(NETWORKS), help=",".join(NETWORKS))
    parser.add_argument("--batches", type=numbers)
    parser.add_argument("--preset", choices=contenders.PRESETS, default=contenders.PRESETS[0])
    parser.add_argument("--precisions", type=words, default=["exact", "fast"], help=",".join(PRECISIONS))
    parser.add_argument("--no-layers", action="store_true")
    parser.add_argument("--layer-batch", type=int)
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after these; what is left out is listed")
    parser.add_argument("--seconds", type=float, help="that a contender is timed for (default: 0.5)")
    parser.add_argument("--cache", type=Path, default=Path(gettempdir()) / "onnxlrp-bench")
    parser.add_argument("--json", type=Path, help="default: benchmarks/results/gpu-NAME.json")
    given = parser.parse_args(argv)
    for word in given.precisions:
        if word not in PRECISIONS:
            parser.error(f"no such precision: {word}")
    for word in given.networks:
        if word not in NETWORKS:
            parser.error(f"no such network: {word}")
    given.batches = given.batches or ([1, 2] if given.tiny else [1, 16, 64])
    given.layer_batch = given.layer_batch or (1 if given.tiny else 16)
    given.seconds = given.seconds or (0.02 if given.tiny else 0.5)
    return given


def main(argv: list[str] | None = None) -> int:
    """Measure, and write the records as JSON."""
    start = time.monotonic()
    given = arguments(argv)
    from onnxlrp.engines.cuda.runtime.device import EmulatedDevice, GpuDevice
    from onnxlrp.errors import OnnxLrpError

    try:
        device: Any = GpuDevice(given.loader) if given.engine == "cuda" else EmulatedDevice()
    except OnnxLrpError as error:
        print(f"error: {error.message}\nfix: {error.fix}", file=sys.stderr)
        return error.code
    about = meta(given)
    slug = re.sub(r"\W+", "-", about["device"].lower()).strip("-")
    given.json = given.json or HERE / "results" / f"gpu-{slug}.json"
    clock = cuda_clock(device.stream) if given.engine == "cuda" else host_clock
    session = Session(given, device, clock, about, start + 60 * given.minutes)
    if given.engine == "cuda":
        about["copy bytes/s"] = session.step("copy rate", copy_rate)
        about["kernels"] = device.kernels.name
        if "H200" not in about["device"] and about["copy bytes/s"]:
            about["bandwidth"] = about["copy bytes/s"]
    print(f"{about['device']}, {about['date']}, driver CUDA {about['driver CUDA']}", flush=True)
    measure(session)
    about["seconds"] = round(time.monotonic() - start, 1)
    session.save()
    for reason, what in session.unavailable.items():
        print(f"not there: {reason} (first at {what})")
    if session.left_out:
        print(f"left out, for time: {len(session.left_out)}: {'; '.join(session.left_out[:12])}")
    print(f"{len(session.failed)} failed, {about['seconds']} s, wrote {given.json}")
    good = all(record["ok"] for record in session.valid) and session.valid
    return 0 if good and not session.failed else 1


if __name__ == "__main__":
    sys.exit(main())
