"""DRAW with compact encoders: the program as its users run it, and the parts it is made of."""

import gzip

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from tests.example_runs import assert_not_blank, interrupt_and_go_on, run, table

PROGRAM = "image_generation.py"
SMALL = ["--quick", "--systems", "dense,bt", "--train-images", "400", "--glimpses", "3", "--epochs", "10"]


pytestmark = pytest.mark.usefixtures("examples")


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image_generation")
    return folder, run(PROGRAM, *SMALL, "--output", folder)


def write_idx(path, images):
    content = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in images.shape) + images.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """Files as MNIST's, one compressed."""
    folder = tmp_path_factory.mktemp("mnist")
    images = np.zeros((60, 28, 28), np.uint8)
    images[:, 4:24, 4:24] = np.kron(load_digits().images[:60] * 15, np.ones((3, 3)))[:, :20, :20]
    write_idx(folder / "train-images-idx3-ubyte.gz", images[:40])
    write_idx(folder / "t10k-images-idx3-ubyte", images[40:])
    return folder, (images > 127).reshape(60, 784)


@pytest.mark.slow
def test_results_have_the_published_counts_and_learn(quick):
    folder, printed = quick
    rows = {row["system"]: row for row in table(folder / "results.csv")}
    assert {name: int(row["input_hidden_parameters"]) for name, row in rows.items()} == {
        "dense LSTM": 1_867_776, "BT-LSTM": 1184,
    }  # fmt: skip
    assert int(float(rows["BT-LSTM"]["input_hidden_ratio"])) == 1577
    saved = {name: int(row["model_parameters"]) - int(row["input_hidden_parameters"]) for name, row in rows.items()}
    assert len(set(saved.values())) == 1
    for row in rows.values():
        assert float(row["test_bound"]) < 0.95 * float(row["independent_pixels"]), row
        assert float(row["test_divergence"]) > 0.5  # the latent vectors tell something
        parts = float(row["test_reconstruction"]) + float(row["test_divergence"])
        assert parts == pytest.approx(float(row["test_bound"]))
        assert row["data"].startswith("stand-in (scikit-learn's 8 x 8 digits")
    assert "data: stand-in (scikit-learn's" in printed and "written to" in printed


@pytest.mark.slow
def test_curves_cover_every_epoch_and_fall(quick):
    folder, _ = quick
    assert sorted(path.name for path in folder.iterdir()) == ["bound_curves.png", "curves.csv", "results.csv", "samples.png"]
    for name in ("samples.png", "bound_curves.png"):
        assert_not_blank(folder / name)
    curves = table(folder / "curves.csv")
    for row in table(folder / "results.csv"):
        own = [line for line in curves if line["system"] == row["system"]]
        assert [int(line["epoch"]) for line in own] == list(range(1, 11))
        assert float(own[-1]["training_bound"]) < 0.6 * float(own[0]["training_bound"])
        assert own[-1]["test_bound"] == row["test_bound"]
        assert min(float(line["test_bound"]) for line in own) == float(row["lowest_test_bound"])


def test_every_system_has_about_as_many_parameters(mnist):
    import image_generation
    from learning.training import count_parameters

    counts = {
        system.name: count_parameters(image_generation.Drawing(None, 1, 4, "cpu").make_model(system).encoder).input_hidden
        for system in image_generation.SYSTEMS
    }
    assert counts == {"bt": 1184, "tt": 1312, "tr": 1232, "ht": 1113}


def test_mnist_is_trained_on(mnist, tmp_path):
    import image_generation
    from learning.trials import Trial, run_trial

    arguments = ["--data", str(mnist[0]), "--glimpses", "2", "--epochs", "2", "--output", str(tmp_path)]
    plan = image_generation.make_plan(arguments)
    digits = plan.task.digits
    assert digits.source == f"real (MNIST in {mnist[0]}, black and white)"
    assert np.array_equal(digits.train, mnist[1][:40])
    reports = []
    trials = [Trial(plan.systems[1], seed) for seed in (0, 1)]
    outcomes = [run_trial(plan.task, trial, plan.settings, plan.checkpoints, reports.append) for trial in trials]
    assert [epochs for what, epochs in reports if what == "BT-LSTM, seed 1"] == [0, 1, 1]
    bounds = [outcome.history[-1].loss for outcome in outcomes]
    assert bounds[0] != bounds[1] and all(outcome.history[0].loss > outcome.history[1].loss for outcome in outcomes)
    again = run_trial(plan.task, trials[0], plan.settings, plan.checkpoints, reports.append)
    assert again == outcomes[0] and reports[-1] == ("BT-LSTM, seed 0", 2)
    interrupted, whole = interrupt_and_go_on(plan.task, trials[0], plan.settings, tmp_path)
    assert interrupted == whole


