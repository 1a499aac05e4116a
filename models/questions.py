"""Train and export questions.onnx: a small encoder that answers which colour the thing has that a question names.

Run `python models/questions.py`. Training takes some minutes on one processor core; torch is needed only here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
FILE = HERE / "questions.onnx"
COLOURS = ("red", "blue", "green", "white", "black", "yellow")
THINGS = tuple("ball box cup door lamp chair book hat boat stone kite shoe".split())
BETWEEN = tuple("today still very quite now here".split())
WORDS = ("[PAD]", "[CLS]", "?", ".", "the", "is", *BETWEEN, *COLOURS, *THINGS)
LENGTH, PAD = 32, 0
HELD_OUT = 1_000_000
"""Seeds from here on are never trained on."""

_ID = {word: n for n, word in enumerate(WORDS)}
_WIDTH, _HEADS, _LAYERS, _STEPS, _BATCH, _RATE = 32, 4, 2, 2500, 256, 2e-3

Ids = NDArray[np.int64]


def sentence(seed: int) -> tuple[list[str], int, int]:
    """Write text number `seed`: its words, the index of its colour, and the place of the word that answers.

    `[CLS] cup ? the ball is red . the cup is still blue . …`: two to four things, each of its own colour. Equal seeds
    give equal texts.
    """
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 5))
    things = rng.choice(len(THINGS), count, replace=False)
    colours = rng.choice(len(COLOURS), count, replace=False)
    asked = int(rng.integers(count))
    words, answer = ["[CLS]", THINGS[things[asked]], "?"], 0
    for n in range(count):
        words += ["the", THINGS[things[n]], "is"]
        if rng.random() < 0.4:
            words.append(BETWEEN[rng.integers(len(BETWEEN))])
        answer = len(words) if n == asked else answer
        words += [COLOURS[colours[n]], "."]
    return words, int(colours[asked]), answer


def ids(words: list[str]) -> Ids:
    """Return the ids of words, padded to the length of the input."""
    found = np.full(LENGTH, PAD, np.int64)
    found[: len(words)] = [_ID[word] for word in words]
    return found


def texts(seeds: range) -> tuple[Ids, Ids, Ids]:
    """Return ids [N, L], classes [N] and the places of the answers [N] of several texts."""
    made = [sentence(seed) for seed in seeds]
    return np.stack([ids(m[0]) for m in made]), *(np.array([m[i] for m in made], np.int64) for i in (1, 2))  # type: ignore[return-value]


def network() -> Any:
    """Return the encoder: embeddings, positions, two layers of masked attention, and a head on the first token."""
    import torch
    from torch import nn

    class Layer(nn.Module):
        """Attention and a network of two dense layers, each behind a normalisation and beside a shortcut."""

        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)
            self.query, self.key, self.value, self.out = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))
            self.up, self.down = nn.Linear(_WIDTH, 2 * _WIDTH), nn.Linear(2 * _WIDTH, _WIDTH)

        def forward(self, x: Any, mask: Any) -> Any:
            n, length, width = x.shape
            y = self.norm1(x)
            q, k, v = (
                map(y).reshape(n, length, _HEADS, width // _HEADS).transpose(1, 2)
                for map in (self.query, self.key, self.value)
            )
            weights = torch.softmax(q @ k.transpose(2, 3) * (width // _HEADS) ** -0.5 + mask, -1)
            x = x + self.out((weights @ v).transpose(1, 2).reshape(n, length, width))
            return x + self.down(torch.nn.functional.gelu(self.up(self.norm2(x))))

    class Encoder(nn.Module):
        """From ids to a score for each colour; padding is masked by minus infinity."""

        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(len(WORDS), _WIDTH)
            self.positions = nn.Parameter(torch.randn(LENGTH, _WIDTH) * 0.3)
            self.layers = nn.ModuleList(Layer() for _ in range(_LAYERS))
            self.norm, self.head = nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, len(COLOURS))

        def forward(self, ids: Any) -> Any:
            mask = torch.where(ids != PAD, 0.0, float("-inf"))[:, None, None, :]
            x = self.words(ids) + self.positions
            for layer in self.layers:
                x = layer(x, mask)
            return self.head(self.norm(x[:, 0]))

    torch.manual_seed(1)
    return Encoder()


def main() -> None:
    """Train, export and measure."""
    import torch
    from finish import logits, record
    from finish import finish as finished

    torch.set_num_threads(1)
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS)
    for step in range(_STEPS):
        x, y, _ = texts(range(step * _BATCH, (step + 1) * _BATCH))
        loss = torch.nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 250 == 249:
            print(step + 1, float(loss), flush=True)
    net.eval()
    x, y, _ = texts(range(HELD_OUT, HELD_OUT + 2000))
    torch.onnx.export(
        net, torch.from_numpy(x[:2]), str(FILE), dynamo=False, opset_version=17, input_names=["ids"],
        output_names=["logits"], dynamic_axes={"ids": {0: "batch"}, "logits": {0: "batch"}},
    )  # fmt: skip
    finished(FILE, list(WORDS), "onnxlrp.tokens")
    scores = logits(FILE, x)
    with torch.no_grad():
        own = net(torch.from_numpy(x)).numpy()
    record(
        "questions",
        held_out_accuracy=float((scores.argmax(1) == y).mean()),
        held_out_texts=len(x),
        largest_difference_torch_onnxruntime=float(np.abs(scores - own).max()),
        bytes=FILE.stat().st_size,
    )


if __name__ == "__main__":
    main()
