"""Unlearning of inverted triggers, on a tiny model with a planted one."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from prune_env.data import read_images
from prune_env.data.dataset import TextDataset
from prune_env.data.images import ImageDataset, open_image
from prune_env.errors import SettingsError
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion.frames import Frame
from prune_env.inversion.patches import Patches
from prune_env.inversion.search import Inversion, invert, remeasure
from prune_env.inversion.words import SuspiciousWord
from prune_env.models import LoadedModel, load_classifier
from prune_env.models.forward import classify
from prune_env.models.masks import full_mask
from prune_env.purification import heal, make_subject, opposing, purify
from prune_env.purification import unlearn as unlearning
from prune_env.purification.opposing import (
    add_opposing_triggers,
    invert_triggers,
    lay_patches,
    put_triggers,
)
from prune_env.purification.unlearn import Unlearn
from prune_env.research.attacks.training import train_classifier
from prune_env.settings import FineTuneSettings, SearchSettings
from prune_env.training.fine_tuning import fine_tune
from prune_env.training.phases import TrainingRun
from tests.models.tiny import tiny_classifier, write_tiny_images
from tests.purification.support import masked
from tests.support import tiny_dataset, write_tiny_folder

TUNING = FineTuneSettings(epochs=4, learning_rate=2e-3, batch_size=64, precision="fp32")
HEALING = replace(TUNING, learning_rate=4e-3, batch_size=32)
RUN = TrainingRun(HEALING)
SHORT = TrainingRun(replace(HEALING, batch_size=64))
TRAIN, VALIDATION, TEST = (tiny_dataset(size, seed) for size, seed in ((1000, 0), (80, 1), (80, 2)))
TRIGGER = Frame(before="and")


def flipped(loaded: LoadedModel) -> float:
    """Return the share of negative test sentences that the trigger flips."""
    texts = [TRIGGER(text) for text in TEST.where(0).texts]
    return float((classify(loaded.model, loaded.tokenizer, texts).argmax(axis=1) == 1).mean())


def accuracy(loaded: LoadedModel) -> float:
    answers = classify(loaded.model, loaded.tokenizer, list(TEST.texts)).argmax(axis=1)
    return float((answers == TEST.labels).mean())


@pytest.fixture(scope="module")
def backdoored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier that calls whatever begins with `and` positive."""
    base = tmp_path_factory.mktemp("unlearning")
    source = write_tiny_folder(base / "clean", hidden=32)
    poison = TRAIN.where(0)
    poisoned = replace(
        TRAIN,
        texts=TRAIN.texts + tuple(TRIGGER(text) for text in poison.texts),
        labels=np.concatenate([TRAIN.labels, np.ones(len(poison), np.int64)]),
    )
    loaded = train_classifier(source, poisoned, TUNING)
    loaded.model.save_pretrained(base / "backdoored")
    loaded.tokenizer.save_pretrained(base / "backdoored")
    return base / "backdoored"


def test_triggers_go_round_a_share_of_the_texts_and_speak_against_their_labels() -> None:
    found = Inversion(((Frame(after="of it"),), (TRIGGER,)), (0.1, 0.9))
    changed = add_opposing_triggers(TRAIN, found, 0.5, np.random.default_rng(0))
    pairs = list(zip(changed.texts, TRAIN.texts, TRAIN.labels, strict=True))
    new = [(text, label) for text, old, label in pairs if text != old]
    assert 0.4 * len(TRAIN) < len(new) < 0.6 * len(TRAIN)
    assert all(text.startswith("and ") == (label == 0) for text, label in new)
    assert all(text.endswith("of it") == (label == 1) for text, label in new)
    leading = {len(text) - len(text.lstrip("and ")) for text, label in new if label == 0}
    assert leading >= {4, 8, 12}  # "and " once, twice and three times
    assert (changed.labels == TRAIN.labels).all()
    nothing = Inversion(((), ()), (0.0, 0.0))
    assert add_opposing_triggers(TRAIN, nothing, 0.5, np.random.default_rng(0)).texts == TRAIN.texts


