"""Recurrent networks as PyTorch exports them, small, with its own scores and gradients, for test_recurrent.py.

    pip install -e '.[cpu,zoo]' && PYTHONPATH=tests python -m zoo.recurrent

Writes `recurrent_files/NAME.onnx` and `NAME.npz`: x, lengths where there are any, y, and the gradient of class 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
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

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(4, 5, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(10, 3)

    def forward(self, x: Any, lengths: Any) -> Any:
        packed, _ = self.rnn(pack_padded_sequence(x, lengths, batch_first=True))
        return self.head(pad_packed_sequence(packed, batch_first=True)[0].mean(1))


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
}


def write(name: str) -> None:
    make, dynamo = MODELS[name]
    torch.manual_seed(0)
    model, x = make().eval(), torch.randn(3, 7, 4)
    inputs = {"x": x} | ({"lengths": torch.tensor([7, 5, 2])} if isinstance(model, Packed) else {})
    settings: dict[str, Any] = {"input_names": list(inputs), "output_names": ["y"]}
    if dynamo:
        batch = torch.export.Dim("N", min=1, max=1024)
        settings |= {"dynamo": True, "dynamic_shapes": ({0: batch},), "external_data": False, "verbose": False}
    else:
        axes = {"x": {0: "N", 1: "steps"}, "lengths": {0: "N"}, "y": {0: "N"}}
        settings |= {"dynamo": False, "opset_version": 17, "dynamic_axes": {k: axes[k] for k in (*inputs, "y")}}
    torch.onnx.export(model, tuple(inputs.values()), str(HERE / f"{name}.onnx"), **settings)
    leaf = x.clone().requires_grad_()
    y = model(leaf, *list(inputs.values())[1:])
    (slope,) = torch.autograd.grad(y[:, 1].sum(), leaf)
    arrays = {key: value.numpy() for key, value in inputs.items()}
    np.savez_compressed(HERE / f"{name}.npz", y=y.detach().numpy(), gradient=slope.numpy(), **arrays)


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for each in MODELS:
        write(each)
