"""Default methods for tables and signals: relevance against planted features, on trained networks.

Tables: a target is a sum of known functions of some features (linear, saturating, oscillating, a product), with units
that differ by powers of ten, which the first layer undoes. The truth of a sample is each feature's exact Shapley value
of the planted function under independent features. Signals: a bump in one of six leads; lead and shape decide the
class. The truth is where the bump is.

    python benchmarks/defaults.py -o benchmarks/results/defaults.json

It needs PyTorch.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import onnxlrp

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "epsilon_plus_flat": ("epsilon_plus_flat", {}),
    "epsilon_plus": ("epsilon_plus", {}),
    "epsilon": ("epsilon", {}),
    "epsilon 0.1": ("epsilon", {"epsilon": 0.1}),
    "gamma 0.1": ("gamma", {"gamma": 0.1}),
    "gamma": ("gamma", {}),
    "gamma 1": ("gamma", {"gamma": 1.0}),
    "gamma_flat_in_channels": ("gamma_flat_in_channels", {}),
    "zplus": ("zplus", {}),
    "gradient_x_input": ("gradient_x_input", {}),
}
FEATURES, SAMPLES, LEADS, LENGTH = 12, 64, 6, 96
UNITS = 10.0 ** np.resize([0, 1, -1, 2], FEATURES)


def planted(x: np.ndarray) -> np.ndarray:
    """Return the contribution [N, features] of each feature to the planted score: its Shapley value.

    A product of two independent features of mean 0 gives each of them half.
    """
    made = np.zeros_like(x)
    made[:, 0], made[:, 1] = 1.5 * x[:, 0], -x[:, 1]
    made[:, 2], made[:, 3] = 1.5 * np.tanh(2 * x[:, 2]), np.sin(2 * x[:, 3])
    made[:, 4] = made[:, 5] = 0.5 * x[:, 4] * x[:, 5]
    return made


def table(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return samples [N, features] in their own units, planted contributions, and classes."""
    x = rng.normal(size=(count, FEATURES))
    truth = planted(x)
    return (x * UNITS).astype(np.float32), truth, (truth.sum(axis=1) > 0).astype(np.int64)


