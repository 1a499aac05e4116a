"""Text lines of an explanation: preprocessing, best classes, and the share of the logit that is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..explanation import Explanation, ledger
from ..graph.graph import Graph, Head
from ..graph.operators import INEQUALITIES, SCORINGS
from ..graph.outputs.heads import MARGINS
from ..preprocessing import Preprocessing, labels

MATTERS = 0.0005  # shares of the logit below this are not worth a word
MOSTLY = 0.95
CLOSES = 1e-4  # what the residual of a layer must stay below, as a share of its Σ|R|
_COLUMN = 56
_VALUES = 8  # values of a regression that are printed
_THRESHOLDS = INEQUALITIES | {"Sign"}


def preprocessing(prep: Preprocessing | None) -> str:
    """Return the preprocessing and its source, as one line."""
    if prep is None:
        return unchanged(".npy")
    said = prep.source if not prep.assumed or prep.source == "assumed" else f"{prep.source}, the rest assumed"
    said = said.upper() if said == "assumed" else said
    return f"{prep.describe():<{_COLUMN - 2}}  [{said}]"


def assumed(prep: Preprocessing, otherwise: str = "") -> tuple[str, str]:
    """Return what no source states of a preprocessing, as a note and its fix.

    Args:
        prep: The preprocessing, some of whose fields are assumed.
        otherwise: What else can be done, behind the flags that state it.
    """
    return f"preprocessing ASSUMED, not stated: {', '.join(prep.assumed)}", f"state it: {prep.flags()}{otherwise}"


def unchanged(suffix: str, words: str = "", whole: bool = False, counted: str = "") -> str:
    """Return how an input that is no picture was read, as one line.

    Args:
        suffix: The suffix of its file.
        words: Where the words of token ids come from.
        whole: A file is one text.
        counted: The input of the file that takes a text, whose n-grams are counted.
    """
    if suffix in (".npy", ""):
        return f"{'array, unchanged':<{_COLUMN}}[.npy]"
    if counted:
        return f"{'text, of which the model counts n-grams':<{_COLUMN}}[{counted}]"
    if words:
        what = "a text, but for its last line end, as ids of characters" if whole else "text as token ids"
        return f"{what:<{_COLUMN}}{'  ' * (len(what) >= _COLUMN)}[{words}]"
    return f"{'columns, unchanged':<{_COLUMN}}[{suffix}]"


def doubts(prep: Preprocessing | None) -> list[str]:
    """Return the contradictions between sources of a preprocessing, and what they state that is not applied."""
    if prep is None:
        return []
    pairs = dict.fromkeys((conflict.source, conflict.other_source) for conflict in prep.conflicts)
    lines = []
    for pair in pairs:
        found = [c for c in prep.conflicts if (c.source, c.other_source) == pair]
        used, other = (", ".join(f"{c.field} {getattr(c, which)}" for c in found) for which in ("used", "other"))
        lines.append(f"conflict: {pair[1]} states {other}; {pair[0]} states {used}, which is used")
    return [*lines, *prep.notes]


def head(found: Head, classes: int, named: bool = True) -> str:
    """Return what is explained and how scores are read, where a plain Softmax does not tell; else "".

    Args:
        found: The end of the model.
        classes: The number of classes.
        named: The classes have names.
    """
    if found.remark == MARGINS:
        return f"{classes} {MARGINS}"
    return "; ".join(filter(None, (_read_as(found, classes, named), found.remark)))


def _read_as(found: Head, classes: int, named: bool) -> str:
    if found.meaning:
        return f"explained: {found.meaning}"
    if classes == 1 and found.kind in ("", "Values"):
        return "one value: positive relevance raises it, negative lowers it"
    if found.kind == "Values":
        taken = (
            ""
            if found.stated or found.remark
            else ", taken for a regression by the name or form of the output: --task classification if not"
        )
        return f"{classes} values, each explained by -t ID{taken}"
    if decided := _before_decision(found, classes):
        return decided
    if found.kind == "Scores" and not found.unit:
        return "no logits were found before the scores: they are explained, and shown, as they stand"
    if not found.functions:
        guessed = not (found.stated or found.decision or named or found.remark)
        return f"{classes} logits, taken for scores of classes: --task regression if they are values" if guessed else ""
    words = []
    if len(found.functions) > 1 or found.functions[0] not in SCORINGS:
        words = [f"logits before {', '.join(found.functions)}"]
    if found.kind.endswith("Sigmoid"):
        words.append(
            "one logit before Sigmoid: positive relevance supports the class (score above 0.5), negative opposes it"
            if classes == 1
            else "Sigmoid: every class has its own logit, and relevance supports or opposes that class alone"
        )
    return "; ".join(words)


def _before_decision(found: Head, classes: int) -> str:
    """What is said of an output that holds the best class alone, or which classes pass a threshold; "" of others."""
    if found.decider in ("ArgMax", "Hardmax"):
        what = f"logits before {', '.join(found.functions)}" if found.functions else f"{classes} logits before it"
        return f"the output is the best class alone, by {found.decider}: explained are the {what}"
    if found.decider in _THRESHOLDS and found.kind == "Scores" and classes > 1:
        return f"the output compares each class with a threshold: the {classes} scores before it are explained"
    return ""


def head_line(found: Head, classes: int, named: bool) -> str:
    """Return what `head` says, and the plain cases too."""
    plain = f"logits before {', '.join(found.functions)}" if found.functions else f"{classes} logits"
    return head(found, classes, named) or plain


def top(one: Explanation, count: int = 3) -> tuple[str, str]:
    """Return the best classes of one sample: `top-3` and `7 0.98 · 9 0.01 · 1 0.00`; of a regression its values."""
    best = one.top(count)[0]
    if one.is_value and one.output[0].size == 1:
        return "value", number(best[0][2])
    if one.is_value:
        values = sorted(one.top(one.output[0].size)[0])
        return "values", " · ".join(f"{label} {number(value)}" for _, label, value in values[:_VALUES]) + (
            f" · … ({len(values)})" if len(values) > _VALUES else ""
        )
    if one.quantity == "share":
        return "areas", " · ".join(f"{label} {share:.1%}" for _, label, share in best if share)
    if one.quantity in ("score", "distance"):
        return f"top-{len(best)}", " · ".join(f"{label} {number(value)}" for _, label, value in best)
    assumed = one.preprocessing is not None and one.preprocessing.labels_assumed
    return f"top-{len(best)}", " · ".join(f"{label} {share:.2f}" for _, label, share in best) + (
        "  [class names assumed]" if assumed else ""
    )


def sum_of(one: Explanation, target: int = 0) -> str:
    """Return the sum of relevance of a sample's target: `ΣR 9.84 of logit 9.91  (0.7 % absorbed by biases)`."""
    total, logit = (float(np.atleast_2d(np.asarray(a))[target, 0]) for a in (one.total, one.logit))
    class_id = int(np.atleast_2d(one.target)[target, 0])
    best = one.top(1)[0][0][0]
    whose = "" if class_id == best else f"{labels.name(one.labels, class_id)}: "
    whose += _where_scored(one, target)
    what = "value" if one.is_value else "logit"
    if str(one.provenance.get("explained", "")).startswith("the evidence"):
        what = "evidence"  # no value of the model's own
    if (found := of_positions(one, target)) is not None:
        return f"{whose}{found}, ΣR {number(total)} of {what} {number(logit)}"
    if not one.ledger:
        return "   ".join(filter(None, (f"{whose}{what} {number(logit)}", notes(one, target))))
    return f"{whose}ΣR {number(total)} of {what} {number(logit)}  ({_where(one, target, logit)})"


