"""The page: verdict, pictures, checks and provenance, with a policy that lets it load and run nothing else."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from . import comparison_section, evaluation_section, sections
from .markup import Markup, tag
from .read import Run


def html(run: Run, side: int, ledgers: int | None) -> str:
    """The whole file; pictures at most `side` pixels long, at most `ledgers` ledgers (all for None)."""
    style, script = _own("style.css"), _own("script.js")
    allowed = f"img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    title = f"onnxlrp report: {', '.join(name for name, _ in sections.models(run))}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=Markup(policy)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", style),
        "\n",
    )
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        sections.header(run),
        tag(
            "main",
            sections.checks(run),
            comparison_section.comparisons(run, side),
            evaluation_section.methods(run),
            sections.pictures(run, side, ledgers),
            sections.provenance(run),
            id="content",
            tabindex=-1,
        ),
        tag("script", script),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _own(name: str) -> Markup:
    """A file of this package. It may hold no end tag of its element."""
    return Markup(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