def test_mnists_files_are_read(mnist):
    from digits.images import load_images

    folder, images = mnist
    digits = load_images(folder)
    assert np.array_equal(digits.train, images[:40]) and np.array_equal(digits.test, images[40:])
    fewer = load_images(folder, 7, 3)
    assert np.array_equal(fewer.train, images[:7]) and np.array_equal(fewer.test, images[40:43])


def test_the_stand_in_keeps_mnists_margin():
    from digits.images import load_images

    digits = load_images(None)
    assert digits.train.shape == (1438, 784) and digits.test.shape == (359, 784)
    images = digits.train.reshape(-1, 28, 28)
    assert not images[:, :4].any() and not images[:, :, 24:].any() and images[:, 4].any() and images[:, 23].any()
    # At the places of its 8 x 8 pixels a scaled image says what they say, where they are clearly dark or bright.
    order = np.random.default_rng(0).permutation(1797)[359:]
    small = load_digits().images[order]
    centres = 4 + np.floor((np.arange(8) + 0.5) * 2.5).astype(int)
    found = images[:, centres[:, None], centres]
    assert found[small >= 14].mean() > 0.99 and found[small <= 2].mean() < 0.01


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an IDX file of images"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 1]) + bytes(9), "is not an IDX file of images"),  # labels
        (
            bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 27]) + bytes(756),
            r"must hold images of 28 x 28.*\(1, 28, 27\)",
        ),
        (bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(784), "must have 1584 bytes.*got 800"),
    ],
)
def test_a_damaged_file_is_named(content, message, tmp_path):
    from digits.images import load_images

    (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_images(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").unlink()
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content + b"x")
    with pytest.raises(ValueError, match="train-images-idx3-ubyte.gz cannot be read"):
        load_images(tmp_path)


def test_other_options_are_refused_until_told_to_discard(mnist, tmp_path, capsys):
    import image_generation

    def plan(*more):
        return image_generation.make_plan(["--data", str(mnist[0]), "--output", str(tmp_path), *more])

    plan().checkpoints.save("a", {})
    for more, differs in (
        (("--glimpses", "3"), "glimpses"),
        (("--train-images", "9"), "data"),
        (("--rank", "bt=1,2"), "systems"),
    ):
        with pytest.raises(SystemExit, match="2"):
            plan(*more)
        assert f"interrupted run that differs in {differs}; go on" in capsys.readouterr().err
    assert plan("--glimpses", "3", "--fresh").checkpoint_lines == []


def test_the_bound_is_that_of_draw():
    from torch.distributions import Bernoulli, Normal, kl_divergence

    from digits.draw import Draw

    torch.manual_seed(0)
    pixels, hidden, latent, glimpses, batch = 6, 5, 3, 4, 7
    model = Draw(torch.nn.LSTMCell(2 * pixels + hidden, hidden), pixels, hidden, latent).double()
    images = torch.rand(batch, pixels).round().double()
    noise = torch.randn(glimpses, batch, latent).double()
    canvas, code, state = torch.zeros(batch, pixels).double(), None, None
    told, divergence = torch.zeros(batch, hidden).double(), 0
    for step in noise:
        code = model.encoder(torch.cat([images, images - canvas.sigmoid(), told], 1), code)
        found = model.posterior(code[0])
        posterior = Normal(found[:, :latent], found[:, latent:].exp())
        divergence = divergence + kl_divergence(posterior, Normal(torch.zeros(()).double(), 1)).sum(1)
        state = model.decoder(posterior.loc + posterior.scale * step, state)
        told, canvas = state[0], canvas + model.write(state[0])
    wanted = -Bernoulli(logits=canvas).log_prob(images).sum(1)
    torch.testing.assert_close(model(images, noise), (wanted, divergence))
    drawn = model.generate(noise)
    assert drawn.shape == (glimpses, batch, pixels)
    first = model.write(model.decoder(noise[0])[0]).sigmoid()
    torch.testing.assert_close(drawn[0], first.detach())


def test_pixels_on_their_own_cost_their_entropy():
    from digits.images import Digits
    from image_generation import independent_pixels

    images = np.zeros((400, 784), np.uint8)
    images[::4, :10] = 1  # ten pixels white in a quarter of the images, the others black
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert independent_pixels(Digits(images, images, "")) == pytest.approx(10 * entropy + 774 / 402, rel=1e-2)
