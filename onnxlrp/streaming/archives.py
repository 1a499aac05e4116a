"""Tar archives of samples, such as the shards of a WebDataset: their members are read where they lie."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError, NothingToDo
from ..files import AGAIN, check, reason
from ..preprocessing import images
from ..preprocessing.samples import TEXTS, Encoded

if TYPE_CHECKING:
    import tarfile

SUFFIX = ".tar"


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        archive: The archive.
        name: Its name there.
        offset: Where its bytes begin.
        length: The number of its bytes.
    """

    archive: Path
    name: str
    offset: int
    length: int

    def __str__(self) -> str:
        return f"{self.archive}:{self.name}"

    @property
    def stem(self) -> str:
        """Its name without the suffix, with the folders before it."""
        parts = [part for part in PurePosixPath(self.name).with_suffix("").parts if part not in ("/", "..", ".")]
        return "/".join(parts)

    def data(self) -> bytes:
        """Return its bytes. Raises InputError."""
        try:
            with self.archive.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.length)
        except OSError as error:
            raise InputError(f"{self}: cannot be read ({reason(error)})", "check the path") from None
        if len(data) < self.length:
            raise InputError(f"{self}: the archive is cut", AGAIN)
        return data

    def encoded(self) -> Encoded:
        """Return its bytes as what `Model.read` takes. Raises InputError."""
        return Encoded(self.data(), self.name, self.stem, str(self))


def is_archive(path: str | Path) -> bool:
    """Return whether a file is a tar archive by its suffix."""
    return Path(path).suffix.lower() == SUFFIX


def _has(one: tarfile.TarInfo, suffixes: Container[str]) -> bool:
    name = PurePosixPath(one.name)
    is_sample = name.suffix.lower() in suffixes and not name.name.startswith(".")
    return is_sample and one.isreg() and not one.issparse()


def members(path: Path) -> list[Member]:
    """Return the pictures and `.npy` files of an archive, in its order; of one without any its `.txt` files.

    Args:
        path: An archive that is not compressed, so that each member can be read alone.

    Raises:
        InputError: The file is missing, damaged, compressed, or no archive.
        NothingToDo: It holds no picture, no array and no text.
    """
    import tarfile

    check(path)
    try:
        with tarfile.open(path, "r:") as archive:
            inside = list(archive)
    except tarfile.TarError as error:
        fix = "give a .tar file that is not compressed: gunzip, or tar --create --file NAME.tar FOLDER"
        raise InputError(f"{path}: cannot be read as a tar archive ({reason(error)})", fix) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})", "check the path") from None
    # A text beside pictures is their caption, as in the shards of a WebDataset.
    kept = [one for one in inside if _has(one, images.SUFFIXES)] or [one for one in inside if _has(one, TEXTS)]
    if not kept:
        raise NothingToDo(f"{path}: holds neither pictures nor .npy nor .txt files", "give another archive")
    return [Member(path, one.name, one.offset_data, one.size) for one in kept]
