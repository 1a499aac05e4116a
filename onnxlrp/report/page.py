"""The page: verdict, checks, pictures and provenance, under a policy that lets it load and run nothing else."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from . import comparison_section, evaluation_section, sections
from .markup import Markup, tag
from .read import ReportData


def html(report: ReportData, side: int, ledgers: int | None) -> str:
    """Format the whole file.

    Args:
        report: What to show.
        side: The longest side of a picture, in pixels.
        ledgers: How many heatmaps show their ledger, None for all.
    """
    style, script = _package_file("style.css"), _package_file("script.js")
    allowed = f"img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    title = f"onnxlrp report: {', '.join(name for name, _ in sections.models(report))}"
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
        sections.header(report),
        tag(
            "main",
            sections.checks(report),
            comparison_section.comparisons(report, side),
            evaluation_section.methods(report),
            sections.pictures(report, side, ledgers),
            sections.provenance(report),
            id="content",
            tabindex=-1,
        ),
        tag("script", script),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _package_file(name: str) -> Markup:
    """Read a file of this package; it must not hold the end tag of its element."""
    return Markup(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
