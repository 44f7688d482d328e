"""Tables of the timings, and the targets that are met."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.benchmarks import tables
from tests.benchmarks.speed.cases import DENSE
from tests.benchmarks.speed.growth import MEASURES, slopes
from tests.benchmarks.speed.timing import Row

OURS = "tensorly-rnn"


@dataclass(frozen=True)
class Target:
    """The least ratio of a measure in a case, `against` over ours, that each of some systems (all of ours) must reach."""

    case: str
    measure: str
    wanted: float
    systems: Sequence[str] = ()
    against: str = DENSE


#: At most 5 % slower, or 30 % where a whole dense forward pass is 0.4 ms.
EVEN, NEARLY = 1 / 1.05, 1 / 1.3
CPU = (
    *(
        Target("a", measure, least, systems)
        for training, forward, *systems in ((40, 30, "tt", "tr"), (30, 20, "ht"), (12, 13, "fdht"), (8, 8, "bt"))
        for measure, least in (("training", training), ("forward", forward))
    ),
    *(Target("a", "training", least, [name], f"TedNet {name.upper()}") for name, least in (("tt", 15), ("bt", 15), ("tr", 6))),
    Target("a", "projection", 1 / 3, ["tt", "tr", "ht"], "roofline"),
    Target("a", "memory", 5),
    *(Target(case, measure, EVEN) for case in "bce" for measure in ("forward", "training")),
    Target("d", "forward", EVEN),
    Target("d", "training", NEARLY),
)
CUDA = (
    Target("a", "training", 5),
    *(Target(case, measure, EVEN) for case in "bcde" for measure in ("forward", "training")),
)
#: Those of the CPU are stated in float32 alone.
TARGETS = {("cpu", "float32"): CPU, **{("cuda", precision): CUDA for precision in ("float32", "tf32", "bfloat16")}}


def judged(rows: list[Row], target: Target) -> tuple[float, str] | None:
    """Return the least ratio and who has it; None where nothing was measured."""
    about = [row for row in rows if (row["case"], row["measure"]) == (target.case, target.measure)]
    found = []
    for row in about:
        if row["package"] == OURS and (not target.systems or row["system"] in target.systems):
            others = [one for one in about if (one["title"], one["system"]) == (row["title"], target.against)]
            if target.against in (DENSE, "roofline"):
                found.append((row["ratio"], row))
            elif others:
                found.append((others[0]["ms"] / row["ms"], row))
    if not found:
        return None
    worst, row = min(found, key=lambda pair: pair[0])
    several = len({one["title"] for one in about}) > 1
    return worst, f"{row['system']} in {row['title']}" if several else row["system"]


def verdicts(rows: list[Row], device: str, precision: str) -> list[Row]:
    """Return every target with what was found."""
    of_precision = [row for row in rows if row["precision"] == precision]
    found = []
    for target in TARGETS.get((device, precision), ()):
        got = judged(of_precision, target)
        words = f"({target.case}) {target.measure}, {target.against} over {' and '.join(target.systems) or 'all of ours'}"
        one = {"precision": precision, "target": words, "wanted": target.wanted}
        found.append(one | ({"got": got[0], "by": got[1], "met": got[0] >= target.wanted} if got else {"got": None}))
    return found


def table(title: str, heads: tuple[str, ...], lines: Iterable[tuple[object, ...]]) -> str:
    """Return a table under its title."""
    return f"\n{title}\n{tables.table(heads, lines)}"


def number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def times(rows: list[Row]) -> str:
    """Return the table of one case in one precision: milliseconds, ratio to dense (quartiles of the rounds).

    `operations` are those of dense over those planned, of a forward product with the weight in factors.
    """
    found = {(row["system"], row["measure"]): row for row in rows}
    measures = [one for one in ("forward", "forward, train mode", "training") if one in {measure for _, measure in found}]
    lines = []
    for name in dict.fromkeys(row["system"] for row in rows):
        own = [found[name, measure] for measure in measures]
        ratios = [" - ".join(map(number, row["ratio_quartiles"])) for row in own]
        cells = [cell for row, ratio in zip(own, ratios) for cell in (number(row["ms"]), f"{number(row['ratio'])} ({ratio})")]
        arithmetic = number(own[0]["flops_ratio"]) if own[0]["flops_ratio"] else ""
        lines.append((name, f"{own[0]['n_param']:,}", number(own[0]["compression"]), arithmetic, *cells))
    heads = ("", "weights", "compression", "operations")
    heads += tuple(word for measure in measures for word in (f"{measure} ms", "dense / it"))
    return table(f"({rows[0]['case']}) {rows[0]['title']}, {rows[0]['precision']}", heads, lines)


def against_peers(rows: list[Row]) -> str:
    """Return how many times as long every peer takes as ours of the same form and rank."""
    found = {(row["title"], row["precision"], row["system"], row["measure"]): row["ms"] for row in rows if "ms" in row}
    lines = []
    for row in (row for row in rows if row.get("alike") and row["measure"] == "forward"):
        where = (row["title"], row["precision"])
        ratios = [found[*where, row["system"], one] / found[*where, row["alike"], one] for one in ("forward", "training")]
        lines.append((f"{row['title']}, {row['precision']}: {row['system']}", row["alike"], *map(number, ratios)))
    return table("Times that a peer takes of ours", ("", "ours", "forward", "training"), lines) if lines else ""


def others(rows: list[Row]) -> str:
    """Return the tables of projections and of memory."""
    texts = []
    of = {measure: [row for row in rows if row["measure"] == measure] for measure in ("projection", "memory")}
    if of["projection"]:
        lines = [
            (
                f"{row['system']}, {row['precision']}",
                *map(number, (row["ms"], row["roofline_ms"], 1 / row["ratio"], row["read_ms"], row["gemm_gflops"])),
            )
            for row in of["projection"]
        ]
        heads = ("", "ms", "roofline ms", "times the roofline", "one read of x ms", "GEMM GFLOP/s")
        texts.append(table("(a) input projection against the roofline", heads, lines))
    if of["memory"]:
        lines = [(row["system"], number(row["megabytes"]), number(row["ratio"])) for row in of["memory"]]
        texts.append(table("(a) peak memory of a training step above input and import", ("", "MB", "dense / it"), lines))
    return "\n".join(texts)


def growth(rows: list[Row]) -> str:
    """Return the fitted slopes."""
    lines = [(f"{sweep}, {format}", *(f"{of[one]:.2f}" for one in MEASURES)) for (sweep, format), of in slopes(rows).items()]
    return table("Slopes of log over log", ("", *MEASURES), lines) if lines else ""


def text(record: dict) -> str:
    """Return all tables."""
    rows = record["rows"]
    parts = []
    for key in dict.fromkeys((row["title"], row["precision"]) for row in rows):
        own = [row for row in rows if (row["title"], row["precision"]) == key and "samples" in row]
        parts += [times(own)] if own else []
    parts += [against_peers(rows), others(rows), growth(record["growth"])]
    lines = []
    for one in record["targets"]:
        got = (
            (number(one["got"]), "met" if one["met"] else "MISSED", one["by"])
            if one["got"] is not None
            else ("-", "not measured", "")
        )
        lines.append((one["target"], one["precision"], number(one["wanted"]), *got))
    if lines:
        parts.append(table("Targets: least ratios", ("", "precision", "wanted", "got", "", "least by"), lines))
    parts += [f"Left out: {name}: {why}" for name, why in record["left_out"].items()]
    machine = ", ".join(f"{name} {value}" for name, value in record["machine"].items())
    rounds = f"{record['rounds']} rounds; medians, quartiles of the rounds in parentheses"
    return "\n".join([*filter(None, parts), "", machine, rounds])