def of_positions(one: Explanation, target: int = 0) -> str | None:
    """Say which share of the score positions and class tokens have, where positions are explained; else None."""
    words = []
    for name, what in (("share of positions", "positions"), ("share of the class token", "class token")):
        if name in one.notes:
            words.append(f"{what} {float(np.atleast_2d(one.notes[name])[target, 0]):.1%}")
    return ", ".join(words) or None


def boxes(one: Explanation, count: int = 3) -> str:
    """Return the boxes of a sample: `5: zebra 0.94 · *person 0.61*`; the explained one in stars; "" of other models."""
    if not one.boxes:
        return ""
    own = one.boxes[0]
    shown = sorted({*range(min(count, len(own.found))), own.chosen})
    words = [f"{'*' * (n == own.chosen)}{n + 1} {own.found[n].label} {own.found[n].score:.2f}" for n in shown]
    corners = ",".join(f"{value:.0f}" for value in own.box[:4])
    return f"{len(own.found)}: {' · '.join(words)}; explained: y0,x0,y1,x1 = {corners}"


def _where_scored(one: Explanation, target: int) -> str:
    """Say of how many positions the score is the mean, where it is that of several; and where a peak is."""
    peak = [int(np.atleast_2d(at)[target, 0]) for name, at in one.notes.items() if name.startswith("peak ")]
    if peak:
        from ..explanation.tokens import tokens

        words = tokens(one, 0, target) if len(peak) == 1 else []
        word = f" ({words[peak[0]].text})" if peak[0] < len(words) else ""
        return f"peak at {','.join(map(str, peak))}{word}: "
    found = one.notes.get("positions")
    count = 1 if found is None else int(np.atleast_2d(found)[target, 0])
    return f"mean over {count} positions ({one.provenance.get('place')}): " if count > 1 else ""


