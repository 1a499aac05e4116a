"""The section of a unit: what it saw, its classes, concepts and prototype."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...pages.markup import Markup, number, tag
from .atlas import AtlasData, LayerUnits
from .crops import SIDE, Pieces, Place
from .notes import Concepts
from .tops import Array, hits

TITLES = {"activation": "Top samples by activation", "relevance": "Top samples by relevance"}
_CLASSES = 5
_BAR = 90


@dataclass(frozen=True, eq=False)
class UnitSections:
    """Formats the sections of units.

    Attributes:
        atlas: The units.
        pieces: Their pictures.
        concepts: The concepts that they detect.
        prototypes: Pictures as data URIs, by the number of the layer and the channel.
        links: The address of each class, from a page of units.
    """

    atlas: AtlasData
    pieces: Pieces
    concepts: Concepts | None
    prototypes: Mapping[tuple[int, int], str]
    links: Mapping[int, str]

    def section(self, n: int, channel: int) -> Markup:
        """Format the section of a unit of the N-th layer."""
        layer = self.atlas.layers[n]
        name = f"{layer.label}:{channel}"
        parts: list[Any] = [tag("h2", name), self._facts(n, layer, channel)]
        if (n, channel) in self.prototypes:
            image = tag("img", src=Markup(self.prototypes[n, channel]), alt=f"Prototype of {name}", class_="prototype")
            caption = tag("figcaption", "Prototype: made by gradient ascent, no sample of the data")
            parts += [tag("h3", "Prototype"), tag("figure", image, caption)]
        for by in layer.tops if not is_silent(layer, channel) else ():
            parts += [tag("h3", TITLES[by]), self._seen(n, layer, channel, by)]
        return tag("section", *parts, class_="unit", id=f"u{channel}", aria_label=f"unit {name}")

    def _facts(self, n: int, layer: LayerUnits, channel: int) -> list[Markup]:
        if is_silent(layer, channel):
            return [tag("p", "Active in no sample: its value is 0 in all of them.")]
        facts = []
        line = "" if self.concepts is None else self.concepts.line(layer.label, channel)
        if line:
            facts.append(tag("p", "Detects ", tag("strong", line)))
        shares = [
            self._shares(by, self.atlas.classes.means(f"{by}/{n}")[:, channel])
            for by in layer.tops
            if f"{by}/{n}" in self.atlas.classes.sums
        ]
        return [*facts, tag("div", shares, class_="shares")]

    def _shares(self, by: str, means: Array) -> Markup:
        """The classes with the largest means, as bars."""
        order = [int(n) for n in np.argsort(-means, kind="stable")[:_CLASSES]]
        most = max(float(means.max()), 0.0)
        rows = []
        for n in order:
            width = round(_BAR * max(float(means[n]), 0) / most) if most else 0
            bar = tag("svg", tag("rect", width=width, height=9), width=_BAR, height=9, aria_hidden="true")
            one = self.atlas.classes.ids[n]
            link = tag("a", self.atlas.label(one), href=self.links[one])
            rows.append(tag("li", bar, link, f" {worded(by, float(means[n]))}"))
        what = f"Classes by mean {by}"
        return tag("div", tag("p", what, class_="quiet"), tag("ol", rows))

    def _seen(self, n: int, layer: LayerUnits, channel: int, by: str) -> Markup:
        figures = []
        for sample, value, flat in hits(layer.tops[by], channel):
            place = Place(n, channel, sample, flat)
            name = self.atlas.names[sample]["name"]
            caption = tag("figcaption", name, tag("br"), worded(by, value))
            images = self._images(place, name, f"{layer.label}:{channel}")
            figures.append(tag("li", tag("figure", tag("div", images, class_="pair"), caption)))
        return tag("ul", figures, class_="seen")

    def _images(self, place: Place, name: str, unit: str) -> list[Markup]:
        found = []
        picture, heat = (self.pieces.get(place, kind) for kind in ("picture", "heat"))
        if picture is not None:
            # PNG where the receptive field has fewer pixels than the page shows.
            look = "tiny" if picture.startswith("data:image/png") else None
            alt = f"What {unit} saw of {name}"
            found.append(tag("img", src=Markup(picture), alt=alt, class_=look, width=SIDE, loading="lazy"))
        if heat is not None:
            alt = f"Relevance of {unit} within it"
            found.append(tag("img", src=Markup(heat), alt=alt, class_="relevance tiny", loading="lazy"))
        return found


def is_silent(layer: LayerUnits, channel: int) -> bool:
    """Return whether a unit is 0 in every sample, as far as its largest values tell."""
    top = layer.tops.get("activation")
    return top is not None and bool(top.values[channel, 0] == 0)


def worded(by: str, value: float) -> str:
    """Return an activation as it is, a share of relevance in per cent."""
    return f"{100 * value:.1f} %".replace("-", "−") if by == "relevance" else number(value)
