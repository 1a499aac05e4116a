"""The overview of an atlas: the model, its layers, its classes, what could not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...pages.markup import Markup, tag
from ...pages.shell import document, package_file
from .atlas import AtlasData, LayerUnits

_ERRORS = 100  # rows on the page


def page(
    atlas: AtlasData,
    units: Sequence[Sequence[tuple[str, int, int]]],
    classes: Mapping[int, str],
    errors: Sequence[Mapping[str, Any]],
    heated: str,
) -> str:
    """Format the page.

    Args:
        atlas: The units.
        units: For each layer its pages: address, first and last channel.
        classes: The address of each class.
        errors: The rows of samples without values.
        heated: Which units have heatmaps, in words.
    """
    style = Markup(package_file("onnxlrp.report", "style.css") + package_file(__package__, "atlas.css"))
    count = sum(layer.unit.channels for layer in atlas.layers)
    links = [("layers", "Layers"), ("classes", "Classes"), *([("errors", "Errors")] if errors else [])]
    links += [("about", "How it was made")]
    header = tag(
        "header",
        tag("h1", "What the units of the model answer to"),
        tag(
            "p",
            f"{count} units of {len(atlas.layers)} layers, {atlas.about['samples'] - atlas.about['rejected']} samples",
        ),
        tag("nav", [tag("a", text, href=f"#{word}") for word, text in links], aria_label="sections"),
    )
    body = [_layers(atlas, units), _classes(atlas, classes), _errors(errors), _about(atlas, heated)]
    return document("onnxlrp atlas", header, body, style)


def sees(layer: LayerUnits, atlas: AtlasData) -> str:
    """Return in words what a unit of a layer sees."""
    kind = atlas.about["kind"]
    axes = kind["spatial_axes"]
    if not axes:
        return f"{layer.unit.channels} units"
    sides = layer.fields[:, axes, 1] - layer.fields[:, axes, 0]
    field = " x ".join(str(int(n)) for n in sides.max(axis=0))
    whole = " x ".join(str(kind["shape"][n]) for n in axes)
    places = " x ".join(map(str, layer.unit.space)) or "one"
    return f"{layer.unit.channels} units at {places} positions; each sees {field} of {whole} values"


def _layers(atlas: AtlasData, units: Sequence[Sequence[tuple[str, int, int]]]) -> Markup:
    rows = []
    for layer, links in zip(atlas.layers, units, strict=True):
        pages = [tag("li", tag("a", f"{first}–{last}", href=path)) for path, first, last in links]
        rows.append(
            tag(
                "tr",
                tag("th", layer.label, scope="row"),
                tag("td", tag("ul", pages, class_="jump")),
                tag("td", sees(layer, atlas)),
            )
        )
    head = [tag("th", word, scope="col") for word in ("layer", "units", "receptive field")]
    return tag("section", tag("h2", "Layers"), _table(head, rows, "layers"), id="layers")


def _classes(atlas: AtlasData, links: Mapping[int, str]) -> Markup:
    found = atlas.classes
    whose = "their folders name" if atlas.about["identity"]["folders"] else "the model predicts"
    items = [
        tag("li", tag("a", f"{atlas.label(one)} ({found.counts[n]})", href=links[one]))
        for n, one in enumerate(found.ids)
    ]
    text = f"The units that matter for each class that {whose}, with the number of its samples."
    return tag("section", tag("h2", "Classes"), tag("p", text), tag("ul", items, class_="jump"), id="classes")


def _errors(errors: Sequence[Mapping[str, Any]]) -> Any:
    if not errors:
        return []
    rows = [tag("tr", tag("th", row["file"], scope="row"), tag("td", row["error"])) for row in errors[:_ERRORS]]
    head = [tag("th", word, scope="col") for word in ("file", "error")]
    more = f"{len(errors)} samples have no values" + (f"; the first {_ERRORS}:" if len(errors) > _ERRORS else ":")
    return tag("section", tag("h2", "Errors"), tag("p", more), _table(head, rows, "errors"), id="errors")


def _about(atlas: AtlasData, heated: str) -> Markup:
    about = atlas.about["identity"]
    value = "the sum over positions" if about["value"] == "sum" else "the maximum over positions"
    words = {
        "Activation": f"a unit's value is {value} of its activation (ActMax)",
        "Relevance": f"{value} of its relevance, as a share of Σ|R| over the channels of its layer (RelMax)",
        "Pictures": "cut to the receptive field of the position where the unit's activation, or relevance, is largest",
        "Heatmaps": f"the relevance that starts at the unit there, {heated}; red speaks for it, blue against it",
        "Classes": "the mean over all samples of a class, not over the top samples alone",
    }
    words |= {key: _text(about[key]) for key in ("model", "output", "method", "preprocessing", "pictures", "engine")}
    facts = [tag("div", tag("dt", key), tag("dd", text)) for key, text in words.items()]
    return tag("section", tag("h2", "How it was made"), tag("dl", facts), id="about")


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(
            f"{key} {item}" for key, item in value.items() if key != "labels" and item not in (None, [], ())
        )
    return "none" if value is None else str(value)


def _table(head: Sequence[Markup], rows: Sequence[Markup], name: str) -> Markup:
    table = tag("table", tag("thead", tag("tr", head)), tag("tbody", rows))
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=name)