def notes(one: Explanation, target: int = 0) -> str:
    """Return the notes of a method on one sample: `steps 32, completeness error -0.01`."""
    words = []
    for name, value in one.notes.items():
        if name == "positions" or name.startswith("peak "):  # said with the score
            continue
        if name == "interactions":
            words.append(f"strongest interactions {_interactions(one, target)}")
            continue
        found = np.asarray(value)
        if found.shape == one.target.shape:
            found = np.atleast_2d(found)[target, :1]
        elif one.target.ndim == 2 and len(found.shape) and len(found) == len(one.target):
            found = found[target]  # one for each target, whatever the sample
        text = number(float(found.reshape(()))) if found.dtype.kind == "f" and found.size == 1 else str(found)
        words.append(f"{name} {text.strip('[]')}")
    return ", ".join(words)


def _interactions(one: Explanation, target: int) -> str:
    """The strongest interactions of two columns in one sample, each both of its halves: `age · sex 0.12`."""
    found = np.asarray(one.notes["interactions"], np.float64)
    square = (found[target] if one.target.ndim == 2 else found)[0]
    i, j = np.triu_indices(len(square), 1)
    pairs = 2 * square[i, j]
    names = one.feature_names or [f"feature {n}" for n in range(len(square))]
    order = np.argsort(-np.abs(pairs), kind="stable")[:3]
    return " · ".join(f"{names[i[n]]} & {names[j[n]]} {number(float(pairs[n]))}" for n in order) or "none"


def _where(one: Explanation, target: int, logit: float) -> str:
    rows = rows_of(one)
    free = sum(not row.conserves for row in rows)
    if free:
        return f"{free} of {len(rows)} layers have a rule that does not conserve relevance"
    gone = absorbed(one, target)
    if not_positive(one, target):
        return "not positive, and this method explains max(f, 0) alone"
    if not logit:
        return "nothing to distribute"
    words = []
    # Without other inputs it is constants that the model reads as activations: a class token.
    elsewhere = "other inputs" if one.provenance.get("given") else "the model's constants"
    for sink, taken, given in _WORDS:
        share = gone.get(sink, 0.0) / logit
        if abs(share) >= MATTERS:
            words.append(f"{100 * abs(share):.1f} % {taken if share > 0 else given}".replace("OTHERS", elsewhere))
    if one.provenance.get("conditions"):
        words.append("the rest runs through channels outside of --condition")
    return ", ".join(words) or "all of it"


def bias_dominated(one: Explanation) -> str:
    """Return in words how biases and stabilisers absorb nearly all of the logit or more; "" where they do not."""
    if not one.ledger:
        return ""
    logits, totals = (np.atleast_2d(np.asarray(a, np.float64))[:, 0] for a in (one.logit, one.total))
    gone = [absorbed(one, t) for t in range(len(logits))]
    rests = [
        abs(total / logit)
        for t, total, logit in zip(gone, totals, logits, strict=True)
        if logit and (t["bias"] + t["epsilon"]) / logit > MOSTLY
    ]
    if not rests:
        return ""
    if max(rests) <= 1 - MOSTLY:
        return "nearly all of the logit under {}: the heatmap shows the small rest, which says where"
    return "nearly as much as the logit, or more, under {}: ΣR is no small rest of it, and the heatmap says where"


