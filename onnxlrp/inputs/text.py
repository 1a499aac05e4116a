"""Texts as token ids: vocabularies and tokenizers, from the user, the model's metadata, or files beside the model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError, did_you_mean
from ..files import read_text, reason

METADATA = ("onnxlrp.tokens", "feature_names")  # the words by id, as a JSON list
BESIDE = ("tokenizer.json", "vocab.txt", "vocab.json")
PADDINGS = ("[PAD]", "<pad>", "<PAD>", "<|pad|>", "<blank>", "<|endoftext|>", "</s>")
UNKNOWN = ("[UNK]", "<unk>", "<UNK>", "<|unk|>", "[OOV]", "<oov>", "<OOV>")
_LONGEST = 64 << 20
_INSTALL = "pip install tokenizers"
_CHUNK = re.compile(r"\w+|[^\w\s]")
_SPECIAL = re.compile(r"\[\w+\]|<\|?/?[\w ]+\|?>")
_MARKS = {"▁": " "}  # what sentencepiece writes for a space


class Text(str):
    """A text to explain, where a plain `str` is the path of a file."""

    __slots__ = ()


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words of token ids, and how a text becomes ids.

    Attributes:
        words: The word of each id.
        source: Where they come from, such as "tokenizer.json".
        file: The `tokenizer.json` that the package tokenizers reads; None for a list of words.
    """

    words: Sequence[str]
    source: str
    file: Path | None = None
    ids: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", {word: n for n, word in reversed([*enumerate(self.words)])})

    @cached_property
    def shown(self) -> tuple[str, ...]:
        """The words as they are drawn: bytes and marks of spaces of subwords as what they stand for."""
        if sum(word.startswith("Ġ") for word in self.words) > 1:  # GPT-2's letters for bytes
            return tuple(_of_bytes(word) for word in self.words)
        return tuple("".join(_MARKS.get(letter, letter) for letter in word) for word in self.words)

    @property
    def padding(self) -> int | None:
        """The id of the word that fills up texts; None where no word is called so."""
        return next((self.ids[word] for word in PADDINGS if word in self.ids), None)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text.

        A tokenizer adds its special tokens. A list of words splits at spaces and punctuation, then into the longest
        pieces that it has, or into letters where all its words are letters; special tokens stand in the text.

        Args:
            text: The text.

        Raises:
            UsageError: The tokenizer needs a package that is not installed.
            InputError: A word is not in the list, which has none for unknown words.
        """
        if self.file is not None:
            return list(map(int, _tokenizer(self.file).encode(text, add_special_tokens=True).ids))
        if self.is_letters:
            return [n for letter in self._specials_whole(text) for n in self._pieces(letter)]
        found: list[int] = []
        for chunk in text.split():
            whole = self._whole(chunk)
            parts = [chunk] if whole is not None else _parts(chunk)
            found += [n for part in parts for n in self._pieces(part)]
        return found

    def fit(self, ids: Sequence[int], length: int, what: str) -> list[int]:
        """Return ids filled up to a length with the padding.

        Args:
            ids: The ids.
            length: The length.
            what: The name of the text in messages.

        Raises:
            InputError: There are more ids, or fewer and no word is a padding.
        """
        if len(ids) > length:
            raise InputError(
                f"{what}: {len(ids)} tokens, the model takes {length}", "shorten it, or export with an open length"
            )
        if len(ids) < length and self.padding is None:
            raise InputError(
                f"{what}: {len(ids)} tokens, the model takes {length}, and no word of {self.source} is a padding",
                f"give {length} tokens, or an .npy file of ids",
            )
        return [*ids, *[self.padding or 0] * (length - len(ids))]

    @cached_property
    def is_letters(self) -> bool:
        """Whether every word but special tokens is a single character, so that texts are read one by one."""
        plain = [word for word in self.words if not _SPECIAL.fullmatch(word)]
        return self.file is None and bool(plain) and all(len(word) <= 1 for word in plain)

    @property
    def has_lines(self) -> bool:
        """Whether a text has lines: the end of a line is a character of the list, so that a file is one text."""
        return self.is_letters and "\n" in self.ids

    def characters(self, text: str) -> list[int]:
        """Return an id for each character of a text, special tokens in it not read as such.

        Args:
            text: The text.

        Raises:
            InputError: A character is not in the list, which has none for unknown ones.
        """
        return [self._pieces(letter)[0] for letter in text]

    def unknown(self, text: str) -> list[str]:
        """Return the characters of a text, each once, that the list has no id for."""
        return sorted({letter for letter in text if self._whole(letter) is None})

    def _specials_whole(self, text: str) -> list[str]:
        """The letters of a text, the special tokens that the list has as one each."""
        return [
            part
            for piece in re.split(f"({_SPECIAL.pattern})", text)
            for part in ([piece] if piece in self.ids and _SPECIAL.fullmatch(piece) else piece)
        ]

    def _whole(self, word: str) -> int | None:
        return next((self.ids[form] for form in (word, word.lower()) if form in self.ids), None)

    def _pieces(self, word: str) -> list[int]:
        """The ids of a word: its own, those of its longest pieces, or that of unknown words."""
        if (whole := self._whole(word)) is not None:
            return [whole]
        found: list[int] = []
        rest = word
        while rest and any(piece.startswith("##") for piece in self.ids):
            mark = "##" if found else ""
            fits = ((n, self._whole(mark + rest[:n])) for n in range(len(rest), 0, -1))
            cut = next(((n, token) for n, token in fits if token is not None), None)
            if cut is None:
                break
            found.append(cut[1])
            rest = rest[cut[0] :]
        if found and not rest:
            return found
        unknown = next((self.ids[form] for form in UNKNOWN if form in self.ids), None)
        if unknown is None:
            raise InputError(
                f'"{word}" is no word of {self.source}, which has none for unknown words',
                did_you_mean(word, [shown for shown in self.words if len(shown) > 1]),
            )
        return [unknown]


def find(said: Any, model: Path | None, metadata: Mapping[str, str]) -> Vocabulary | None:
    """Find the vocabulary of a model.

    Args:
        said: What the user states: the path of a `tokenizer.json` or of a list of words, or words.
        model: The model's file: a tokenizer may lie in its folder, or one level up.
        metadata: The model's metadata.

    Raises:
        InputError: A file that the user names cannot be read.
    """
    if said is not None:
        return _read(Path(said), str(said)) if isinstance(said, str | Path) else Vocabulary([*map(str, said)], "words")
    for key in METADATA:
        if (words := _listed(metadata.get(key, ""))) is not None:
            return Vocabulary(words, f"{key} in the metadata")
    folders = [] if model is None else [model.absolute().parent, model.absolute().parent.parent]
    for folder in folders:
        for name in BESIDE:
            if (path := folder / name).is_file():
                try:
                    return _read(path, name)
                except InputError:  # a file of another tool, which nobody named
                    continue
    return None


def _read(path: Path, name: str) -> Vocabulary:
    fix = "give a tokenizer.json, a file with a word on each line, or JSON: a list, or words with their ids"
    found = parsed(path, "tokens", fix)
    whole = isinstance(found, Mapping) and isinstance(found.get("model"), Mapping)
    words = _of_tokenizer(found) if whole else by_id(found)
    if not words:
        raise InputError(f"{path}: holds no tokens", fix)
    return Vocabulary(words, name, path if whole else None)


def _of_tokenizer(content: Mapping[str, Any]) -> list[str] | None:
    """The words of a tokenizer.json, by id, those that were added among them."""
    vocabulary = content["model"].get("vocab")
    if isinstance(vocabulary, list):  # pieces with their weights
        if not all(isinstance(pair, list) and pair and isinstance(pair[0], str) for pair in vocabulary):
            return None
        vocabulary = {pair[0]: n for n, pair in enumerate(vocabulary)}
    added = content.get("added_tokens") or []
    if not isinstance(vocabulary, Mapping) or not isinstance(added, list):
        return None
    more = {
        token["content"]: token["id"] for token in added if isinstance(token, Mapping) and {"content", "id"} <= {*token}
    }
    return by_id({**vocabulary, **more})


def parsed(path: Path, what: str, fix: str) -> Any:
    """Return what a file of words holds: JSON, or of any other file its lines.

    Args:
        path: The file.
        what: What the words are, for messages.
        fix: What to give instead.

    Raises:
        InputError: The file is missing, or cannot be read.
    """
    try:
        content = read_text(path, _LONGEST)
        found: Any = json.loads(content) if path.suffix.lower() == ".json" else content.rstrip("\n").split("\n")
        return found
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of {what}", fix) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as {what} ({reason(error)})", fix) from None


def by_id(content: Any) -> list[str] | None:
    """Return words by id, of a list or of a mapping from words to ids; None for other contents."""
    if isinstance(content, list) and all(isinstance(word, str) for word in content):
        return [word.rstrip("\r") for word in content]
    if not isinstance(content, Mapping) or not all(isinstance(n, int) and n >= 0 for n in content.values()):
        return None
    words = {n: word for word, n in content.items()}
    return [words.get(n, str(n)) for n in range(min(max(words, default=-1) + 1, 10 * len(words)))]


def _listed(text: str) -> list[str] | None:
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else None
    except (ValueError, RecursionError):
        return None
    return by_id(found)


def _tokenizer(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise UsageError(
            f"{path.name} needs the package tokenizers to read texts", f"{_INSTALL}, or give ids"
        ) from None
    try:
        made = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises its own kinds
        raise InputError(
            f"{path}: tokenizers cannot read it ({error})", "give the tokenizer.json of the model"
        ) from None
    made.no_padding()
    made.no_truncation()
    return made


def _parts(chunk: str) -> list[str]:
    """Words and marks of punctuation, special tokens as one each."""
    pieces = re.split(f"({_SPECIAL.pattern})", chunk)
    return [part for piece in pieces for part in ([piece] if _SPECIAL.fullmatch(piece) else _CHUNK.findall(piece))]


def _of_bytes(word: str) -> str:
    """A word in GPT-2's letters for bytes as the text of these bytes."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [n for n in range(256) if n not in plain]
    table = {chr(n): n for n in plain} | {chr(256 + k): n for k, n in enumerate(others)}
    if not all(letter in table for letter in word):
        return word
    return bytes(table[letter] for letter in word).decode("utf-8", "replace")
