"""Captions from compact decoders: the program as its users run it, and the parts it is made of."""

import itertools
import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.example_runs import assert_not_blank, interrupt_and_go_on, run, table

PROGRAM = "captioning.py"
SMALL = [
    "--quick",
    "--systems",
    "dense,bt",
    "--train-images",
    "160",
    "--test-images",
    "40",
    "--front-end-epochs",
    "4",
    "--epochs",
    "5",
    "--batch-size",
    "32",
    "--learning-rate",
    "0.003",
]


pytestmark = pytest.mark.usefixtures("examples")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("captioning")
    return folder, run(PROGRAM, *SMALL, "--output", folder)


@pytest.fixture
def coco(tmp_path):
    """A folder as MSCOCO's of 2017: JPEG files, unordered, of several sizes, one image without a caption and one grey."""
    folder = tmp_path / "coco"
    rng = np.random.default_rng(0)
    (folder / "annotations").mkdir(parents=True)
    for part, count in (("train2017", 6), ("val2017", 3)):
        (folder / "images" / part).mkdir(parents=True)
        images, annotations = [], []
        for number in reversed(range(1, count + 1)):
            name = f"{number:012}.jpg"
            size = (30 + number, 40) if number == 2 else (30 + number, 40, 3)
            Image.fromarray(rng.integers(0, 255, size, np.uint8)).save(folder / "images" / part / name)
            images.append({"id": 10 * number, "file_name": name, "height": size[0], "width": size[1], "license": 1})
            for k in range(number - 1):
                caption = f"Number {number}, said the {'dog' if k else 'cat'}.\n"
                annotations.append({"image_id": 10 * number, "id": 100 * number + k, "caption": caption})
        content = {"info": {}, "licenses": [], "images": images, "annotations": annotations}
        (folder / "annotations" / f"captions_{part}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.slow
def test_results_have_every_system_and_learn(small):
    folder, printed = small
    rows = {row["system"]: row for row in table(folder / "results.csv")}
    assert {name: int(row["input_hidden_parameters"]) for name, row in rows.items()} == {
        "dense LSTM": 524_288, "BT-LSTM": 1536,
    }  # fmt: skip
    assert len({int(row["model_parameters"]) - int(row["input_hidden_parameters"]) for row in rows.values()}) == 1
    for row in rows.values():
        scores = [float(row[f"bleu{order}"]) for order in (1, 2, 3, 4)]
        assert scores == sorted(scores, reverse=True)
        assert scores[-1] > float(row["shuffled_bleu4"]) + 10, row  # the image is heeded
        assert float(row["test_loss"]) < 1  # nats a word; of 31 words guessed it is log(31) = 3.4
    assert "data: stand-in (rendered scenes" in printed and "written to" in printed


@pytest.mark.slow
def test_scores_are_sacrebleus_of_the_captions_written(small):
    from sacrebleu import corpus_bleu

    folder, _ = small
    content = json.loads((folder / "scenes" / "annotations" / "captions_val2014.json").read_text())
    texts = [one["caption"].lower().replace(".", "") for one in content["annotations"]]
    references = [texts[k::5] for k in range(5)]
    for row in table(folder / "results.csv"):
        own = [line for line in table(folder / "captions.csv") if line["system"] == row["system"]]
        assert [line["image"] for line in own] == [image["file_name"] for image in content["images"]]
        captions = [line["caption"] for line in own]
        assert corpus_bleu(captions, references, tokenize="none").score == pytest.approx(float(row["bleu4"]))
        exact = [caption in texts[5 * number : 5 * number + 5] for number, caption in enumerate(captions)]
        assert 100 * np.mean(exact) == pytest.approx(float(row["exact"]))


@pytest.mark.slow
def test_curves_cover_every_epoch_and_fall(small):
    folder, _ = small
    curves = table(folder / "curves.csv")
    for name in ("captions.png", "training_curves.png"):
        assert_not_blank(folder / name)
    for row in table(folder / "results.csv"):
        own = [line for line in curves if line["system"] == row["system"]]
        assert [int(line["epoch"]) for line in own] == list(range(1, 6))
        assert float(own[-1]["training_loss"]) < 0.5 * float(own[0]["training_loss"])
        assert own[-1]["test_loss"] == row["test_loss"]


def test_an_interrupted_training_of_the_features_goes_on(tmp_path):
    from captions.image_features import WordDetection, train_small_network, trained_small_network
    from running.checkpoint import Checkpoints

    rng = np.random.default_rng(0)
    images, words = rng.integers(0, 255, (40, 16, 16, 3), np.uint8), rng.integers(0, 2, (40, 3)).astype(bool)
    task = WordDetection(images, words, torch.device("cpu"))
    whole, broken = (Checkpoints(tmp_path / name, {}) for name in ("whole", "broken"))
    train_small_network(task, 3, whole, lambda report: None)

    def interrupt(report):
        if report[1]:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train_small_network(task, 3, broken, interrupt)
    reports = []
    train_small_network(task, 3, broken, reports.append)
    assert [epochs for _, epochs in reports] == [1, 1, 1]
    inputs = torch.randn(2, 3, 16, 16)
    found, wanted = (trained_small_network(states).eval()(inputs) for states in (broken, whole))
    assert found.shape == (2, 2048) and torch.equal(found, wanted)


def test_cocos_layout_is_read(coco):
    from captions.coco import load_captions

    images = load_captions(coco, "train")
    assert [one.path.name for one in images] == [f"{number:012}.jpg" for number in (2, 3, 4, 5, 6)]
    assert images[1].captions == ("Number 3, said the cat.\n", "Number 3, said the dog.\n")
    assert load_captions(coco, "train", 2) == images[:2]
    assert len(load_captions(coco, "val")) == 2
    (coco / "images" / "train2017").rename(coco / "train2017")
    assert [one.path.parent.parent for one in load_captions(coco, "train")] == [coco] * 5
    (coco / "train2017" / "000000000004.jpg").unlink()
    with pytest.raises(ValueError, match="the image 000000000004.jpg is not in"):
        load_captions(coco, "train")


def test_a_front_end_of_ones_own_gives_the_features(coco, tmp_path, monkeypatch):
    import captioning
    from learning.trials import Trial, run_trial

    (tmp_path / "counted.py").write_text(
        "import torch\nseen = []\nclass Mean(torch.nn.Module):\n    def forward(self, images):\n"
        "        seen.append(images.shape)\n        return images.mean((2, 3), keepdim=True)\nmake = Mean\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    options = ["--data", str(coco), "--front-end", "counted:make", "--least", "2", "--epochs", "2", "--image-size", "24"]
    plan = captioning.make_plan([*options, "--output", str(tmp_path / "out")])
    task = captioning.make_task(plan, None)
    import counted

    assert counted.seen == [(5, 3, 24, 24), (2, 3, 24, 24)]
    assert task.training.features.shape == (5, 3) and task.test.features.shape == (2, 3)
    with Image.open(plan.training[0].path) as image:  # the grey one
        small = np.asarray(image.convert("RGB").resize((24, 24), Image.Resampling.BILINEAR)) / 255
    wanted = ((small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).mean((0, 1))
    np.testing.assert_allclose(task.training.features[0], wanted, rtol=1e-4)
    again = captioning.make_task(plan, None)
    assert len(counted.seen) == 2 and np.array_equal(again.test.features, task.test.features)  # kept
    assert task.training.image.tolist() == [k for k in range(5) for _ in range(k + 1)]
    assert plan.source == f"real (MSCOCO's layout in {coco})"
    trial = Trial(plan.systems[1], 0)
    outcome = run_trial(task, trial, plan.settings, plan.checkpoints, lambda report: None)
    assert outcome.parameters.input_hidden == 1728 and len(outcome.shown) == 2
    assert outcome.history[1].loss < outcome.history[0].loss
    interrupted, whole = interrupt_and_go_on(task, trial, plan.settings, tmp_path)
    assert interrupted == whole


def test_the_widest_beam_finds_the_likeliest_caption():
    from captions.captioner import Captioner, beam_search
    from captions.vocabulary import END, PADDING, START

    torch.manual_seed(3)
    words, longest = 6, 4
    model = Captioner(torch.nn.LSTM(6, 8, batch_first=True), 5, 3, 8, words).double()
    with torch.no_grad():
        for values in model.parameters():
            values *= 4  # so that greedy is not best
    features = torch.randn(9, 5).double()

    def likelihood(image, caption):
        numbers = torch.tensor([[START, *caption]])
        steps = model(features[image : image + 1], numbers[:, :-1])[0].log_softmax(1)
        return sum(steps[k, word].item() for k, word in enumerate(caption))

    captions = []
    for length in range(longest + 1):
        for caption in itertools.product([word for word in range(words) if word not in (PADDING, START, END)], repeat=length):
            captions.append((*caption, END) if length < longest else caption)
    with torch.no_grad():
        best = [max(captions, key=lambda caption: likelihood(image, caption)) for image in range(len(features))]
    found = beam_search(model, features, len(captions), longest)
    ends = [(*caption, *[END] * longest)[:longest] for caption in best]
    assert [(*row, *[END] * longest)[:longest] for row in found.tolist()] == ends
    greedy = beam_search(model, features, 1, longest).tolist()
    for image, row in enumerate(greedy):
        numbers = [START]
        for word in row:
            scores = model(features[image : image + 1], torch.tensor([numbers]))[0, -1].detach()
            scores[[PADDING, START]] = -torch.inf
            assert word == (scores.argmax().item() if numbers[-1] != END else END)
            numbers.append(word)
    assert [tuple(row) for row in greedy] != ends


def test_words_become_numbers_and_come_back():
    from captions.vocabulary import Vocabulary

    vocabulary = Vocabulary(["A cat, a dog.", "The cat's cat!", "a bird"], least=2)
    assert vocabulary.words[4:] == ["a", "cat"]
    encoded = vocabulary.encode(["A cat and a cat", "cat"], longest=4)
    assert encoded.tolist() == [[1, 4, 5, 3, 4, 2], [1, 5, 2, 0, 0, 0]]
    assert vocabulary.decode(encoded[1][1:].tolist()) == "cat"
    assert vocabulary.decode([4, 3, 5]) == "a <unknown> cat"


def test_scores_take_any_number_of_references():
    from captions.scores import score_captions

    right = score_captions(["a red dog runs here", "the cat"], [["A red dog runs here."], ["One", "The cat!"]])
    assert [right[f"bleu{order}"] for order in (1, 2, 3, 4)] == pytest.approx([100] * 4) and right["exact"] == 100
    assert right["shuffled_bleu4"] < 20
    half = score_captions(["a b c d"], [["a b x d"]])
    assert half["bleu1"] == pytest.approx(75) and half["bleu2"] == pytest.approx(100 * (0.75 * 1 / 3) ** 0.5)
    assert half["exact"] == 0


def test_scenes_are_always_the_same_and_replaced_whole(tmp_path):
    from captions.coco import load_captions
    from captions.scenes import write_scenes

    def contents(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    one, other = tmp_path / "one", tmp_path / "other"
    write_scenes(one, 3, 2)
    (other / "annotations").mkdir(parents=True)
    (other / "left").write_text("of another program")
    write_scenes(other, 3, 2)
    assert contents(one) == contents(other) and len(contents(one)) == 7
    written = (one / "annotations" / "captions_val2014.json").stat().st_mtime_ns
    write_scenes(one, 3, 2)
    assert (one / "annotations" / "captions_val2014.json").stat().st_mtime_ns == written
    write_scenes(one, 4, 2)
    assert len(load_captions(one, "train")) == 4 and sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_a_scene_shows_what_its_captions_say():
    from captions.scenes import COLORS, Scene, render

    scene = Scene(("red", "square"), ("blue", "star"), (0, 1), "dark")
    assert scene.captions()[0] == "A red square to the left of a blue star."
    assert scene.captions()[1] == "There is a blue star to the right of a red square."
    orange = Scene(("orange", "star"), ("orange", "circle"), (1, 0), "dark").captions()
    assert orange[2] == "An orange star and an orange circle on a dark background."
    pixels = np.asarray(render(scene, np.random.default_rng(0)))
    places = {color: np.argwhere((pixels == COLORS[color]).all(axis=-1)).mean(axis=0) for color in ("red", "blue")}
    assert places["red"][1] + 16 < places["blue"][1] and abs(places["red"][0] - places["blue"][0]) < 12


@pytest.mark.parametrize("content", ["{", "[]", '{"images": []}', '{"images": [], "annotations": []}'])
def test_captions_of_another_form_are_named(coco, content):
    from captions.coco import load_captions

    (coco / "annotations" / "captions_train2017.json").write_text(content)
    with pytest.raises(ValueError, match="captions.*train2017.* (JSON file|format|no image)"):
        load_captions(coco, "train")


def test_a_damaged_image_is_named(coco):
    from captions.image_features import read_images

    path = coco / "images" / "val2017" / "000000000002.jpg"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="000000000002.jpg is not a readable image"):
        read_images([path], 8)
