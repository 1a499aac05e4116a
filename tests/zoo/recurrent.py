"""Recurrent networks as PyTorch exports them, small, with its own scores and gradients, for test_recurrent.py.

    pip install -e '.[cpu,zoo]' && PYTHONPATH=tests python -m zoo.recurrent [NAME …]

Writes `recurrent_files/NAME.onnx` and `NAME.npz`: x, other inputs where there are any, y, and the gradient of class 1,
as the file has them: the batch may be on axis 1.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._higher_order_ops.scan import scan
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HERE = Path(__file__).parent / "recurrent_files"


class Last(nn.Module):
    """The last step of a layer, or the last states of both directions."""

    def __init__(self, kind: str, states: bool = False, **options: Any) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(4, 5, batch_first=True, **options)
        self.head = nn.Linear(10 if options.get("bidirectional") else 5, 3)
        self.states = states

    def forward(self, x: Any) -> Any:
        y, h = self.rnn(x)
        if not self.states:
            return self.head(y[:, -1])
        h = h[0] if isinstance(h, tuple) else h
        return self.head(torch.cat([h[-2], h[-1]], 1))


class Packed(nn.Module):
    """Sequences of several lengths, in both directions and two layers."""

    others = ("lengths",)

    def __init__(self, kind: str, sort: bool = False) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(4, 5, 2, batch_first=True, bidirectional=True)
        self.head, self.sort = nn.Linear(10, 3), sort

    def forward(self, x: Any, lengths: Any) -> Any:
        packed, _ = self.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=not self.sort))
        return self.head(pad_packed_sequence(packed, batch_first=True)[0].mean(1))


class Given(nn.Module):
    """Initial states that are inputs, [layers, N, width]."""

    others = ("h", "c")

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True), nn.Linear(10, 3)

    def forward(self, x: Any, h: Any, c: Any) -> Any:
        return self.head(self.rnn(x, (h, c))[0].mean(1))


class StepsFirst(nn.Module):
    """Steps on axis 0, the batch on axis 1, of the input and of the output."""

    steps_first = True

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(4, 5), nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.rnn(x)[0])


class AtLength(nn.Module):
    """The last step that a sequence has, by gather or by indices."""

    others = ("lengths",)

    def __init__(self, gather: bool) -> None:
        super().__init__()
        self.rnn, self.head, self.gather = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3), gather

    def forward(self, x: Any, lengths: Any) -> Any:
        y, _ = self.rnn(x)
        if self.gather:
            return self.head(y.gather(1, (lengths - 1).view(-1, 1, 1).expand(-1, 1, 5))[:, 0])
        return self.head(y[torch.arange(x.shape[0]), lengths - 1])


class ByHand(nn.Module):
    """Cells written step by step."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.cell, self.head = getattr(nn, kind)(4, 5), nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        h = torch.zeros(x.shape[0], 5)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return self.head(h)


class Scanned(nn.Module):
    """A cell of torch's scan."""

    def __init__(self) -> None:
        super().__init__()
        self.i, self.h, self.head = nn.Linear(4, 20), nn.Linear(5, 20), nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            h, c = carry
            i, f, g, o = (self.i(x) + self.h(h)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            return (h, c), h.clone()

        zero = x.new_zeros(x.shape[0], 5)
        return self.head(scan(step, (zero, zero.clone()), x.transpose(0, 1))[1].mean(0))


class Scripted(nn.Module):
    """A cell in a loop that stays one: torch.jit.script."""

    script = True

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(4, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.size(0), 5)
        c = torch.zeros(x.size(0), 5)
        for t in range(x.size(1)):
            h, c = self.cell(x[:, t], (h, c))
        return self.head(h)


class Sound(nn.Module):
    """A convolution in time before the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rnn = nn.Conv1d(4, 6, 3, padding=1), nn.LSTM(6, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.rnn(torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2))[0][:, -1])


MODELS: dict[str, tuple[Any, bool]] = {  # name → (module, by the dynamo exporter)
    "lstm-dynamo": (lambda: Last("LSTM", states=True, bidirectional=True, num_layers=2), True),
    "lstm-packed": (lambda: Packed("LSTM"), False),
    "lstm-sound": (Sound, False),
    "gru-dynamo": (lambda: Last("GRU"), True),
    "gru-packed": (lambda: Packed("GRU"), False),
    "rnn": (lambda: Last("RNN", states=True, bidirectional=True), False),
    "rnn-steps": (lambda: Last("RNN"), True),  # written step by step
    "gru-by-hand": (lambda: ByHand("GRUCell"), True),
    "gru-unsorted": (lambda: Packed("GRU", sort=True), False),
    "gru-steps-first": (StepsFirst, False),
    "lstm-given": (Given, False),
    "lstm-at-length": (lambda: AtLength(gather=True), True),
    "lstm-at-length-by-index": (lambda: AtLength(gather=False), False),
    "lstm-scan": (Scanned, True),
    "lstm-script": (Scripted, False),
    "lstm-at-length-dynamo": (lambda: AtLength(gather=False), True),
}


def write(name: str) -> None:
    make, dynamo = MODELS[name]
    torch.manual_seed(0)
    model, x = make().eval(), torch.randn(3, 7, 4)
    lengths = torch.tensor([7, 5, 2] if name.endswith("packed") else [5, 7, 2])
    possible = {"lengths": lengths, "h": torch.randn(4, 3, 5), "c": torch.randn(4, 3, 5)}
    axes: dict[str, dict[int, str]] = {"x": {0: "N", 1: "steps"}, "lengths": {0: "N"}, "h": {1: "N"}, "c": {1: "N"}}
    axes["y"] = {0: "N"}
    if getattr(model, "script", False):
        model, axes["x"] = torch.jit.script(model), {0: "N"}
    if getattr(model, "steps_first", False):
        x, axes["x"], axes["y"] = x.transpose(0, 1).contiguous(), {0: "steps", 1: "N"}, {0: "steps", 1: "N"}
    inputs = {"x": x} | {key: possible[key] for key in getattr(model, "others", ())}
    settings: dict[str, Any] = {"input_names": list(inputs), "output_names": ["y"]}
    if dynamo:
        batch = torch.export.Dim("N", min=1, max=1024)
        settings |= {"dynamo": True, "dynamic_shapes": ({0: batch},) * len(inputs), "external_data": False}
        settings |= {"verbose": False}
    else:
        settings |= {"dynamo": False, "opset_version": 17, "dynamic_axes": {k: axes[k] for k in (*inputs, "y")}}
    torch.onnx.export(model, tuple(inputs.values()), str(HERE / f"{name}.onnx"), **settings)
    leaf = x.clone().requires_grad_()
    y = model(leaf, *list(inputs.values())[1:])
    score = y[-1, :, 1] if getattr(model, "steps_first", False) else y[:, 1]
    (slope,) = torch.autograd.grad(score.sum(), leaf)
    arrays = {key: value.numpy() for key, value in inputs.items()}
    np.savez_compressed(HERE / f"{name}.npz", y=y.detach().numpy(), gradient=slope.numpy(), **arrays)


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for each in sys.argv[1:] or MODELS:
        write(each)
