"""`onnxlrp clusters`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.command_line import DIGITS, SEVEN, folder

pytest.importorskip("sklearn")


@pytest.fixture
def sevens() -> Path:
    """A folder of shifted sevens, half of them with a bright bar at the left."""
    from PIL import Image

    made = Path("sevens")
    made.mkdir()
    seven = np.asarray(Image.open(SEVEN).convert("L"))
    rng = np.random.default_rng(0)
    for n in range(24):
        picture = np.roll(seven, rng.integers(-3, 4, 2), (0, 1))
        Image.fromarray(picture).save(made / f"seven_{n:02d}.png")
    return made


def test_files_and_json(run: Any, sevens: Path) -> None:
    out, err = run(0, "clusters", DIGITS, sevens, "-t", "7", "--null-sets", 4, "--json", "--format", "json,npz,png")
    stated = json.loads(out)
    assert not err.startswith("error")
    assert stated["samples"] == 24
    assert stated["target"] == "7"
    assert sorted(path.name for path in Path("clusters").iterdir()) == ["clusters.json", "clusters.npz", "clusters.png"]
    assert json.loads(Path("clusters/clusters.json").read_text())["decision"] == stated["decision"]
    said, _ = run(0, "clusters", DIGITS, sevens, "-t", "7", "--null-sets", 4)
    assert "because" in said


def test_a_project_for_virelay(run: Any, sevens: Path) -> None:
    h5py = pytest.importorskip("h5py")
    run(0, "clusters", DIGITS, sevens, "-t", "7", "--null-sets", 4, "--format", "virelay", "-o", "out/")
    home = Path("out/virelay")
    names = ["analysis.h5", "attribution.h5", "input.h5", "label-map.json", "project.yaml"]
    assert sorted(path.name for path in home.iterdir()) == names
    # What ViRelAy's model.py reads of each file.
    project = json.loads((home / "project.yaml").read_text())["project"]
    labels = {row["word_net_id"]: row["index"] for row in json.loads((home / project["label_map"]).read_text())}
    with h5py.File(home / project["dataset"]["path"]) as file:
        assert file["data"].shape == (24, 1, 28, 28)
        assert 0.9 < file["data"][:].max() <= 1
        assert set(file["label"][:]) == {7}
    with h5py.File(home / project["attributions"]["sources"][0]) as file:
        assert file["attribution"].shape == (24, 1, 28, 28)
        assert file["prediction"].shape == (24, 10)
        assert file["index"][:].tolist() == list(range(24))
    with h5py.File(home / project["analyses"][0]["sources"][0]) as file:
        (category,) = file
        assert labels[category] == 7
        (clustering,) = file[category]["cluster"].values()
        assert clustering.shape == file[category]["index"].shape == (24,)
        embedding = file[category]["embedding"]["spectral"]
        assert embedding.shape == (24, len(embedding.attrs["eigenvalue"]))


def test_refused(refused: Any, run: Any, sevens: Path) -> None:
    few = folder("few")
    message, _ = refused(3, "clusters", DIGITS, few)
    assert "10 heatmaps: clusters need 20 or more" in message
    assert not Path("clusters").exists()
    refused(2, "clusters", DIGITS, sevens, "--format", "html")
    refused(2, "clusters", DIGITS, sevens, "--grid", 100)
    refused(2, "clusters", DIGITS, sevens, "-t", "no such class")
    refused(2, "clusters", DIGITS, sevens, "-o", SEVEN)
    refused(2, "clusters", DIGITS, sevens, "-m", "rise,occlusion")
    (sevens / "broken.png").write_bytes(b"no picture")
    refused(3, "clusters", DIGITS, sevens, "--null-sets", 4)
    out, _ = run(3, "clusters", DIGITS, sevens, "--null-sets", 4, "--on-error", "skip", "--json")
    assert json.loads(out)["rejected"] == ["sevens/broken.png"]
