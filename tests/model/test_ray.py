"""BatchExplainer: what it gives is what the model gives; in other processes too, and in workers of Ray."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.errors import InputError, UsageError
from onnxlrp.ray import BatchExplainer
from support.paths import MODELS

DIGITS = MODELS / "digits.onnx"
FILES = [str(MODELS / "samples" / f"digit_{n}.png") for n in range(4)]
MODEL = onnxlrp.load(DIGITS)
X = np.random.default_rng(0).normal(size=(4, 1, 28, 28)).astype(np.float32)


@pytest.mark.parametrize("source", [DIGITS, str(DIGITS), DIGITS.read_bytes()], ids=["path", "text", "bytes"])
def test_a_batch_is_explained_as_by_the_model(source: Any) -> None:
    made = pickle.loads(pickle.dumps(BatchExplainer(source, method="gamma", gamma=0.3, targets="class")))
    found = made({"input": X, "class": np.array([1, 2, 3, 4]), "id": np.arange(4)})
    wanted = MODEL.explain(X, [1, 2, 3, 4], "gamma", gamma=0.3)
    assert list(found) == ["class", "id", "relevance", "target", "label", "logit", "output"]
    for name in ("relevance", "target", "logit", "output"):
        np.testing.assert_array_equal(found[name], getattr(wanted, name))
    assert all(len(column) == 4 for column in found.values())


def test_paths_and_pictures_go_through_the_preprocessing() -> None:
    wanted = MODEL.explain(FILES)
    by_path = BatchExplainer(DIGITS, column="path")({"path": np.array(FILES)})
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in FILES])
    by_pixel = BatchExplainer(DIGITS, column="image", pictures=True)({"image": pixels})
    for found in (by_path, by_pixel):
        np.testing.assert_allclose(found["relevance"], wanted.relevance, atol=1e-5)
        np.testing.assert_array_equal(found["target"], wanted.target)


def test_an_opened_explainer_is_pickled_without_its_model() -> None:
    made = BatchExplainer(DIGITS)
    size = len(pickle.dumps(made))
    made({"input": X})
    assert len(pickle.dumps(made)) == size < 1000


@pytest.mark.slow
def test_processes_explain_alike() -> None:
    made = BatchExplainer(DIGITS)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(made, [{"input": X[:2]}, {"input": X[2:]}], timeout=200))
    for rows, one in zip((X[:2], X[2:]), found, strict=True):
        np.testing.assert_array_equal(one["relevance"], MODEL.explain(rows).relevance)


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    made = BatchExplainer(DIGITS)
    with pytest.raises(UsageError, match='no column "input"'):
        made({"image": X})
    with pytest.raises(UsageError, match="logit"):
        made({"input": X, "logit": np.zeros(4)})
    with pytest.raises(UsageError, match="one target"):
        BatchExplainer(DIGITS, target="top2")({"input": X})
    with pytest.raises(InputError, match="uint8"):
        BatchExplainer(DIGITS, pictures=True)({"input": X})
    with pytest.raises(InputError, match="cannot be read"):
        BatchExplainer(tmp_path / "none.onnx")
    with pytest.raises(UsageError, match="path"):
        BatchExplainer(MODEL)  # type: ignore[arg-type]
    path = Path(shutil.copy(DIGITS, tmp_path / "m.onnx"))
    data = pickle.dumps(BatchExplainer(path))
    shutil.copy(MODELS / "shapes.onnx", path)
    with pytest.raises(InputError, match="another one"):
        pickle.loads(data)({"input": X})


_RAY = """
import sys, numpy as np, ray, onnxlrp
from onnxlrp.ray import BatchExplainer
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
x = np.random.default_rng(0).normal(size=(16, 1, 28, 28)).astype(np.float32)
rows = ray.data.from_items([{"id": n, "input": one} for n, one in enumerate(x)]).repartition(4)
made = rows.map_batches(BatchExplainer, fn_constructor_args=[sys.argv[1]], concurrency=2, batch_size=4, num_cpus=0.5)
found = sorted(made.take_all(), key=lambda row: row["id"])
assert [row["id"] for row in found] == list(range(16))
wanted = onnxlrp.load(sys.argv[1]).explain(x)
np.testing.assert_allclose(np.stack([row["relevance"] for row in found]), wanted.relevance, rtol=1e-5, atol=1e-6)
print("equal")
"""


@pytest.mark.slow
def test_workers_of_ray_explain_alike() -> None:
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install 'ray[data]'")
    done = subprocess.run([sys.executable, "-c", _RAY, str(DIGITS)], capture_output=True, text=True, timeout=200)
    assert done.stdout.strip().endswith("equal"), done.stderr[-2000:]
