"""The README's tables, from the registries: `python -m onnxlrp.tables README.md` writes them between their marks."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from . import files, rules
from .composites import PRESETS, options_of
from .graph.decomposition import dynamic_quantization, integer
from .graph.decomposition.fused import RULES
from .layers import registry
from .methods import registry as method
from .program.op import KINDS

PROPAGATION = "1 + 1 propagation"  # what every composite costs


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def summary(thing: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((thing.__doc__ or "").split("\n\n")[0].split())


def methods() -> str:
    """Every method, its sentence and paper, what it costs in passes for each sample, its options; composites first."""
    rows = [[f"`{name}`", summary(make), PROPAGATION, _listed(options_of(name))] for name, make in PRESETS.items()]
    for name, entry in method.registry().items():
        text = f"{summary(entry.make).rstrip('.:')} ({entry.paper})."
        rows.append([f"`{name}`", text, entry.passes, _listed(method.options_of(name))])
    return _table(("method", "what it does", "passes", "options"), rows)


def _listed(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def all_rules() -> str:
    """Every rule, its sentence, its options."""
    found = rules.registry()
    return _table(
        ("rule", "what it does", "options"),
        (
            [f"`{name}`", summary(found[name]), " ".join(f"`{f.name}`" for f in dataclasses.fields(found[name]))]
            for name in sorted(found)
        ),
    )


def operators() -> str:
    """Every ONNX operator that has a rule, by kind, and those that are read as others."""
    by_kind: dict[str, list[str]] = {}
    for name, row in registry().items():
        by_kind.setdefault(row.kind, []).append(name)
    rows = [(f"`{kind}`", KINDS[kind], sorted(ops)) for kind, ops in by_kind.items()]
    quantised = {*integer.RULES, *dynamic_quantization.RULES} - {*registry()}
    fused = {*RULES} - quantised - {*registry()}
    rows.append(("", "on integers: read as the same on floats, between rounding and rounding", sorted(quantised)))
    rows.append(("", "fused by onnxruntime's optimiser: read as what they were", sorted(fused)))
    return _table(
        ("kind", "what it is", "ONNX operators"),
        ([kind, what, ", ".join(f"`{op}`" for op in ops)] for kind, what, ops in rows),
    )


def measured(results: Path) -> str:
    """What benchmarks/cpu.py wrote, a line for each network, preset and batch size; costs in forward passes."""
    found = json.loads(results.read_text(encoding="utf-8"))
    meta = found["meta"]
    rows = []
    for record in found["records"]:
        times, memory = record["time"], record.get("memory", {})
        rows.append(
            [
                record["network"],
                str(record["batch"]),
                f"`{record['preset']}`",
                f"{times['forward']['ms']:.0f} ms",
                *(f"{times[who]['forwards']:.1f}" if who in times else "-" for who in ("ours", "zennit", "torch")),
                *(f"{memory[who]['peak MB']:.0f} MB" if who in memory else "-" for who in ("ours", "zennit")),
            ]
        )
    head = ("network", "batch", "method", "forward", "onnxlrp", "zennit", "torch", "onnxlrp peak", "zennit peak")
    versions = ", ".join(f"{name} {version}" for name, version in meta["versions"].items())
    return f"{meta['date'][:10]}, {meta['cores']} cores of {meta['cpu']}; {versions}.\n\n{_table(head, rows)}"


def coverage(results: Path) -> str:
    """What tests/zoo/zoo.py found: a line for each family of models, a column for each exporter."""
    found = json.loads(results.read_text(encoding="utf-8"))
    records = found["records"]
    exporters = list(dict.fromkeys(name for record in records.values() for name in record["cells"]))
    rows = []
    for family, record in records.items():
        cells = [_cell(record["cells"].get(name)) for name in exporters]
        rows.append(
            [family.replace("_", " "), *cells, f"{max(record['zennit'].values()):.0e}" if record.get("zennit") else "–"]
        )
    versions = ", ".join(f"{name} {version}" for name, version in found["meta"]["versions"].items())
    return f"{found['meta']['date']}; {versions}.\n\n{_table(('', *exporters, 'zennit'), rows)}"


def localisation(results: Path) -> str:
    """What benchmarks/localisation.py measured: energy over area in the boxes and masks of photographs."""
    records = json.loads(results.read_text(encoding="utf-8"))["records"]
    heads = [
        f"{record['model']} ({len(record['counted'])} of {len(record['counted']) + len(record['missed'])})"
        for record in records
    ]
    names = dict.fromkeys(name for record in records for name in record["methods"])
    rows = [
        [
            "a Gaussian in the middle" if name == "centre" else f"`{name}`",
            *(_share(record["methods"].get(name)) for record in records),
        ]
        for name in sorted(names, key=lambda name: name == "centre")
    ]
    return _table(("method", *heads), rows)


def judging(results: Path) -> str:
    """What benchmarks/judging.py measured: the mean of each metric with its 95 % interval, the best pointing first."""
    cells = json.loads(results.read_text(encoding="utf-8"))["cells"]
    metrics = list(dict.fromkeys(cell["metric"] for cell in cells))
    found = {(cell["method"], cell["metric"]): cell for cell in cells}

    def said(method: str, metric: str) -> str:
        cell = found.get((method, metric))
        return (
            f"{cell['mean']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" if cell and cell["mean"] is not None else "–"
        )

    def place(method: str) -> tuple[float, ...]:
        return tuple(-((found.get((method, metric)) or {}).get("mean") or 0.0) for metric in metrics)

    names = sorted(dict.fromkeys(cell["method"] for cell in cells), key=place)
    rows = [[f"`{name}`", *(said(name, metric) for metric in metrics)] for name in names]
    return _table(("method", *(metric.replace("_", " ") for metric in metrics)), rows)


def _share(found: Mapping[str, Any] | None) -> str:
    if not found or found["ratio"] is None:
        return "–"
    return f"{found['ratio']:.2f} ({100 * found['energy']:.0f} %)"


def _cell(cell: Mapping[str, Any] | None) -> str:
    """✓, the operator that a model is refused for, or – where the exporter does not write the family."""
    if cell is None or cell["status"] == "none":
        return "–"
    if cell["status"] == "ok":
        return "✓"
    named = re.search(r"operator ([\w:]+)|The ([\w:]+) node", cell["why"])
    return f"`{named[1] or named[2]}`" if named else cell["status"]


TABLES: dict[str, Callable[[], str]] = {"methods": methods, "rules": all_rules, "operators": operators}
RESULTS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "cpu": ("benchmarks/results/cpu.json", measured),
    "coverage": ("benchmarks/results/coverage.json", coverage),
    "judging": ("benchmarks/results/judging.json", judging),
    "localisation": ("benchmarks/results/localisation.json", localisation),
}


def fill(text: str, root: Path) -> str:
    """The text with each `<!-- table: name -->` … `<!-- end -->` holding its table; results are read below `root`."""

    def put(found: re.Match[str]) -> str:
        name = found[2]
        if name in RESULTS:
            path, table = RESULTS[name]
            return f"{found[1]}\n{table(root / path)}\n{found[3]}"
        return f"{found[1]}\n{TABLES[name]()}\n{found[3]}"

    return re.sub(r"(<!-- table: (\w+) -->)\n.*?(<!-- end -->)", put, text, flags=re.DOTALL)


if __name__ == "__main__":
    readme = Path(sys.argv[1])
    files.replace(readme, fill(readme.read_text(encoding="utf-8"), readme.parent).encode())
