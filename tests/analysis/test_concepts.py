"""Concepts: quantiles, IoU and AUC against slow references; TCAV's test against its definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxlrp
from onnxlrp.analysis.concepts.cav import LinearClassifier, mean_difference
from onnxlrp.analysis.concepts.detectors import dissect, enlarging, invert, ranked_auc, shown_by
from onnxlrp.analysis.concepts.labels import Labels, Masks, by_folder
from onnxlrp.analysis.concepts.layer import LayerView, Reader
from onnxlrp.analysis.concepts.quantiles import TopQuantile, numbers, ordered
from onnxlrp.analysis.concepts.significance import judge, needed, random_sets
from onnxlrp.analysis.concepts.tcav import Concept
from onnxlrp.analysis.reading import source_of
from onnxlrp.errors import InputError, OnnxLrpError, UsageError
from support import small_nets


def test_keys_are_in_the_order_of_numbers() -> None:
    x = np.sort(np.concatenate([np.random.default_rng(0).normal(size=99), [0.0, 1e-40, -1e-40, 1e30, -1e30]])).astype(
        "f"
    )
    keys = ordered(x)
    assert (np.diff(keys.astype(np.int64)) >= 0).all()
    assert np.array_equal(numbers(keys), x)


@pytest.mark.parametrize("share", [0.005, 0.1, 0.5])
def test_quantiles_are_exact(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 3, 7)).astype(np.float32)
    x[:, 1] = np.maximum(x[:, 1] - 2, 0)  # mostly ties
    x[:, 2] *= 1e-3
    quantile = TopQuantile(3, share)
    passes = quantile.passes
    for n in range(passes):
        for part in np.split(x, 6):
            quantile.add(part)
        assert quantile.end_pass() == (n == passes - 1)
    for channel, threshold in enumerate(quantile.thresholds()):
        values = x[:, channel].ravel()
        most = int(share * values.size + 1e-9)
        assert threshold in values
        assert (values > threshold).sum() <= most
        assert (values >= threshold).sum() > most  # a lower value would let too many pass


def test_enlarging_is_bilinear() -> None:
    matrix = enlarging(3, 6)
    assert np.allclose(matrix.sum(axis=1), 1)
    assert np.allclose(matrix @ [0.0, 1.0, 2.0], [0, 0.25, 0.75, 1.25, 1.75, 2])
    assert np.array_equal(enlarging(4, 4), np.eye(4))


def network(tmp_path: Path) -> Any:
    """A small network whose first unit of `relu1` is bright where the picture is, and others at random."""
    n = small_nets.Net(1, 12, 12, seed=3)
    weight = n.rng.normal(size=(4, 1, 3, 3))
    weight[0] = 0
    weight[0, 0, 1:, 1:] = 0.25  # of the pixels of its own cell
    a = n.relu(n.op("Conv", "x", weight, kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]))
    b = n.relu(n.conv(a, 4, 6))
    model = n.model(n.dense(n.op("Flatten", b), 6 * 36, 3), classes=3)
    onnx.save(model, tmp_path / "net.onnx")
    return onnxlrp.load(tmp_path / "net.onnx"), a, b


def squares(count: int, seed: int = 0) -> tuple[Any, Any]:
    """Samples [n, 1, 12, 12] with a bright square in every second, and its mask."""
    rng = np.random.default_rng(seed)
    x = 0.1 * rng.normal(size=(count, 1, 12, 12)).astype(np.float32)
    masks = np.zeros((count, 12, 12), bool)
    for n in range(0, count, 2):
        y, z = rng.integers(0, 8, 2)
        masks[n, y : y + 4, z : z + 4] = True
    return x + 3 * masks[:, None].astype(np.float32), masks


def test_dissection_equals_a_slow_reference(tmp_path: Path) -> None:
    model, layer, _ = network(tmp_path)
    x, masks = squares(24)
    home = tmp_path / "masks"
    for name in ("square", "other"):
        (home / name).mkdir(parents=True)
    other = np.random.default_rng(5).random(masks.shape) < 0.3
    for n in range(24):
        np.save(home / "square" / f"sample.{n}.npy", masks[n])
        np.save(home / "other" / f"sample.{n}.npy", other[n])
    view = LayerView.of(model, layer)
    found = dissect(Reader(model, 5), source_of(list(x)), view, Masks.of(home), share=0.08)
    maps = model.outputs(x, activations=[view.unit])[f"activation/{layer}"].astype(np.float64)
    for k in range(4):
        values = np.sort(maps[:, k].ravel())[::-1]
        threshold = values[int(0.08 * values.size)]
        assert found.thresholds[k] == pytest.approx(threshold, rel=1e-6)
        large = np.zeros((24, 12, 12))
        for y in range(12):
            for z in range(12):
                at = [min(max((p + 0.5) / 2 - 0.5, 0), 5) for p in (y, z)]
                low = [int(np.floor(p)) for p in at]
                for dy in (0, 1):
                    for dz in (0, 1):
                        weight = abs(1 - dy - (at[0] - low[0])) * abs(1 - dz - (at[1] - low[1]))
                        large[:, y, z] += weight * maps[:, k, min(low[0] + dy, 5), min(low[1] + dz, 5)]
        for c, mask in enumerate((other, masks)):  # sorted by name
            active = large > threshold
            assert found.iou[k, c] == pytest.approx((active & mask).sum() / (active | mask).sum(), abs=1e-6)
    assert found.iou[0].argmax() == 1
    assert found.iou[0, 1] >= 0.5
    assert found.is_detector()[0]


@pytest.mark.slow
def test_auc_equals_a_slow_reference() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(2)
    values = np.round(rng.normal(size=80), 1)
    inside = rng.random((80, 3)) < [0.3, 0.6, 0.1]
    auc, p = ranked_auc(values, inside)
    for c in range(3):
        a, b = values[inside[:, c]], values[~inside[:, c]]
        wins = sum((one > two) + 0.5 * (one == two) for one in a for two in b)
        assert auc[c] == pytest.approx(wins / (len(a) * len(b)), abs=1e-6)
        expected = stats.mannwhitneyu(a, b, method="asymptotic", use_continuity=False).pvalue
        assert p[c] == pytest.approx(expected, rel=1e-6)
    assert [one.item() for one in ranked_auc(np.ones(10), np.arange(10)[:, None] < 3)] == [0.5, 1.0]
    assert ranked_auc(values, np.ones((80, 1), bool))[0] == 0.5


def test_invert_finds_the_planted_detector(tmp_path: Path) -> None:
    model, layer, _ = network(tmp_path)
    x, masks = squares(40)
    labels = Labels.made({f"sample.{n}": {"square" if masks[n].any() else "none"} for n in range(40)})
    view = LayerView.of(model, layer)
    found = invert(Reader(model, 7), source_of(list(x)), view, shown_by(labels, model), 2, "max")
    square = labels.names.index("square")
    assert found.auc[0, square] == 1.0
    assert found.significant()[0, square]
    assert np.allclose(found.auc.sum(axis=1), 1)
    assert found.positives.tolist() == [20, 20]


def test_labels_of_tables_and_folders(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("name,label\na.png,cat\nb.png,dog\nb.png,grass\nc,cat,grass\n")
    labels = Labels.table(table)
    assert labels.names == ("cat", "dog", "grass")
    assert labels.of["b"] == {"dog", "grass"}
    assert labels.of["c"] == {"cat", "grass"}
    for text, fault in (("a,cat\nb,cat\n", "one label"), ("", "no label"), ("a\n", "line 1")):
        table.write_text(text)
        with pytest.raises(InputError, match=fault):
            Labels.table(table)
    with pytest.raises(InputError, match="cannot be read"):
        Labels.table(tmp_path / "none.csv")
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        np.save(tmp_path / "pictures" / name / "one.npy", np.zeros(3))
    source, labels = by_folder([str(tmp_path / "pictures")])
    assert [item.name for item in source] == ["cat/one", "dog/one"]
    assert labels.of["dog/one"] == {"dog"}
    assert by_folder([str(tmp_path / "pictures" / "cat")]) is None


def test_fastcav_is_the_difference_of_means() -> None:
    a = np.random.default_rng(3).normal(size=(30, 9))
    inside = np.arange(30) < 12
    assert np.allclose(mean_difference(inside) @ a, a[:12].mean(axis=0) - a.mean(axis=0))


@pytest.mark.parametrize("kind", ["svm", "logistic"])
def test_classifiers_in_the_span_are_those_of_all_dimensions(kind: str) -> None:
    svm, linear = pytest.importorskip("sklearn.svm"), pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(4)
    inside = np.arange(40) < 15
    a = rng.normal(size=(40, 300)) + 0.2 * inside[:, None]
    a -= a.mean(axis=0)
    vector = LinearClassifier.of(a @ a.T, kind)(inside) @ a
    scale = np.sqrt((a**2).sum() / len(a))
    if kind == "svm":
        plain = svm.LinearSVC(dual=True, random_state=0, class_weight="balanced", tol=1e-8, max_iter=100000)
    else:
        plain = linear.LogisticRegression(max_iter=5000, class_weight="balanced", tol=1e-10)
    expected = plain.fit(a / scale, inside).coef_[0]
    cosine = vector @ expected / np.linalg.norm(vector) / np.linalg.norm(expected)
    assert cosine == pytest.approx(1, abs=1e-3)


def test_random_sets_and_their_number() -> None:
    sets = random_sets(30, 12, 500, np.random.default_rng(0))
    assert (sets.sum(axis=1) == 12).all()
    assert np.abs(sets.mean(axis=0) - 0.4).max() < 0.1
    assert needed(1, 0.05) == 999
    for tests in (10, 100):
        assert 1 / (1 + needed(tests, 0.05)) <= 0.05 / tests / 20 * (1 + 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["magnitude", "sign"])
def test_false_positives_are_at_the_level(kind: str) -> None:
    """Of 200 random concepts, from one pool of samples as users have them, about 5 % are significant."""
    rng = np.random.default_rng(5)
    pool = rng.normal(size=(400, 50)) * rng.uniform(0.1, 3, 50)
    slopes = rng.normal(size=(60, 50)) + rng.normal(size=50)
    positives = 0
    for _ in range(200):
        products = slopes @ pool[rng.permutation(400)[:120]].T
        sets = random_sets(120, 40, 399, rng)
        weights = np.stack([mean_difference(inside) for inside in sets])
        positives += judge(products, 40, kind, mean_difference, weights, 2, 0.05, rng).significant
    assert positives <= 19  # 99.5 % of a binomial of 200 at .05
    if kind == "magnitude":
        assert positives >= 2  # the sign has few different values, and may stay below


def test_slow_tcav_of_a_network(tmp_path: Path) -> None:
    model, _, layer = network(tmp_path)
    x, masks = squares(60)
    mine = model.outputs(x)["logits"].argmax(axis=1)
    target = int(np.bincount(mine).argmax())
    concept, random = x[masks.any(axis=(1, 2))][:15], squares(80, 1)[0][1::2][:25]
    tested = Concept(list(concept), "square").test(model, list(x), target, layer, list(random), batch_size=7)
    a = model.outputs(np.concatenate([concept, random]), activations=[layer])[f"activation/{layer}"].reshape(40, -1)
    vector = a[:15].mean(axis=0) - a.mean(axis=0)
    assert np.allclose(tested.vector, vector, atol=1e-5)
    composite = model.composite("gradient")
    chosen = x[mine == target]
    slope = model.outputs(chosen, composite, ids=np.full(len(chosen), target), record=[layer])[f"record/{layer}"]
    along = slope.reshape(len(chosen), -1) @ vector
    assert tested.magnitude.score == pytest.approx(along.mean(), rel=1e-4)
    assert tested.sign.score == pytest.approx((along > 0).mean())
    assert tested.samples == (15, 25, len(chosen))
    assert tested.magnitude.interval[0] <= tested.magnitude.score <= tested.magnitude.interval[1]
    assert tested.to_dict()["magnitude"]["p"] == tested.verdict.p


def test_bad_input(tmp_path: Path) -> None:
    model, layer, _ = network(tmp_path)
    x, _ = squares(40)
    target = int(np.bincount(model.outputs(x)["logits"].argmax(axis=1)).argmax())

    def tested(concept: Any = x, images: Any = x, **options: Any) -> Any:
        named = {"target": target, "layer": layer, "random": list(x), **options}
        return Concept(list(concept), "squares").test(model, list(images), **named)

    with pytest.raises(InputError, match="squares: 9 samples of the concept"):
        tested(concept=x[:9])
    with pytest.raises(InputError, match="answered with the class"):
        tested(images=x[:9])
    with pytest.raises(InputError, match="9 random samples"):
        tested(random=list(x[:9]))
    for wrong in ({"layer": "lyer"}, {"target": "top1"}, {"classifier": "tree"}, {"alpha": 2}, {"statistic": "t"}):
        with pytest.raises(UsageError):
            tested(**wrong)
    (tmp_path / "masks").mkdir()
    view = LayerView.of(model, layer)
    with pytest.raises(InputError, match="no sample has a mask"):
        dissect(Reader(model), source_of(list(x)), view, Masks.of(tmp_path / "masks"))
    np.save(tmp_path / "masks" / "sample.0.npy", np.ones((5, 5)))
    with pytest.raises(InputError, match="make it as large"):
        dissect(Reader(model), source_of(list(x)), view, Masks.of(tmp_path / "masks"))
    with pytest.raises(OnnxLrpError, match="no such folder"):
        Masks.of(tmp_path / "none")
    with pytest.raises(InputError, match="3 samples"):
        dissect(Reader(model), source_of(list(x[:3])), view, Masks.of(tmp_path / "masks"))
