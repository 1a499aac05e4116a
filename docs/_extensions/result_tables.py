"""Tables of what was measured, from the JSON files in benchmarks/results; `python result_tables.py cpu` prints one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def cpu(found: Mapping[str, Any]) -> str:
    """Return the results of benchmarks/cpu.py: a line for each network, batch size and method; costs in forwards."""
    rows = []
    for record in found["records"]:
        times, memory = record["time"], record.get("memory", {})
        rows.append(
            [
                record["network"],
                str(record["batch"]),
                f"`{record['preset']}`",
                f"{times['forward']['ms']:.0f} ms",
                *(f"{times[who]['forwards']:.1f}" if who in times else "–" for who in ("ours", "zennit", "torch")),
                *(f"{memory[who]['peak MB']:.0f} MB" if who in memory else "–" for who in ("ours", "zennit")),
            ]
        )
    head = ("network", "batch", "method", "forward", "onnxlrp", "zennit", "torch", "onnxlrp peak", "zennit peak")
    meta = found["meta"]
    return f"{meta['date'][:10]}, {meta['cores']} cores of {meta['cpu']}; {_versions(meta)}.\n\n{table(head, rows)}"


def builds(found: Mapping[str, Any]) -> str:
    """Return the results of benchmarks/builds.py: ratios of this build to the one before."""
    rows = []
    for record in found["records"]:
        peak, apart = record["peak MB"], record["apart"]
        rows.append(
            [
                record["model"],
                f"`{record['method']}`",
                str(record["batch"]),
                str(record["targets"] or 1),
                "yes" if record.get("kept") else "no",
                f"{record['processor']['ratio']:.2f}",
                f"{record['wall']['ratio']:.2f}",
                f"{peak['after'] / peak['before']:.2f}",
                "equal" if apart["equal"] else f"{apart['l2']:.0e}",
            ]
        )
    about = found["records"][0]["meta"]
    said = f"threads: {about['threads']}; {_versions(about)}"
    commits = {(r["meta"]["builds"]["before"][:7], r["meta"]["builds"]["after"][:7]) for r in found["records"]}
    pairs = " and ".join(f"`{after}` against `{before}`" for before, after in sorted(commits))
    head = ("model", "method", "batch", "targets", "cache", "processor time", "wall time", "peak memory", "relevance")
    return f"{about['date'][:10]}, commits {pairs}, {said}.\n\n{table(head, rows)}"


def shell_runs(found: Mapping[str, Any]) -> str:
    """Return the results of benchmarks/shell_runs.py: ratios of runs from the shell to those of the build before."""
    rows = []
    for record in found["records"]:
        cells = []
        for kind in ("no cache", "first", "second"):
            both = (record[clock]["ratios"][kind]["ratio"] for clock in ("processor", "wall"))
            cells.append(" / ".join(f"{ratio:.2f}" for ratio in both))
        equal = "equal" if record["equal"] else "NOT EQUAL"
        size = f"{record['cache MB']:.1f} MB"
        rows.append([record["model"], f"`{record['method']}`", *cells, size, equal])
    about = found["records"][0]["meta"]
    pair = f"`{about['builds']['after'][:7]}` against `{about['builds']['before'][:7]}`"
    head = ("model", "method", "without a cache", "first run", "second run", "entries", "heatmaps")
    return f"{about['date'][:10]}, commits {pair}; {_versions(about)}.\n\n{table(head, rows)}"


def coverage(found: Mapping[str, Any]) -> str:
    """Return the results of tests/zoo/zoo.py: a line for each family of models, a column for each exporter."""
    records = found["records"]
    exporters = list(dict.fromkeys(name for record in records.values() for name in record["cells"]))
    rows = [
        [
            family.replace("_", " "),
            *(_supported(record["cells"].get(name)) for name in exporters),
            f"{max(record['zennit'].values()):.0e}" if record.get("zennit") else "–",
        ]
        for family, record in records.items()
    ]
    return f"{found['meta']['date']}; {_versions(found['meta'])}.\n\n{table(('', *exporters, 'zennit'), rows)}"


def tried(found: Mapping[str, Any]) -> str:
    """Return the results of benchmarks/tried.py: a line for each file out of a package."""

    def number(value: Any) -> str:
        return f"{value:.0e}" if isinstance(value, int | float) else "–"

    rows = []
    for record in found["records"]:
        stopped = record.get("stopped") or ([record["error"]] if record.get("error") else [])
        said = stopped[0].removeprefix("sample: ").split("; ")[0] if stopped else ""
        cells = [record["package"], f"`{record['file']}`", record["about"], re.split("[, ]", record.get("kind", ""))[0]]
        method = record.get("explained by")
        answers = [number(record.get(key)) for key in ("scores", "slopes", "ledger")]
        rows.append([*cells, f"`{method}`" if method else f"stops: {said}", *answers])
    head = ("package", "file", "what it tells", "kind", "explained by", "score", "slope", "balance")
    return f"{found['date'][:10]}; {_versions(found)}.\n\n{table(head, rows)}"


def judging(found: Mapping[str, Any]) -> str:
    """Return the results of benchmarks/judging.py: the mean and 95 % interval of each metric, best pointing first."""
    cells = {(cell["method"], cell["metric"]): cell for cell in found["cells"]}
    metrics = list(dict.fromkeys(metric for _, metric in cells))

    def text(method: str, metric: str) -> str:
        cell = cells.get((method, metric))
        if cell is None or cell["mean"] is None:
            return "–"
        return f"{cell['mean']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]"

    def means(method: str) -> tuple[float, ...]:
        return tuple(-((cells.get((method, metric)) or {}).get("mean") or 0.0) for metric in metrics)

    methods = sorted(dict.fromkeys(method for method, _ in cells), key=means)
    rows = [[f"`{method}`", *(text(method, metric) for metric in metrics)] for method in methods]
    return table(("method", *(metric.replace("_", " ") for metric in metrics)), rows)


def quantised(found: Mapping[str, Any]) -> str:
    """Return the results of benchmarks/quantised.py: shares of the logit, then metrics of methods on photographs."""
    shares, judged = [], []
    for name, record in found["models"].items():
        own = record["relevance"]["epsilon_plus_flat"]
        twin, cosine = own.get("share_of_twin"), own.get("cosine_with_twin")
        shares.append(
            [
                name,
                f"{own['share']:.1g}",
                "–" if twin is None else f"{twin:.1g}",
                "–" if cosine is None else f"{cosine:.4f}",
            ]
        )
        for method, row in record["methods"].items():
            numbers = (row[metric] for metric in ("insertion", "deletion", "pointing_game", "energy_in_mask"))
            judged.append([name, f"`{method}`", *(f"{number:.3f}" for number in numbers)])
    first = table(("network", "ΣR / logit", "of its float twin", "cosine of the maps"), shares)
    second = table(("network", "method", "insertion ↑", "deletion ↓", "pointing ↑", "energy in mask ↑"), judged)
    return f"{found['pictures']} photographs; {_versions(found)}.\n\n{first}\n\n{second}"


def localisation(found: Mapping[str, Any]) -> str:
    """Return the results of benchmarks/localisation.py: energy over area in the boxes and masks of photographs."""
    records = found["records"]
    heads = [
        f"{record['model']} ({len(record['counted'])} of {len(record['counted']) + len(record['missed'])})"
        for record in records
    ]
    names = sorted(dict.fromkeys(name for record in records for name in record["methods"]), key="centre".__eq__)
    rows = [
        [
            "a Gaussian in the middle" if name == "centre" else f"`{name}`",
            *(_localised(record["methods"].get(name)) for record in records),
        ]
        for name in names
    ]
    return table(("method", *heads), rows)


def prototypes(found: Mapping[str, Any]) -> str:
    """Return the results of benchmarks/prototypes.py: a line for each model and style, a column for each judge."""
    keys = [key for row in found["summary"].values() for key in row if key not in ("classes", "cpu s")]
    columns = list(dict.fromkeys(keys))

    def text(cell: Mapping[str, Any] | None) -> str:
        if cell is None:
            return "–"
        low, high = cell["interval"]
        return f"{100 * cell['mean']:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"

    rows = []
    for key, row in found["summary"].items():
        model, style, steps, *objective = key.split("/")
        words = ", ".join(f"`{word}`" for word in (style, *objective))
        rows.append([model, words, steps, str(row["classes"]), *(text(row.get(name)) for name in columns)])
    return table(("model", "style", "steps", "classes", *columns), rows)


def inversion(found: Mapping[str, Any]) -> str:
    """Return the results of benchmarks/inversion.py: errors by depth, of the decoder, and of preferred inputs."""
    parts = []
    for record in found["depth"]:
        rows = [
            [f"`{row['layer']}`", f"{row['layer error']:.3f}", f"{row['picture error']:.4f}"]
            for row in record["layers"]
        ]
        rows.append(["mean colour", "–", f"{record['mean picture']:.4f}"])
        head = (f"{record['model']}, {record['pictures']} pictures", "layer error", "picture error")
        parts.append(table(head, rows))
    drawn = found["decoder"]
    rows = [
        [name, f"{drawn['layer error'][name]:.3f}" if name in drawn["layer error"] else "–", f"{error:.4f}"]
        for name, error in drawn["picture error"].items()
    ]
    title = f"{drawn['digits']} held-out digits at `{drawn['layer']}`"
    parts.append(table((title, "layer error", "picture error"), rows))
    made = found["generator"]
    rows = [
        [f"preferred: {name}", f"{100 * one['own class']:.0f} %", f"{one['score']:.1f}", f"{one['distance']:.2f}"]
        for name, one in made["made"].items()
    ]
    rows.append(["held-out digits", "–", "–", f"{made['held-out digits']['distance']:.2f}"])
    parts.append(table(("ten of each digit", "own class", "score", "distance to the nearest training digit"), rows))
    return "\n\n".join(parts)


def _versions(meta: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in meta["versions"].items())


def _localised(found: Mapping[str, Any] | None) -> str:
    if not found or found["ratio"] is None:
        return "–"
    return f"{found['ratio']:.2f} ({100 * found['energy']:.0f} %)"


def _supported(cell: Mapping[str, Any] | None) -> str:
    if cell is None or cell["status"] == "none":
        return "–"
    if cell["status"] == "ok":
        return "✓"
    named = re.search(r"operator ([\w:]+)|[Tt]he ([\w:]+) node", cell["why"])
    return f"`{named[1] or named[2]}`" if named else cell["status"]


def cells(found: Mapping[str, Any]) -> str:
    """Return the results of benchmarks/cells.py: for each property the cell that tracks it, beside chance."""
    rows = []
    for name, one in found["properties"].items():
        numbers = (one["on_the_first_half"], one["on_the_second_half"], one["chance"]["threshold"])
        rows.append(
            [name, f"`{one['cell']}`", one["statistic"], *(f"{value:.2f}" for value in numbers), f"{one['p']:.1g}"]
        )
    about = found["environment"]
    head = ("property", "cell", "statistic", "first half", "second half", "chance", "p")
    said = f"{about['date'][:10]}, {found['characters']} characters of Python {about['python']}"
    return f"{said}.\n\n{table(head, rows)}"


def runtimes(found: Mapping[str, Any]) -> str:
    """Return the results of benchmarks/runtimes.py: by runtime, then by the form of the file."""
    records, versions = found["records"], found["runtimes"]
    networks = list(dict.fromkeys(record["network"] for record in records))
    methods = list(dict.fromkeys(record["method"] for record in records))

    def cell(network: str, method: str, runtime: str, form: str = "plain") -> str:
        for r in records:
            if (r["network"], r["method"], r["form"]) == (network, method, form):
                if "refused" in r:
                    return "refused"
                if r["runtime"] == runtime:
                    return f"fails: {r['error']}" if "error" in r else f"{r['relevance']:.0e}"
        return "not run"

    pairs = [(network, method) for network in networks for method in methods]
    head = ["runtime", *(f"{network}, `{method}`" for network, method in pairs)]
    rows = [
        [
            f"{name} {version}" if version else name,
            *(cell(*pair, name) if version else "not installed" for pair in pairs),
        ]
        for name, version in versions.items()
    ]
    forms = [form for form in dict.fromkeys(record["form"] for record in records) if form != "plain"]
    ran = {r["runtime"] for r in records if r["form"] != "plain" and "runtime" in r}
    more = [
        [f"{form}, {name}", *(cell(*pair, name, form) for pair in pairs)]
        for form in forms
        for name in versions
        if name in ran
    ]
    return f"{found['date'][:10]}.\n\n{table(head, [*rows, *more])}"


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "cpu": cpu,
    "builds": builds,
    "shell_runs": shell_runs,
    "coverage": coverage,
    "tried": tried,
    "judging": judging,
    "quantised": quantised,
    "localisation": localisation,
    "prototypes": prototypes,
    "inversion": inversion,
    "cells": cells,
    "runtimes": runtimes,
}


def read(name: str) -> str:
    """Return the table of benchmarks/results/NAME.json."""
    return TABLES[name](json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))


if __name__ == "__main__":
    print(read(sys.argv[1]))