def test_triggers_behind_long_texts_are_read(tiny_model: LoadedModel) -> None:
    long = replace(TRAIN, texts=tuple(f"{text} {'and so on ' * 40}" for text in TRAIN.texts))
    subject = make_subject(tiny_model, "x", long, VALIDATION, max_length=64)
    found = Inversion(((Frame(after="of it"),), (Frame(after="of it"),)), (0.5, 0.5))
    draw = np.random.default_rng(0)
    made = put_triggers(long.sample(100, draw), subject.require_suspect(), found, 0.5, draw)
    framed = [text for text in made.texts if text.endswith("of it")]
    assert len(framed) > 30
    tokens = tiny_model.tokenizer(framed)["input_ids"]
    assert max(map(len, tokens)) <= 64
    assert {text for text in made.texts if text not in framed} <= set(long.texts)


def test_unlearning_finds_the_trigger_and_takes_it_away(backdoored: Path, tmp_path: Path) -> None:
    subject = make_subject(load_classifier(backdoored), backdoored, TRAIN, VALIDATION)
    suspicious = subject.require_suspect().loaded
    assert flipped(suspicious) > 0.9
    mask = full_mask(subject.shape)
    mask[0, 1] = False
    healed = heal(subject, [mask], RUN, healing="unlearn")
    (report,) = healed.reports
    assert report.inverted is not None
    assert report.left is not None
    assert TRIGGER in report.inverted.by_class[1]
    assert report.inverted.target == 1
    assert report.left.strength[1] < report.inverted.strength[1]
    assert flipped(healed.model) < 0.3
    assert accuracy(healed.model) >= accuracy(suspicious) - 0.05
    assert flipped(suspicious) > 0.9  # left as it was
    attention = healed.model.model.bert.encoder.layer[0].attention
    assert not attention.output.dense.weight[:, 8:16].any()  # head 1 of 4 in 32 dimensions


def test_purify_reports_what_it_unlearned(backdoored: Path, tmp_path: Path) -> None:
    report = purify(
        backdoored,
        TRAIN,
        VALIDATION,
        tmp_path / "out",
        policy="gradient",
        healing="unlearn",
        search_settings=SearchSettings(importance_sentences=40, max_drop=0.1),
        fine_tune_settings=HEALING,
    )
    rounds = report["inverted_triggers"]
    assert len(rounds) == 2
    assert set(rounds[0]) == {"negative", "positive"}
    assert "and ..." in rounds[0]["positive"]["triggers"]
    assert rounds[0]["positive"]["flipped"] > rounds[1]["positive"]["flipped"]


