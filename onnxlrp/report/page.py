"""The page: verdict, checks, pictures and provenance."""

from __future__ import annotations

from ..pages.shell import document, package_file
from . import comparison_section, evaluation_section, sections
from .read import ReportData


def html(report: ReportData, side: int, ledgers: int | None) -> str:
    """Format the whole file.

    Args:
        report: What to show.
        side: The longest side of a picture, in pixels.
        ledgers: How many heatmaps show their ledger, None for all.
    """
    title = f"onnxlrp report: {', '.join(name for name, _ in sections.models(report))}"
    content = [
        sections.checks(report),
        comparison_section.comparisons(report, side),
        evaluation_section.methods(report),
        sections.pictures(report, side, ledgers),
        sections.provenance(report),
    ]
    return document(
        title,
        sections.header(report),
        content,
        package_file(__package__, "style.css"),
        package_file(__package__, "script.js"),
    )