def signal(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return signals [N, leads, length], the places of a bump, and classes: lead and shape."""
    classes, t = rng.integers(0, 2 * LEADS, count), np.arange(LENGTH)
    x, truth = 0.3 * rng.normal(size=(count, LEADS, LENGTH)), np.zeros((count, LEADS, LENGTH))
    for n, label in enumerate(classes):
        lead, shape, at = label // 2, label % 2, rng.integers(12, LENGTH - 12)
        bump = np.exp(-(((t - at) / 3) ** 2)) * (1 if shape else np.cos((t - at) * 1.2))
        x[n, lead] += 2 * bump
        truth[n, lead] = np.abs(t - at) <= 6
    return x.astype(np.float32), truth, classes.astype(np.int64)


class Scaled(nn.Module):  # type: ignore[misc]
    """Undo the units of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.Parameter(torch.from_numpy(UNITS.astype(np.float32)), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x in units of its deviation."""
        return x / self.units


def tables() -> dict[str, nn.Module]:
    """Return networks of a table by name."""

    def wide(width: int, act: type[nn.Module], depth: int) -> nn.Module:
        more = [layer for _ in range(depth - 1) for layer in (nn.Linear(width, width), act())]
        return nn.Sequential(Scaled(), nn.Linear(FEATURES, width), act(), *more, nn.Linear(width, 2))

    return {
        "relu 64": wide(64, nn.ReLU, 1),
        "relu 64 x 3": wide(64, nn.ReLU, 3),
        "tanh 64 x 2": wide(64, nn.Tanh, 2),
        "gelu 64 x 2": wide(64, nn.GELU, 2),
    }


def signals() -> dict[str, nn.Module]:
    """Return networks of a signal by name."""

    def head(width: int) -> tuple[nn.Module, ...]:
        return nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, 2 * LEADS)

    return {
        "conv 2": nn.Sequential(
            nn.Conv1d(LEADS, 32, 7, padding=3), nn.ReLU(), nn.Conv1d(32, 32, 5), nn.ReLU(), *head(32)
        ),
        "conv 3, pooled": nn.Sequential(
            nn.Conv1d(LEADS, 32, 9, padding=4), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(32, 48, 5), nn.ReLU(),
            nn.MaxPool1d(2), nn.Conv1d(48, 48, 3), nn.ReLU(), *head(48),
        ),
    }  # fmt: skip


def trained(net: nn.Module, x: np.ndarray, y: np.ndarray, seed: int) -> nn.Module:
    """Train by Adam on cross-entropy."""
    torch.manual_seed(seed)
    for part in net.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    steps = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 3e-3, weight_decay=1e-5)
    for _ in range(20):
        for rows in torch.randperm(len(a)).split(128):
            steps.zero_grad()
            nn.functional.cross_entropy(net(a[rows]), b[rows]).backward()
            steps.step()
    return net.eval()


def loaded(net: nn.Module, x: np.ndarray) -> Any:
    """Export and load."""
    file = io.BytesIO()
    axes = {"x": {0: "n"}}
    torch.onnx.export(net, torch.from_numpy(x[:2]), file, input_names=["x"], dynamic_axes=axes, dynamo=False)
    import onnx

    return onnxlrp.load(onnx.load_from_string(file.getvalue()))


def table_scores(relevance: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return the mean correlation with the truth, and how many of the k strongest features are the k planted ones."""
    k = int((np.abs(truth).max(axis=0) > 0).sum())
    order = np.random.default_rng(0).permutation(truth.shape[1])  # equal values stand in no order
    strongest = order[np.argsort(-np.abs(relevance[:, order]), axis=1)[:, :k]]
    rows = [
        np.corrcoef(r, t)[0, 1] if r.std() > 1e-9 * np.abs(r).max() else 0.0
        for r, t in zip(relevance, truth, strict=True)
    ]
    return {"correlation": float(np.mean(rows)), "planted among the strongest": float((strongest < k).mean())}


def signal_scores(relevance: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return the share of positive relevance on the bump, of its lead, and the best value's hit rate."""
    up = np.maximum(relevance, 0)
    total = up.sum(axis=(1, 2)) + 1e-30
    lead = truth.max(axis=2, keepdims=True)
    best = relevance.reshape(len(relevance), -1).argmax(axis=1)
    hit = truth.reshape(len(truth), -1)[np.arange(len(truth)), best]
    shares = {"on the bump": (up * truth).sum(axis=(1, 2)), "in its lead": (up * lead).sum(axis=(1, 2))}
    return {**{name: float((v / total).mean()) for name, v in shares.items()}, "pointing": float(hit.mean())}


def main() -> None:
    """Measure, and write the means over networks and seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    jobs = {"vector": (tables, table, table_scores), "signal": (signals, signal, signal_scores)}
    for kind, (networks, data, judge) in jobs.items():
        rows: dict[str, dict[str, list[float]]] = {}
        accuracies = []
        for seed in range(args.seeds):
            rng = np.random.default_rng(seed)
            x, _, y = data(rng, 4000)
            test, truth, classes = data(rng, SAMPLES)
            for net in networks().values():
                model = loaded(trained(net, x, y, seed), x)
                scores = model.outputs(test)["scores"]
                accuracies.append(float((scores.argmax(axis=1) == classes).mean()))
                for label, (method, options) in METHODS.items():
                    targets = classes if kind == "signal" else np.ones(SAMPLES, np.int64)
                    one = model.explain(test, target=targets, method=method, **options).relevance.astype(np.float64)
                    if kind == "vector":  # the planted score is the difference of both classes
                        one = one - model.explain(test, target=1 - targets, method=method, **options).relevance
                    for key, value in judge(one, truth).items():
                        rows.setdefault(label, {}).setdefault(key, []).append(value)
        found[kind] = {
            "networks": list(networks()), "seeds": args.seeds, "accuracy": round(float(np.mean(accuracies)), 3),
            "methods": {m: {k: round(float(np.mean(v)), 3) for k, v in keys.items()} for m, keys in rows.items()},
        }  # fmt: skip
        print(f"{kind}  accuracy {found[kind]['accuracy']}")
        for label, keys in found[kind]["methods"].items():
            print(f"  {label:20s}" + "   ".join(f"{key} {value:.3f}" for key, value in keys.items()))
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
