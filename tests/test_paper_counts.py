"""The papers' counts, run as users run them; what is written is read back."""

import re
from pathlib import Path

import pytest

from tests.example_runs import EXAMPLES, assert_not_blank, run, table

ROOT = Path(__file__).parent.parent
# All that the papers print and their own settings do not give.
CONTRADICTIONS = {
    ("section 4.2", "721"), ("section 4.2", "1470"), ("section 4.2", "3387"), ("abstract", "17,388x"), ("table 2", "3,387"),
    ("section 3.1", "6,501x"), ("section 3.1", "6,894x"), ("tables 5, 6", "22M"), ("section 3.2", "1.9x"),
    ("abstract", "10,711x"), ("abstract", "3,985x"),
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper_counts")
    return folder, run("paper_counts.py", "--quick", "--output", folder)


@pytest.mark.slow
def test_what_disagrees_is_what_the_papers_contradict_themselves_in(done):
    folder, printed = done
    rows = table(folder / "counts.csv")
    assert len(rows) == 75
    differing = [row for row in rows if row["agrees"] == "False"]
    assert {(row["place"], row["printed"]) for row in differing} == CONTRADICTIONS
    assert len(differing) == len(CONTRADICTIONS)
    assert all(row["note"] for row in differing)
    assert not any(row["note"] for row in rows if row["agrees"] == "True")
    assert "Ye et al. 2018: 21 printed numbers, 17 agree, 4 differ" in printed
    assert "Yin et al. 2021: 54 printed numbers, 47 agree, 7 differ" in printed


@pytest.mark.slow
def test_counts_are_those_known_and_inferred_settings_are_marked(done):
    rows = table(done[0] / "counts.csv")
    counted = {(row["layer"], row["quantity"], row["fewer_than"]): float(row["counted"]) for row in rows}
    # Those of the library's layers are in tests/test_published_counts.py.
    assert counted["LSTM", "whole layer", ""] == 59_244_544
    assert counted["CNN + LSTM", "with the CNN", ""] == 21_770_000 + 33_554_432
    assert counted["FDHT-LSTM", "whole layer", "TR-LSTM"] == pytest.approx(263_869 / 8808)
    assert counted["CNN + FDHT-LSTM, UCF11", "whole layer", "CNN + TR-LSTM"] == pytest.approx((671_200 + 16_777_216) / 3132)
    # More than 22M whatever its ranks: one dense hidden-hidden matrix.
    assert counted["CNN + HT-LSTM", "with the CNN", ""] > 21_770_000 + 16_777_216
    marked = {row["layer"]: row["inferred"] for row in rows}
    assert marked["CNN + TR-LSTM"] == "quoted"
    assert {name for name, inferred in marked.items() if not inferred} == {
        "LSTM", "CNN + LSTM", "LSTM of DRAW", "LSTM on 4096 features", "LSTM on 14 x 14 x 512 features", "matrix of fig. 5",
        "matrix of fig. 9", "FDHT-LSTM", "FDHT-LSTM, Youtube", "CNN + FDHT-LSTM, UCF11", "CNN + FDHT-LSTM, HMDB51",
    }  # fmt: skip


@pytest.mark.slow
def test_pictures_and_the_hidden_hidden_weights(done):
    for name in ("hidden_hidden", "against_order", "against_rank"):
        assert_not_blank(done[0] / f"{name}.png")
    rows = {row["layer"]: row for row in table(done[0] / "hidden_hidden.csv")}
    assert rows.pop("FDHT-LSTM")["hidden_hidden"] == ""
    assert all(int(row["hidden_hidden"]) == 4 * 256 * 256 for row in rows.values())
    assert float(rows.pop("LSTM")["hidden_hidden_share"]) < 0.005
    assert len(rows) == 4 and all(float(row["hidden_hidden_share"]) > 0.98 for row in rows.values())


@pytest.mark.slow
def test_parameters_against_order_and_rank(done):
    folder, _ = done
    orders = {(int(row["order"]), int(row["rank"])): int(row["parameters"]) for row in table(folder / "against_order.csv")}
    assert len(orders) == 48
    # N (sum I_k J_k R + R^d) of the BT paper's eq. 15, by hand.
    assert orders[1, 1] == 4096 * 256 + 1
    assert orders[4, 4] == 4 * (8 * 4) * 4 + 4**4
    assert orders[12, 4] == 4 * (8 * 4 + 4 * 2) + 4**12
    for rank, fewest in ((1, 12), (2, 6), (3, 4), (4, 4)):
        assert min(range(1, 13), key=lambda order, rank=rank: orders[order, rank]) == fewest
    ranks = table(folder / "against_rank.csv")
    assert [int(row["rank"]) for row in ranks] == list(range(1, 65))
    assert [int(row["rank"]) for row in ranks if row["fewest"] == "ht"] == list(range(2, 31))
    assert {name: int(ranks[31][name]) for name in ("tt", "tr", "bt", "ht")} == {
        "tt": 99_840, "tr": 144 * 32**2, "bt": 144 * 32 + 32**5, "ht": 103_936,
    }  # fmt: skip


def test_the_page_has_every_item_and_contradiction():
    page = (ROOT / "docs" / "papers.md").read_text()
    assert "75 numbers that the papers print, 64 agree" in page and "11 contradict" in page
    for _, printed in CONTRADICTIONS:
        assert printed.replace("x", "") in page
    for paper, tables, figures, equations in (("BT", 2, 9, 20), ("HT", 7, 6, 11)):
        items = re.findall(
            r"^\| ([^,|]+(?:, \d+)*)", page.partition(f"\n## {paper}\n")[2].partition("\n## ")[0], flags=re.MULTILINE
        )
        for kind, count in (("table", tables), ("fig.", figures), ("eq.", equations)):
            found = set()
            for item in items:
                if item.startswith(kind):
                    numbers = [int(number) for number in re.findall(r"\d+", item)]
                    found |= set(range(numbers[0], numbers[-1] + 1))
            assert found == set(range(1, count + 1)), (paper, kind)
    for path in set(re.findall(r"`((?:docs|tests)/\w+\.py)`", page)):
        assert (ROOT / path).exists(), path
    for path in set(re.findall(r"`((?:formats|nn|recurrent)/\w+\.py|\w+\.py)`", page)):
        assert (ROOT / "tensorly_rnn" / path).exists(), path


def test_what_is_printed_is_read_as_the_papers_write_it(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from papers.published import HT, Printed

    for text, value, near, far in (
        ("58.98M", 58_980_000, 58_985_000, 59_000_000),
        ("4.1 x 10^6", 4_100_000, 4_194_304, 4_200_000),
        ("265.50K", 265_500, 265_504, 265_520),
        ("3,360", 3360, 3360, 3361),
    ):
        row = Printed(HT, "", "", "", text)
        assert row.value == pytest.approx(value)
        assert row.agrees(near) and not row.agrees(far)
    ratio = Printed(HT, "", "", "", "6,726x", "LSTM")
    assert ratio.agrees(6726.2) and ratio.agrees(6725.7) and not ratio.agrees(6727.1)
