"""The shell of an offline page: its head, under a policy that lets it load and run nothing else."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from .markup import Markup, tag


def document(title: str, header: object, content: object, style: Markup, script: Markup | None = None) -> str:
    """Format a whole file.

    Args:
        title: The title of the page.
        header: What stands above the content.
        content: What the link "Skip to the content" leads to.
        style: Its style sheet.
        script: Its script; None for a page that runs none.
    """
    allowed = f"img-src data:; style-src '{_hash(style)}'"
    allowed += "" if script is None else f"; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
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
        header,
        tag("main", content, id="content", tabindex=-1),
        [] if script is None else tag("script", script),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def package_file(package: str | None, name: str) -> Markup:
    """Read a file of a package; it must not hold the end tag of its element."""
    assert package is not None
    return Markup(files(package).joinpath(name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
