"""
Every parameter count of the papers
===================================

Builds the layers that the two papers speak of and counts their parameters beside the printed numbers: Ye et al., *Learning
compact recurrent neural networks with block-term tensor decomposition*, CVPR 2018 (figures 5, 6, 7 and 9 and the text), and
Yin et al., *Towards extremely compact RNNs for video recognition with fully decomposed hierarchical Tucker structure*, CVPR
2021 (tables 2 to 7, figures 2 and 5 and the text). The layers are real, on torch's meta device, which holds no numbers.

What to expect: 64 of the 75 numbers agree. The other eleven contradict the papers' own tables; each has its reason beside it.
A column says which settings the papers do not print: they were found by search. Behind a CNN the tensor ring's count is only
quoted, for no setting is known that gives it. ``docs/papers.md`` has the whole story.

::

    python examples/paper_counts.py             # a few seconds; there is nothing to train and no data to read

The folder ``paper_counts_results`` (or ``--output``) receives four tables and three pictures. ``counts.csv`` has a line for
each printed number:

=======================  ===============================================================================================
paper, place             where it is printed
layer, quantity          what it is of: the input-hidden weights, the whole layer, or that with the CNN before it
fewer_than               the layer whose count is divided by this one's, where a ratio is printed
printed                  as in the paper
counted                  the same from real layers, biases excluded
agrees                   whether the printed number is the counted one, rounded or cut off
inferred                 settings that are not printed; ``quoted`` where the count is the paper's
note                     why the two differ
=======================  ===============================================================================================

``hidden_hidden.csv`` and its picture are the HT paper's fig. 2: what is left in the hidden-hidden weights once the
input-hidden ones are in factors. ``against_order.csv`` (order, rank, parameters, modes) is the BT paper's fig. 5,
``against_rank.csv`` (rank, parameters of each format, the fewest) the HT paper's, in whose picture the ranks are marked at
which HT has not the fewest.
"""

# sphinx_gallery_thumbnail_path = "images/complexity.png"

from __future__ import annotations

import argparse
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.table import Table

from learning.training import ParameterCount, count_parameters
from papers import count_pictures
from papers.published import BT, CNN_PARAMETERS, HT, HT_IN, HT_OUT, LAYERS, PRINTED, WHOLE, WITH_CNN, Printed, matrix
from running.report import MISSING, make_console, make_table, write_csv
from tensorly_rnn import factorize_size

FORMATS = ("tt", "tr", "bt", "ht")
# BT paper, fig. 5: a matrix of 4096 x 256 in up to 12 modes, which is as many as 4096 = 2^12 has.
FIG_5_SIZES, FIG_5_ORDERS, FIG_5_RANKS = (4096, 256), range(1, 13), range(1, 5)
# HT paper, fig. 5, its ranks not legible in the text: to beyond where the curves cross.
RANKS = range(1, 65)
TABLE_WIDTH = 170
BOTTLENECK = ("LSTM", "TT-LSTM", "BT-LSTM, R = 4", "TR-LSTM", "HT-LSTM", "FDHT-LSTM")


@cache
def counted(name: str) -> ParameterCount:
    """Count the parameters of a published layer; those that are quoted take the place of the dense ones."""
    layer = LAYERS[name]
    found = count_parameters(layer.make(device="meta"))
    if layer.linear:
        return ParameterCount(found.recurrent, found.recurrent)
    if layer.quoted is not None:
        return ParameterCount(layer.quoted, found.recurrent - found.input_hidden + layer.quoted)
    return found


def parameters(name: str, quantity: str) -> int:
    """Return a count of a published layer."""
    count = counted(name)
    if quantity == WITH_CNN:
        return CNN_PARAMETERS + count.recurrent
    found = count.recurrent if quantity == WHOLE else count.input_hidden
    if found is None:
        raise ValueError(f"{name} has one matrix for both parts, expected the quantity {WHOLE!r}, got {quantity!r}")
    return found


def compare(row: Printed) -> float:
    """Return what the layers have in place of a printed number."""
    own = parameters(row.layer, row.quantity)
    return parameters(row.fewer_than, row.quantity) / own if row.fewer_than else own


def count_rows() -> list[dict[str, object]]:
    """Return one line for each printed number."""
    return [
        {
            "paper": row.paper,
            "place": row.place,
            "layer": row.layer,
            "quantity": row.quantity,
            "fewer_than": row.fewer_than,
            "printed": row.text,
            "counted": compare(row),
            "agrees": row.agrees(compare(row)),
            "inferred": "quoted" if LAYERS[row.layer].quoted else LAYERS[row.layer].inferred,
            "note": row.note,
        }
        for row in PRINTED
    ]


def bottleneck_rows() -> list[dict[str, object]]:
    """Return the HT paper's fig. 2: the two parts of each layer; FDHT has one matrix for both."""
    rows = []
    for name in BOTTLENECK:
        count = counted(name)
        hidden_hidden = None if count.input_hidden is None else count.recurrent - count.input_hidden
        rows.append(
            {
                "layer": name,
                "input_hidden": count.input_hidden,
                "hidden_hidden": hidden_hidden,
                "whole": count.recurrent,
                "hidden_hidden_share": hidden_hidden and hidden_hidden / count.recurrent,
            }
        )
    return rows


def order_rows() -> list[dict[str, object]]:
    """Return the BT paper's fig. 5: parameters of one block against the number of modes."""
    rows = []
    for order in FIG_5_ORDERS:
        in_modes, out_modes = (factorize_size(size, order) for size in FIG_5_SIZES)
        for rank in FIG_5_RANKS:
            layer = matrix("bt", (1, rank), in_modes, out_modes)
            count = count_parameters(layer.make(device="meta")).recurrent
            rows.append({"order": order, "rank": rank, "parameters": count, "in_modes": in_modes, "out_modes": out_modes})
    return rows


