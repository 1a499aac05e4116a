"""Train and export questions.onnx: a small encoder that answers which colour the thing has that a question names.

Run `python models/questions.py`. Training takes some minutes on one processor core; torch is needed only here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
FILE = HERE / "questions.onnx"
COLOURS = ("red", "blue", "green", "white", "black", "yellow")
THINGS = ("ball", "box", "cup", "door", "lamp", "chair", "book", "hat", "boat", "stone", "kite", "shoe")
BETWEEN = ("today", "now", "here", "still")
WORDS = ("[PAD]", "?", ".", "the", "is", *BETWEEN, *COLOURS, *THINGS)
LENGTH, PAD = 24, 0
HELD_OUT = 1_000_000
"""Seeds from here on are never trained on."""

_ID = {word: n for n, word in enumerate(WORDS)}
_WIDTH, _HEADS, _LAYERS, _STEPS, _BATCH, _RATE, _TEXTS = 32, 4, 2, 2500, 128, 3e-3, 40_000

Ids = NDArray[np.int64]


def sentence(seed: int) -> tuple[list[str], int, int]:
    """Write text number `seed`: its words, the index of its colour, and the place of the word that answers.

    `cup ? the ball is red . now the cup is blue . …`: two to four things, each of its own colour. Equal seeds give
    equal texts.
    """
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 5))
    things = rng.choice(len(THINGS), count, replace=False)
    colours = rng.choice(len(COLOURS), count, replace=False)
    asked = int(rng.integers(count))
    words, answer = [THINGS[things[asked]], "?"], 0
    for n in range(count):
        if len(words) + 5 * (count - n) < LENGTH and rng.random() < 0.4:
            words.append(BETWEEN[rng.integers(len(BETWEEN))])
        words += ["the", THINGS[things[n]], "is"]
        answer = len(words) if n == asked else answer
        words += [COLOURS[colours[n]], "."]
    return words, int(colours[asked]), answer


def ids(words: list[str]) -> Ids:
    """Return the ids of words, padded to the length of the input."""
    found = np.full(LENGTH, PAD, np.int64)
    found[: len(words)] = [_ID[word] for word in words]
    return found


def answers(x: Ids) -> Ids:
    """Return the colour that each word of texts [N, L] names by itself or for a thing, -100 for other words."""
    found = np.full(x.shape, -100, np.int64)
    colours, things = (np.array([_ID[word] for word in words]) for words in (COLOURS, THINGS))
    for row, text in zip(found, x, strict=True):
        said = np.flatnonzero(np.isin(text, colours))
        known = dict(zip(text[said - 2], text[said] - colours[0], strict=True))
        for place in np.flatnonzero(np.isin(text, things)):
            row[place] = known[text[place]]
    return found


def texts(seeds: range) -> tuple[Ids, Ids, Ids]:
    """Return ids [N, L], classes [N] and the places of the answers [N] of several texts."""
    made = [sentence(seed) for seed in seeds]
    return np.stack([ids(m[0]) for m in made]), *(np.array([m[i] for m in made], np.int64) for i in (1, 2))  # type: ignore[return-value]


def network() -> Any:
    """Return the encoder: embeddings, positions, two layers of masked attention, and a head on the word that asks."""
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
        """From ids to a score for each colour; padding is masked."""

        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(len(WORDS), _WIDTH)
            rates = 10.0 ** (-2 * torch.arange(_WIDTH // 2) / (_WIDTH // 2))
            angles = torch.arange(LENGTH)[:, None] * rates * 1.5
            self.positions = nn.Parameter(torch.cat([angles.sin(), angles.cos()], 1) * 0.5)
            self.layers = nn.ModuleList(Layer() for _ in range(_LAYERS))
            self.norm, self.head = nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, len(COLOURS))

        def everywhere(self, ids: Any) -> Any:
            """Return scores at each word, as training asks for them."""
            mask = torch.where(ids != PAD, 0.0, torch.finfo(torch.float32).min)[:, None, None, :]
            x = self.words(ids) + self.positions
            for layer in self.layers:
                x = layer(x, mask)
            return self.head(self.norm(x))

        def forward(self, ids: Any) -> Any:
            return self.everywhere(ids)[:, 0]

    torch.manual_seed(1)
    return Encoder()


def main() -> None:
    """Train, export and measure. In training each word for a thing answers: layers then learn one after the other."""
    import onnxruntime as ort
    import torch
    from finish import finish, record

    torch.set_num_threads(1)
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS)
    x = texts(range(_TEXTS))[0]
    known, rng = [torch.from_numpy(array) for array in (x, answers(x))], np.random.default_rng(0)
    for step in range(_STEPS):
        rows = rng.integers(_TEXTS, size=_BATCH)
        loss = torch.nn.functional.cross_entropy(net.everywhere(known[0][rows]).flatten(0, 1), known[1][rows].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 250 == 249:
            print(step + 1, loss.item(), flush=True)
    net.eval()
    x, y, _ = texts(range(HELD_OUT, HELD_OUT + 2000))
    torch.onnx.export(
        net, torch.from_numpy(x[:2]), str(FILE), dynamo=False, opset_version=17, input_names=["ids"],
        output_names=["logits"], dynamic_axes={"ids": {0: "batch"}, "logits": {0: "batch"}},
    )  # fmt: skip
    finish(FILE, {"labels": list(COLOURS)}, tokens=list(WORDS))
    scores = ort.InferenceSession(FILE.read_bytes(), providers=["CPUExecutionProvider"]).run(None, {"ids": x})[0]
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
