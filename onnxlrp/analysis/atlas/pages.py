"""The pages of an atlas: an overview, the units of each layer, the classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ... import files
from ...errors import UnsupportedError
from ...pages.markup import Markup, tag
from ...pages.shell import document, package_file
from ...streaming import rows
from . import overview, store
from .asked import Asked
from .atlas import AtlasData
from .build import Interrupted
from .crops import SIDE, Heated, Painter
from .notes import Concepts
from .source import Pictures
from .unit_section import UnitSections, worded

UNITS = 32  # of a page: a few megabytes
CLASSES = 50
_SHOWN = 5  # units of each layer, of a class
_OURS = re.compile(r"\d+-\d+\.html")

Told = Callable[..., bool]


@dataclass(eq=False)
class Pages:
    """Writes the pages.

    Attributes:
        atlas: The units.
        model: The model.
        source: The samples.
        rules: Gives the composite of heatmaps; told whether samples are pictures.
        asked: What was asked for.
        concepts: The concepts that units detect.
        prototypes: Of so many units of each layer a prototype is made.
        heated: Which units have heatmaps.
        refused: Why there are no heatmaps, known when the pages are written.
    """

    atlas: AtlasData
    model: Any
    source: Pictures
    rules: Callable[[bool], Any]
    asked: Asked
    concepts: Concepts | None = None
    prototypes: int = 0
    heated: Heated = field(init=False)
    refused: UnsupportedError | None = None
    _made: dict[tuple[int, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.heated = Heated.of(self.atlas, self.asked.heatmaps)

    def write(self, told: Told = lambda done, total, said="": True) -> list[Path]:
        """Draw the pictures and write the pages, the overview first in the result.

        Args:
            told: Called as told(done, of, words); returning False ends it.

        Raises:
            InputError: A sample cannot be read again, or a page not be written.
            UsageError: Concepts of another model.
            Interrupted: `told` returned False.
        """
        if self.concepts is not None:
            labels = [layer.label for layer in self.atlas.layers]
            self.concepts.check(self.atlas.about["identity"]["model"], labels)
        painter = Painter(self.atlas, self.model, self.source, self.rules)
        for done, total in painter.draw(self.heated):
            if not told(done, total):
                raise Interrupted
        self.refused = painter.refused
        self._draw_prototypes(told)
        folder = self.atlas.folder
        sections = UnitSections(self.atlas, painter.pieces, self.concepts, self._made, self._class_links("../"))
        written = []
        for path, text in (*self._unit_pages(sections), *self._class_pages()):
            written.append(files.replace(folder / path, text.encode()))
        _remove_others(folder, written)
        index = overview.page(
            self.atlas, self._unit_links(), self._class_links(""), self._errors(), self.heated.describe()
        )
        return [files.replace(folder / "index.html", index.encode()), *written]

    # -- units

    def _unit_links(self) -> list[list[tuple[str, int, int]]]:
        """For each layer its pages: address, first and last channel."""
        return [
            [
                (f"units/{n:02d}-{p}.html", first, min(first + UNITS, layer.unit.channels) - 1)
                for p, first in enumerate(range(0, layer.unit.channels, UNITS))
            ]
            for n, layer in enumerate(self.atlas.layers)
        ]

    def _unit_pages(self, sections: UnitSections) -> Iterator[tuple[str, str]]:
        for n, (layer, links) in enumerate(zip(self.atlas.layers, self._unit_links(), strict=True)):
            for path, first, last in links:
                title = f"{layer.label}, units {first} to {last}"
                others = [
                    tag("li", tag("a", f"{a}–{b}", href=f"../{other}", aria_current="page" if other == path else None))
                    for other, a, b in links
                ]
                here = [tag("li", tag("a", c, href=f"#u{c}")) for c in range(first, last + 1)]
                nav = [
                    tag("nav", tag("a", "Overview", href="../index.html"), aria_label="atlas"),
                    tag("nav", tag("ul", others, class_="jump"), aria_label="pages of the layer") if others[1:] else [],
                    tag("nav", tag("ul", here, class_="jump"), aria_label="units of this page"),
                ]
                header = tag(
                    "header", tag("h1", title), tag("p", overview.sees(layer, self.atlas), class_="quiet"), nav
                )
                body = [sections.section(n, channel) for channel in range(first, last + 1)]
                yield path, document(f"{title}: onnxlrp atlas", header, body, style())

    # -- classes

    def _class_links(self, up: str) -> dict[int, str]:
        return {one: f"{up}classes/0-{n // CLASSES}.html#c{one}" for n, one in enumerate(self.atlas.classes.ids)}

    def _class_pages(self) -> Iterator[tuple[str, str]]:
        classes = self.atlas.classes
        for start in range(0, len(classes.ids), CLASSES):
            rows = range(start, min(start + CLASSES, len(classes.ids)))
            here = [tag("li", tag("a", self.atlas.label(classes.ids[n]), href=f"#c{classes.ids[n]}")) for n in rows]
            nav = [
                tag("nav", tag("a", "Overview", href="../index.html"), aria_label="atlas"),
                tag("nav", tag("ul", here, class_="jump"), aria_label="classes of this page"),
            ]
            header = tag("header", tag("h1", "Units by class"), nav)
            body = [self._class_section(n) for n in rows]
            yield f"classes/0-{start // CLASSES}.html", document("Classes: onnxlrp atlas", header, body, style())

    def _class_section(self, row: int) -> Markup:
        one, count = self.atlas.classes.ids[row], self.atlas.classes.counts[row]
        by = "relevance" if "relevance" in self.asked.by else "activation"
        lines = []
        for n, (layer, links) in enumerate(zip(self.atlas.layers, self._unit_links(), strict=True)):
            means = self.atlas.classes.means(f"{by}/{n}")[row]
            best = [int(c) for c in np.argsort(-means, kind="stable")[:_SHOWN] if means[c] > 0]
            units = [
                tag("li", tag("a", f"{c}", href=f"../{links[c // UNITS][0]}#u{c}"), f" {worded(by, float(means[c]))}")
                for c in best
            ]
            lines.append(tag("tr", tag("th", layer.label, scope="row"), tag("td", tag("ul", units, class_="jump"))))
        head = tag("thead", tag("tr", tag("th", "layer", scope="col"), tag("th", f"units by mean {by}", scope="col")))
        label = self.atlas.label(one)
        caption = tag("caption", f"{count} samples; the units that matter most in each layer")
        table = tag("div", tag("table", caption, head, tag("tbody", lines)), class_="scroll", tabindex=0, role="region",
                    aria_label=f"units of {label}")  # fmt: skip
        return tag("section", tag("h2", f"{label} (class {one})"), table, class_="unit", id=f"c{one}")

    # -- the rest

    def _errors(self) -> list[dict[str, Any]]:
        if not self.atlas.about["rejected"]:
            return []
        return [row for row in rows.rows(self.atlas.folder / store.ROWS) if "error" in row]

    def _draw_prototypes(self, told: Told) -> None:
        layers = range(len(self.atlas.layers))
        wanted = [(n, channel) for n in layers for channel in self.atlas.chief(n, self.prototypes)]
        for done, (n, channel) in enumerate(wanted):
            word = f"{self.atlas.layers[n].label}:{channel}"
            if not told(done, len(wanted), f"prototype of {word}"):
                raise Interrupted
            found = self.model.prototype(unit=word)
            if not found.dead.any():
                from ...pages.pictures import thumbnail

                self._made[n, channel] = str(thumbnail(found.images[0].convert("RGB"), 2 * SIDE))


def style() -> Markup:
    """Return the style sheet: that of all pages of this package, and what an atlas needs besides."""
    return Markup(package_file("onnxlrp.report", "style.css") + package_file(__package__, "atlas.css"))


def _remove_others(folder: Path, written: Sequence[Path]) -> None:
    """Remove pages that an earlier run wrote and this one did not."""
    for inner in ("units", "classes"):
        for path in (folder / inner).glob("*.html") if (folder / inner).is_dir() else ():
            if path not in written and _OURS.fullmatch(path.name):
                path.unlink(missing_ok=True)