def rank_rows() -> list[dict[str, object]]:
    """Return the HT paper's fig. 5: parameters of each format against the rank, and which has the fewest."""
    rows = []
    for rank in RANKS:
        count = {}
        for name in FORMATS:
            layer = matrix(name, (1, rank) if name == "bt" else rank, HT_IN, HT_OUT)
            count[name] = count_parameters(layer.make(device="meta")).recurrent
        fewest = min(count.values())
        rows.append({"rank": rank, **count, "fewest": " ".join(name for name in FORMATS if count[name] == fewest)})
    return rows


def make_count_table(title: str, caption: str, *headings: str) -> Table:
    """Make an empty table whose numbers stand right."""
    table = make_table(title, caption)
    for heading in headings:
        is_number = heading in ("printed", "counted", "input-hidden", "hidden-hidden", "whole", "share", *FORMATS)
        table.add_column(heading, justify="right" if is_number else "left")
    return table


def count_table(paper: str, rows: list[dict[str, Any]]) -> Table:
    """Lay out what one paper prints beside what the layers have."""
    differ = sum(not row["agrees"] for row in rows)
    title = f"{paper}: {len(rows)} printed numbers, {len(rows) - differ} agree, {differ} differ (!)"
    caption = (
        "Without biases. Settings the paper does not print are inferred; quoted: no setting is known that gives the count."
    )
    table = make_count_table(title, caption, "where", "layer", "of", "printed", "counted", "", "inferred", "note")
    for row in rows:
        of = f"{row['quantity']}, fewer than {row['fewer_than']}" if row["fewer_than"] else row["quantity"]
        digits = 1 if row["fewer_than"] else 0
        table.add_row(
            row["place"], row["layer"], of, row["printed"], f"{row['counted']:,.{digits}f}", "" if row["agrees"] else "!",
            row["inferred"], row["note"],
        )  # fmt: skip
    return table


def bottleneck_table(rows: list[dict[str, Any]]) -> Table:
    """Lay out the HT paper's fig. 2."""
    caption = "FDHT has one matrix for both parts."
    table = make_count_table(
        f"{HT}, fig. 2: what the input-hidden weights leave",
        caption,
        "layer",
        "input-hidden",
        "hidden-hidden",
        "whole",
        "share",
    )
    for row in rows:
        numbers = [MISSING if row[key] is None else f"{row[key]:,}" for key in ("input_hidden", "hidden_hidden", "whole")]
        share = row["hidden_hidden_share"]
        table.add_row(row["layer"], *numbers, MISSING if share is None else f"{share:.1%}")
    return table


def order_table(rows: list[dict[str, Any]]) -> Table:
    """Lay out the BT paper's fig. 5, the fewest of each rank marked."""
    table = make_count_table(f"{BT}, fig. 5: parameters against order", "*: the fewest of a rank.", "order")
    for rank in FIG_5_RANKS:
        table.add_column(f"R = {rank}", justify="right")
    fewest = {rank: min(row["parameters"] for row in rows if row["rank"] == rank) for rank in FIG_5_RANKS}
    for order in FIG_5_ORDERS:
        cells = [(row["parameters"], row["rank"]) for row in rows if row["order"] == order]
        table.add_row(str(order), *(f"{count:,}{'*' if count == fewest[rank] else ' '}" for count, rank in cells))
    return table


def rank_table(rows: list[dict[str, Any]]) -> Table:
    """Lay out the HT paper's fig. 5 at the doubling ranks and where the fewest changes."""
    changes = [row["rank"] for before, row in pairwise(rows) if before["fewest"] != row["fewest"]]
    table = make_count_table(f"{HT}, fig. 5: parameters against rank", "", "rank", *FORMATS, "fewest")
    for row in rows:
        if row["rank"] in changes or row["rank"].bit_count() == 1:
            table.add_row(str(row["rank"]), *(f"{row[name]:,}" for name in FORMATS), row["fewest"])
    return table


def main(arguments: list[str] | None = None) -> None:
    """Count, write and print from the command line."""
    parser = argparse.ArgumentParser(description="Count every parameter that the papers count.")
    parser.add_argument("--quick", action="store_true", help="as without: it takes a few seconds")
    parser.add_argument("--output", type=Path, default=Path("paper_counts_results"), help="folder for tables and pictures")
    output = parser.parse_args(arguments).output
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"cannot write to the folder {output}: {error.strerror}")
    console = make_console(quiet=False)
    if not console.is_terminal:
        console.width = max(console.width, TABLE_WIDTH)
    counts, bottleneck, orders, ranks = count_rows(), bottleneck_rows(), order_rows(), rank_rows()
    write_csv(output / "counts.csv", counts)
    write_csv(output / "hidden_hidden.csv", bottleneck)
    write_csv(output / "against_order.csv", orders)
    write_csv(output / "against_rank.csv", ranks)
    count_pictures.draw_bottleneck(output / "hidden_hidden.png", bottleneck)
    count_pictures.draw_against_order(output / "against_order.png", orders)
    count_pictures.draw_against_rank(output / "against_rank.png", ranks)
    for paper in (BT, HT):
        console.print(count_table(paper, [row for row in counts if row["paper"] == paper]))
    console.print(bottleneck_table(bottleneck), order_table(orders), rank_table(ranks), sep="\n")
    console.print(
        f"data: none, real layers on the meta device\nwritten to {output}: tables (csv) and pictures (png)", soft_wrap=True
    )


if __name__ == "__main__":
    main()
