"""Baselines: what the absence of a feature is, decided by the kind of input, the user's word, a row or a background."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UnsupportedError, UsageError
from ..inputs.text import Vocabulary
from ..preprocessing import feature_names, images, tables
from ..preprocessing.samples import TEXTS, arranged, opened
from .problem import Problem
from .registry import Array

AUTO = "auto"
_FILES = (".npy", *sorted(tables.SUFFIXES))
_OF_RANGE = ("black", "white", "grey", "noise")
PICTURES = ("black", "white", "grey", "mean", "blur", "noise")  # baselines of expected gradients


def baseline(problem: Problem, asked: str | Array, picture: str, seed: int = 0) -> tuple[str, Array]:
    """Return what a baseline is called in notes, and its values [N, …].

    Args:
        problem: The samples.
        asked: A word of `Problem.baseline`; "auto" is `picture` for pictures and zero for other inputs, whose features
            have no common range; or samples as of `background`: one, or several, whose mean is taken feature by
            feature.
        picture: The word for pictures. A hidden token becomes another: see `absent_token`.
        seed: The seed of noise.

    Raises:
        UsageError: There is no such baseline.
        InputError: A file or an array does not fit the input.
    """
    if not isinstance(asked, str) or asked.lower().endswith((*_FILES, *TEXTS)):
        name, rows = background(problem, asked)
        if problem.kind.name == "tokens" and problem.x.dtype.kind in "iu" and len(rows) > 1:
            raise UsageError(f"{name} has {len(rows)} rows of token ids, which have no mean", "give one row")
        mean = np.broadcast_to(_middle(problem, rows), problem.x.shape).copy()
        several = f"mean of {len(rows)} samples of {name}"
        several += ", of words the most frequent" * bool(problem.categories)
        return (name if len(rows) == 1 else several), mean
    if problem.absent is not None and not (asked == "zero" and problem.x.dtype.kind == "f"):
        return problem.absent.name, problem.absent.values
    word = (picture if problem.kind.is_image else "zero") if asked == AUTO else asked
    values = problem.baseline(word, np.random.default_rng(seed))
    own = problem.preprocessing is None and word in _OF_RANGE
    return f"{word} (by the sample's own range)" if own else word, values


def absent_token(asked: str, vocabulary: Vocabulary | None) -> tuple[str, int]:
    """Return what the token that stands for none is called in notes, and its id.

    Args:
        asked: A word of the vocabulary, such as "[MASK]", or an id; "auto" is the padding, or 0 where no word is one.
        vocabulary: The words of the ids; None where nothing says them.

    Raises:
        UsageError: No token is called so.
    """
    known = {} if vocabulary is None else vocabulary.ids
    if asked == AUTO or asked.lower().endswith(_FILES):
        padding = None if vocabulary is None else vocabulary.padding
        token = padding or 0
        why = "" if padding is not None else ", for no word is known to be a padding"
    elif asked in known:
        token, why = known[asked], ""
    elif asked == "zero":
        token, why = 0, ""
    elif asked.isascii() and asked.isdigit() and (vocabulary is None or int(asked) < len(vocabulary.words)):
        token, why = int(asked), ""
    else:
        some = [word for word in ("[PAD]", "<pad>", "[MASK]", "<mask>", "[UNK]", "<unk>") if word in known]
        raise UsageError(
            f'baseline "{asked}": no token is called so', f"give a token or its id: {', '.join([*some, '0'])}"
        )
    word = "" if vocabulary is None or token >= len(vocabulary.words) else f" ({vocabulary.words[token]})"
    return f"token {token}{word}{why}", token


def background(problem: Problem, asked: str | os.PathLike[str] | Array) -> tuple[str, Array]:
    """Return what background samples are called, and their values [M, …] in float64.

    Args:
        problem: The samples that they are the background of.
        asked: An array or an .npy file, of one sample or several, in the model's own layout; a table (.csv, .parquet)
            with a row for each, its columns found by the names that the model states, or else the table of the samples
            has; a .txt file with a text on each line, where the model counts words; or a folder of .npy files.

    Raises:
        UsageError: The word names no such file.
        InputError: It does not fit the input.
    """
    if not isinstance(asked, str | os.PathLike):
        name = "the given array"
        table = tables.of_array(asked) if problem.categories or hasattr(asked, "columns") else None
        if table is not None:
            return _of_table(problem, name, table)
        return name, _rows(problem, asked, f"background {name}")
    path = Path(asked)
    if path.is_dir():
        files = [file for file in images.listing(path) if file.suffix.lower() == ".npy"]
        if not files:
            raise UsageError(f'the folder "{asked}" holds no .npy files', "give a folder of them, or one file")
        return path.name, np.concatenate([background(problem, file)[1] for file in files])
    if tables.is_table(path):
        return _of_table(problem, path.name, tables.read(path))
    if path.suffix.lower() in TEXTS and problem.model.graph.text is not None:
        found = [problem.model.graph.text.read(item.content, item.origin)[0] for item in opened(path)]
        return path.name, _rows(problem, np.concatenate(found), f"background {path.name}")
    if path.suffix.lower() != ".npy":
        raise UsageError(
            f'"{asked}" is no .npy file, table or folder', "give samples in the model's own layout as one of them"
        )
    return path.name, _rows(problem, images.read_array(path, missing=True), f"background {path.name}")


def _of_table(problem: Problem, name: str, table: tables.Table) -> tuple[str, Array]:
    """What the rows of a table are called, and the rows, columns in the order of the samples, words as codes."""
    origin = f"background {name}"
    stated = feature_names.of_model(problem.model.graph.metadata)
    source = "feature_names in the model's metadata" if stated else "the samples' header"
    count = int(np.prod(problem.x.shape[1:]))
    table = arranged(table, stated or problem.columns or (), count, origin, source)[0]
    rows = _rows(problem, table.numbers(problem.categories).reshape(-1, *problem.x.shape[1:]), origin)
    count = sum(map(len, table.trimmed(problem.categories).values()))
    return name + f" ({count} of its words without the spaces around them)" * bool(count), rows


def _rows(problem: Problem, array: Any, origin: str) -> Array:
    """Background samples [M, …] of an array, their missing values as the model has them."""
    names = problem.columns if problem.kind.name == "vector" else None

    def decided(values: Array) -> Array:
        from ..graph.trees.missing import fill

        return fill(problem.model.graph, values, origin, names)[0]

    return images.batched(array, problem.x.shape[1:], "float64", origin, decided)


def _middle(problem: Problem, rows: Array) -> Array:
    """The mean of samples, feature by feature; of words the most frequent."""
    made = _mean(rows)
    for column in problem.categories:
        codes, counts = np.unique(rows.reshape(len(rows), -1)[:, column], return_counts=True)
        made.reshape(-1)[column] = codes[counts.argmax()]
    return made


def _mean(rows: Array) -> Array:
    """The mean of samples, feature by feature: of those that are there."""
    there = ~np.isnan(rows)
    count = there.sum(axis=0)
    return np.where(count > 0, np.where(there, rows, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def starts(problem: Problem, asked: str | Array, rng: np.random.Generator) -> tuple[str, Array]:
    """Return what the baselines of expected gradients are called, and their values [B, N, …].

    Args:
        problem: The samples.
        asked: A background as of `background`; "" for black, white, grey, mean, blur and noise of a picture, and zero
            for other inputs.
        rng: Draws the noise.
    """
    if not isinstance(asked, str) or asked:
        name, rows = background(problem, asked)
        stacked = np.broadcast_to(rows[:, None], (len(rows), *problem.x.shape))
        return f"{len(rows)} samples of {name}", stacked
    if problem.absent is not None:
        return problem.absent.name, problem.absent.values[None]
    if not problem.kind.is_image:
        return "zero", problem.baseline("zero")[None]
    return ", ".join(PICTURES), np.stack([problem.baseline(name, rng) for name in PICTURES])


def deviation(problem: Problem, sigma: float, asked: str | Array) -> tuple[str, Array]:
    """Return what noise is relative to, and its standard deviation, which broadcasts over [N, …].

    Args:
        problem: The samples.
        sigma: The share; of vectors without a background the deviation itself, for features have no common scale.
        asked: A background as of `background`, whose deviation of each feature is the scale; "" for none.
    """
    if not isinstance(asked, str) or asked:
        name, rows = background(problem, asked)
        if len(rows) < 2:
            raise UsageError(f"background {name} has one sample", "give several: noise is a share of their deviation")
        apart = np.nan_to_num(rows - _mean(rows))
        spread = np.sqrt((apart**2).sum(axis=0) / np.maximum((~np.isnan(rows)).sum(axis=0), 1))
        return f"{sigma:g} of each feature's deviation in {name}", problem.without_words(sigma * spread[None])
    kind, axes = problem.kind, tuple(range(1, problem.x.ndim))
    if kind.name == "tokens" and problem.x.dtype.kind == "f":
        return f"{sigma:g} of the range of the embeddings", sigma * _over(problem.x, problem.x, axes)
    if kind.name in ("vector", "tokens"):
        wide = problem.x.shape[1:] if problem.categories else (1,) * (problem.x.ndim - 1)
        return f"{sigma:g}, absolute", problem.without_words(np.full((1, *wide), sigma))
    if kind.is_image:
        low, high = (np.broadcast_to(bound, problem.x.shape) for bound in problem.bounds())
        return f"{sigma:g} of the range of the picture", sigma * _over(high, low, axes)
    along = tuple(1 + axis for axis in kind.spatial_axes)
    return f"{sigma:g} of the range of each channel", sigma * _over(problem.x, problem.x, along)


def steps(problem: Problem, share: float) -> Array:
    """Return a small step of every value, which broadcasts over [N, …]: what metrics and checks move samples by.

    Of a picture a share of the range of each channel's pixels; of channels of a signal or a volume, a share of their
    range in the sample; of a feature, a share of its deviation over the samples, or the share itself where one sample
    or equal samples have none (`deviation`).

    Args:
        problem: The samples.
        share: The share.

    Raises:
        UnsupportedError: The input is token ids, which have no values between them.
    """
    if problem.kind.name == "tokens":
        raise UnsupportedError(
            "token ids have no small steps: another number is another word", "measure without what moves the samples"
        )
    if problem.kind.is_image:
        low, high = problem.bounds()
        return np.asarray(share * (high - low))
    several = problem.kind.name == "vector" and bool(np.ptp(problem.x, axis=0).any())
    return np.asarray(deviation(problem, share, problem.x if several else "")[1])


def _over(high: Array, low: Array, axes: tuple[int, ...]) -> Any:
    """The range over some axes."""
    return high.max(axis=axes, keepdims=True).astype(np.float64) - low.min(axis=axes, keepdims=True)