def depthwise_absorb_most(one: Explanation, graph: Graph) -> bool:
    """Return whether depthwise convolutions absorb more than half of what biases and stabilisers absorb."""
    groups = ((layer, layer.attributes.get("group", 1)) for layer in graph.layers if layer.op == "Conv")
    layers = {layer.label for layer, n in groups if n > 1 and n == graph.shapes[layer.inputs[0]][0]}
    amounts = {True: 0.0, False: 0.0}
    for row in rows_of(one):
        amounts[row.layer in layers] += float(np.abs(row.bias).sum() + np.abs(row.epsilon).sum())
    return amounts[True] > amounts[False]


_WORDS = (
    ("bias", "absorbed by biases", "added by biases"),
    ("epsilon", "absorbed by epsilon", "added by epsilon"),
    ("gate", "dropped at gates and padding", "added at gates and padding"),
    ("coefficients", "absorbed by coefficients", "added by coefficients"),
    ("entropy", "absorbed by the entropy", "added by the entropy"),
    ("others", "to OTHERS", "against it by OTHERS"),
)


def not_positive(one: Explanation, target: int = 0) -> bool:
    """Return whether a method of the positive part of the output (deep Taylor) has nothing to explain."""
    logit = float(np.atleast_2d(np.asarray(one.logit))[target, 0])
    return one.provenance.get("seed") == "positive logit" and logit <= 0


def rows_of(one: Explanation) -> Sequence[ledger.LedgerRow]:
    """Return the ledger's rows; none where no ledger was kept."""
    return one.ledger or ()


def absorbed(one: Explanation, target: int = 0) -> dict[str, float]:
    """Return the relevance of one sample that all layers absorb, by sink."""
    return {sink: float(np.atleast_2d(v)[target, 0]) for sink, v in ledger.sums(rows_of(one)).items()}


def table(one: Explanation, target: int = 0) -> list[list[str]]:
    """Return the ledger of one sample as a table: a head, the layers from the output down, and the sums."""
    further = [name for name in ledger.FURTHER if any(name in row.further for row in rows_of(one))]
    sinks = [*ledger.SINKS, *further]
    columns = ["arrived", "passed", *sinks, "residual"]
    lines = [["layer", "op", "rule", *columns]]
    for row in rows_of(one):
        numbers = [getattr(row, name) for name in columns]
        cells = ["" if n is None else number(float(np.atleast_2d(n)[target, 0])) for n in numbers]
        if not row.conserves:
            cells[2:] = ["-"] * (len(columns) - 2)
        lines.append([row.layer, row.op, row.rule, *cells])
    gone = absorbed(one, target)
    lines.append(["all", "", "", "", "", *(number(gone[sink]) for sink in sinks), ""])
    return lines


def open_rows(one: Explanation) -> list[str]:
    """Return the layers whose ledger does not close, with the size of the gap."""
    rows = [row for row in rows_of(one) if not row.error < CLOSES]
    return [f"{row.layer} ({row.op}, {row.rule}): {row.error:.1e} of Σ|R|" for row in rows]


def number(value: float) -> str:
    """Return a number rounded for reading."""
    if value == 0:
        return "0"
    return f"{value:.2f}" if 0.095 <= abs(value) < 1e5 else f"{value:.2g}"


def record(one: Explanation, source: str, ledgered: bool) -> Mapping[str, Any]:
    """Return what `--json` prints of one sample, in JSON's types."""
    data = one.to_dict()
    sample = data["samples"][0]
    conserved = bool(one.ledger) and all(row.conserves for row in rows_of(one))
    for t, target in enumerate(sample["targets"]):
        target["absorbed"] = absorbed(one, t) if conserved else None
    shape, axis = data["relevance_shape"], one.target.ndim - 1
    return {
        "input": source,
        **sample,
        "method": one.method,
        "relevance_shape": [*shape[:axis], *shape[axis + 1 :]],
        "notes": data["notes"],
        "ledger": data["ledger"] if ledgered else None,
        "provenance": data["provenance"],
        "assumed": data.get("ASSUMED", []),
    }