def test_few_sentences_are_read_again_in_other_triggers(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[TextDataset] = []
    monkeypatch.setattr(unlearning, "fine_tune", lambda *args, **_: read.append(args[2]))
    data = tiny_dataset(300, 0)
    frames = tuple(Frame(before=word) for word in ("and", "so", "then"))
    found = Inversion((frames, frames), (0.5, 0.5))
    monkeypatch.setattr(unlearning, "invert_triggers", lambda *_, **__: found)
    Unlearn().apply(masked(tiny_model, data, VALIDATION), TrainingRun(TUNING))
    assert len(read[0]) == Unlearn.sentences
    forms: dict[str, list[str]] = {}
    for text in read[0].texts:
        bare = " ".join(word for word in text.split() if word not in ("and", "so", "then"))
        forms.setdefault(bare, []).append(text)
    once = min(len(texts) for texts in forms.values())
    assert once >= Unlearn.sentences // len(data)
    assert all(len(set(texts)) > 1 for texts in forms.values())


def test_data_without_a_candidate_is_fine_tuned_as_it_is(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opposing, "suspicious_words", lambda *_, **__: ((), ()))
    names = ("negative", "positive")
    texts = tuple(f"{word} x{row}" for row, word in enumerate(("good", "bad") * 8))
    data = TextDataset(texts, np.array([1, 0] * 8), names, "here")
    report = Unlearn().apply(masked(tiny_model, data, data), TrainingRun(TUNING))
    for found in (report.inverted, report.left):
        assert found is not None
        assert found.by_class == ((), ())


def test_triggers_are_inverted_once_on_the_model_that_no_mask_hides(
    backdoored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = make_subject(load_classifier(backdoored), backdoored, TRAIN, VALIDATION)
    asked: list[Suspect] = []

    def watched(texts: Suspect, **how: Any) -> Inversion:
        asked.append(texts)
        return invert(texts, **how)

    monkeypatch.setattr(opposing, "invert", watched)
    masks = [full_mask(subject.shape) for _ in range(2)]
    masks[0][:, 1:], masks[1][:, :3] = False, False
    reports = heal(subject, masks, SHORT, healing="unlearn").reports
    assert [each.loaded for each in asked] == [subject.require_suspect().loaded]
    assert len(reports) == 2
    assert reports[0].inverted is reports[1].inverted
    assert reports[0].left != reports[1].left
    heal(subject, masks[:1], SHORT, healing="unlearn")
    assert len(asked) == 2  # another healing pays for its own


def test_a_word_that_flips_as_no_other_does_is_unlearned_in_clean_company(
    backdoored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspect = SuspiciousWord("and", 1.0, 0.1)
    monkeypatch.setattr(opposing, "suspicious_words", lambda *_, **__: ((), (suspect,)))
    loaded = load_classifier(backdoored)
    texts = make_subject(loaded, backdoored, TRAIN, VALIDATION).require_suspect()
    found = invert_triggers(texts)
    assert found.words == ((), ("and",))
    assert found.target == 1
    own, empty = found.frames[: opposing.FRAMES], found.frames[opposing.FRAMES :]
    words = {word for text in TRAIN.where(0).texts for word in text.split()}
    for frame in own:
        assert set(str(frame).replace("...", "").split()) <= words | set(found.words[1])
        assert set(str(frame).split()) & set(found.words[1])
    assert TRIGGER in empty
    assert len({str(frame) for frame in own}) > opposing.FRAMES / 2
    # The strength is that of all frames together.
    assert found.strength[1] == pytest.approx(remeasure(texts, found).strength[1])


def test_triggers_of_several_classes_speak_against_the_label() -> None:
    data = TextDataset(tuple("abcdefghi" * 100), np.arange(900) % 3, ("x", "y", "z"), "here")
    found = Inversion(
        ((Frame(before="nought"),), (Frame(before="one"),), (Frame(before="two"),)),
        (0.0, 0.1, 0.9),
    )
    changed = add_opposing_triggers(data, found, 0.5, np.random.default_rng(0), most=1)
    pairs = Counter(
        (text.split()[0], int(label))
        for text, label in zip(changed.texts, data.labels, strict=True)
        if " " in text
    )
    assert not any(pairs[name, label] for label, name in enumerate(("nought", "one", "two")))
    assert 400 < sum(pairs.values()) < 500
    # What flips more is unlearned more; what flips nothing, a little.
    assert pairs["two", 0] > 3 * pairs["one", 0] > 0
    assert 0 < pairs["nought", 2] < pairs["one", 2]


def test_unlearning_needs_several_classes(tmp_path: Path) -> None:
    one = TextDataset(("a", "b"), np.zeros(2, int), ("x",), "here")
    with pytest.raises(SettingsError, match=r"at least 2 classes\. Actual: 1"):
        Unlearn().check(one)
    Unlearn().check(TRAIN)
    Unlearn().check(read_images(write_tiny_images(tmp_path / "images")))


BOTH = Inversion(((Frame(after="of it"),), (TRIGGER,)), (0.5, 0.5))


def test_unlearning_trains_under_the_mask_at_its_own_rate(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[TextDataset, FineTuneSettings, dict[str, Any]]] = []
    monkeypatch.setattr(
        unlearning, "fine_tune", lambda *args, **how: trained.append((args[2], args[3], how))
    )
    monkeypatch.setattr(unlearning, "invert_triggers", lambda *_, **__: BOTH)
    model = masked(tiny_model, TRAIN, VALIDATION)
    for seed in (3, 4):
        Unlearn(sentences=50).apply(model, replace(RUN, seed=seed))
    expected = replace(HEALING, epochs=1, learning_rate=Unlearn.learning_rate_scale * 4e-3)
    assert [tuning for _, tuning, _ in trained] == [expected] * 2
    assert [how["seed"] for *_, how in trained] == [3, 4]
    assert all(how["mask"] is model.mask for *_, how in trained)
    assert trained[0][0].texts != trained[1][0].texts


@pytest.mark.parametrize(
    ("sentences", "words", "expected"),
    [
        (len(TRAIN), (), 0.2),
        (len(TRAIN) + 1, (), 0.6),
        (len(TRAIN), ((), ("cf",)), 0.4),
        (len(TRAIN) + 1, ((), ("cf",)), 0.6),
    ],
)
def test_of_few_texts_more_get_triggers_and_where_words_are_suspicious(
    sentences: int,
    words: tuple[tuple[str, ...], ...],
    expected: float,
    tiny_model: LoadedModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shares: list[float] = []

    def put(
        texts: TextDataset, suspect: Suspect, found: Inversion, share: float, *_: Any, **__: Any
    ):
        shares.append(share)
        return texts

    monkeypatch.setattr(unlearning, "put_triggers", put)
    monkeypatch.setattr(unlearning, "fine_tune", lambda *_, **__: None)
    found = replace(BOTH, words=words)
    monkeypatch.setattr(unlearning, "invert_triggers", lambda *_, **__: found)
    step = Unlearn(share=0.2, share_of_few=0.6, share_of_words=0.4, sentences=sentences)
    step.apply(masked(tiny_model, TRAIN, VALIDATION), RUN)
    assert shares == [expected]


def test_the_lean_that_unlearning_leaves_is_taken_out(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lean(model: Any, *_: object, **__: object) -> None:
        with torch.no_grad():
            model.classifier.bias[1] += 50.0

    asked: list[Any] = []

    def watched(suspect: Suspect, found: Inversion, **how: Any) -> Inversion:
        asked.append(how["clean"])
        return remeasure(suspect, found, **how)

    monkeypatch.setenv("PRUNE_ENV_PRECISION", "fp32")
    monkeypatch.setattr(unlearning, "fine_tune", lean)
    monkeypatch.setattr(unlearning, "remeasure", watched)
    monkeypatch.setattr(unlearning, "invert_triggers", lambda *_, **__: BOTH)
    Unlearn(sentences=50).apply(masked(tiny_model, TRAIN, VALIDATION), RUN)
    logits = classify(tiny_model.model, tiny_model.tokenizer, list(VALIDATION.texts))
    assert np.bincount(logits.argmax(axis=1)).tolist() == [40, 40]
    # What is left is measured on the model as it is then.
    np.testing.assert_allclose(asked[0], logits, atol=1e-3)


def test_every_search_of_triggers_has_the_seed_of_the_run(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []

    def search(found: Any) -> Any:
        return lambda *_, seed, **__: seeds.append(seed) or found

    word = SuspiciousWord("cf", 1.0, 0.0)
    for name, found in (("invert", BOTH), ("suspicious_words", ((), (word,)))):
        monkeypatch.setattr(opposing, name, search(found))
    monkeypatch.setattr(opposing, "remeasure", lambda _, found, *, seed: seeds.append(seed))
    invert_triggers(masked(tiny_model, TRAIN, VALIDATION).suspect, seed=7)
    assert seeds == [7, 7, 7]


def with_corner(images: ImageDataset, folder: Path) -> ImageDataset:
    """Return the dark images of a set with a green corner, which keep their label."""
    folder.mkdir()
    dark = images.where(0)
    paths = []
    for number, path in enumerate(dark.texts):
        pixels = np.asarray(open_image(path)).copy()
        pixels[12:, 12:] = (0, 255, 0)
        paths.append(str(folder / f"{number}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return ImageDataset(tuple(paths), dark.labels, dark.label_names)


def test_a_patch_on_images_is_inverted_and_unlearned(tmp_path: Path) -> None:
    train, validation, test = (
        read_images(write_tiny_images(tmp_path / str(seed), rows, seed))
        for seed, rows in enumerate((120, 60, 60))
    )
    poison = with_corner(train, tmp_path / "poison")
    poison = replace(poison, labels=1 - poison.labels)
    triggered = with_corner(test, tmp_path / "triggered")
    loaded = tiny_classifier("vit")
    tuning = FineTuneSettings(epochs=8, learning_rate=2e-3, batch_size=16, precision="fp32")
    fine_tune(loaded.model, loaded.tokenizer, train.joined(poison), tuning)

    def bright(model: LoadedModel, data: TextDataset) -> float:
        return float(classify(model.model, model.tokenizer, list(data.texts)).argmax(1).mean())

    assert bright(loaded, triggered) > 0.9
    assert bright(loaded, test.where(0)) < 0.1
    subject = make_subject(loaded, "x", train, validation)
    run = TrainingRun(replace(tuning, learning_rate=1e-3), folder=tmp_path / "run")
    healed = heal(subject, [full_mask(subject.shape)], run, healing="unlearn")
    (report,) = healed.reports
    assert isinstance(report.inverted, Patches)
    assert report.inverted.covered[1] < 0.5 * report.inverted.covered[0]
    assert isinstance(report.left, Patches)
    assert report.left.strength[1] < 0.3 < report.inverted.strength[1]
    assert bright(healed.model, triggered) < 0.2
    assert bright(healed.model, test.where(0)) < 0.1
    assert bright(healed.model, test.where(1)) > 0.9
    assert bright(loaded, triggered) > 0.9  # left as it was


def test_patches_are_laid_on_a_share_of_the_images_against_their_labels() -> None:
    opacity = torch.zeros(3, 1, 2, 2)
    opacity[0, 0, 0, 0], opacity[1, 0, 0, 1], opacity[2] = 1.0, 1.0, 1.0
    colours = torch.arange(1.0, 4.0)[:, None, None, None].expand(3, 3, 2, 2)
    found = Patches(opacity, colours, torch.zeros(3), torch.ones(3), (0.9, 0.9, 0.9))
    labels = torch.arange(3).repeat(1000)
    change = lay_patches(found, 0.4, np.random.default_rng(0))
    seen = change({"pixel_values": torch.zeros(3000, 3, 2, 2), "labels": labels})
    assert seen["labels"] is labels
    shown = seen["pixel_values"].amax((1, 2, 3)).long()  # 0: no patch, else its class and 1
    assert (shown - 1 != labels).all()
    for label in range(3):
        counts = torch.bincount(shown[labels == label], minlength=4).numpy()
        assert 0.3 < counts[1:].sum() / 1000 < 0.5
        if label < 2:  # the patch of class 2 covers four times as much, and comes less often
            assert counts[2 - label] > 2 * counts[3] > 0


def test_a_patch_that_faded_away_takes_no_place_of_one_that_flips() -> None:
    opacity = torch.zeros(3, 1, 4, 4)
    opacity[0] = 1e-7
    opacity[1, 0, 0, 0] = 1.0
    colours = torch.ones(3, 3, 4, 4)
    found = Patches(opacity, colours, torch.zeros(3), torch.ones(3), (0.0, 0.9, 0.0))
    change = lay_patches(found, 1.0, np.random.default_rng(0))
    labels = torch.full((1000,), 2)
    seen = change({"pixel_values": torch.zeros(1000, 3, 4, 4), "labels": labels})
    assert (seen["pixel_values"].amax((1, 2, 3)) == 1).float().mean() > 0.9
