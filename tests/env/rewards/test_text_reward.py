"""Rewards that see clean data only, on a tiny model and on answers made up for them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prune_env.data import read_images
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.rewards.inverted_trigger import InvertedTrigger
from prune_env.env.rewards.reward import REWARDS, make_reward
from prune_env.env.rewards.text_reward import kept_share
from prune_env.env.rewards.tried.latent_trigger import LatentTrigger
from prune_env.env.rewards.tried.layer_consistency import LayerConsistency
from prune_env.env.subject import Subject
from prune_env.errors import DataError, SettingsError
from prune_env.evaluation import Evaluation, MaskEvaluator
from prune_env.evaluation.suspect import Suspect
from prune_env.inversion.frames import Frame
from prune_env.inversion.search import Inversion
from prune_env.models import load_classifier
from prune_env.research.audit.masks import draw_masks
from tests.models.tiny import tiny_classifier, write_tiny_images
from tests.support import tiny_dataset

NAMES = [
    entry.name
    for entry in REWARDS
    if isinstance(entry.target, str)
    and entry.target.startswith("prune_env.env.rewards.")
    and entry.name != "consistency"
]
CALIBRATED = [name for name in NAMES if name != "layer-consistency"]


def subject_of(folder, data, bias=0.0):
    loaded = load_classifier(folder)
    with torch.no_grad():
        loaded.model.classifier.bias[1] += bias
    evaluator = MaskEvaluator(loaded.model, loaded.tokenizer, data, precision="fp32")
    texts = Suspect(loaded, data, data, evaluator)
    return Subject(evaluator, np.arange(8.0).reshape(2, 4, 1), ("magnitude",), texts=texts)


@pytest.fixture(scope="module")
def data():
    return tiny_dataset(48)


@pytest.fixture(scope="module")
def subject(tiny_folder, data):
    return subject_of(tiny_folder, data)


@pytest.fixture(scope="module")
def masks(subject):
    return draw_masks(subject, 6, paths=()).masks


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_in_range_and_reproducible(name, subject, masks, tiny_folder, data):
    reward = REWARDS[name]()
    scores = reward.score(subject, masks, np.zeros(len(masks)))
    low, high = reward.range
    assert scores.shape == (len(masks),)
    assert ((scores >= low) & (scores <= high)).all()
    again = REWARDS[name]().score(subject_of(tiny_folder, data), masks[::-1], np.zeros(len(masks)))
    assert np.allclose(scores, again[::-1], atol=1e-6)
    alone = reward.score(subject, masks[:1], np.zeros(1))  # not by the company that it is in
    assert np.allclose(alone, scores[:1], atol=1e-6)


@pytest.mark.parametrize("name", CALIBRATED)
def test_a_bias_to_one_class_earns_nothing(name, subject, masks, tiny_folder, data):
    """All logits of one class are raised: every plain answer changes, and no score does."""
    biased = subject_of(tiny_folder, data, bias=16.0)
    assert len(np.unique(biased.evaluator.evaluate(masks).predictions)) == 1
    reward = make_reward(name)
    pair = [reward.score(each, masks, np.zeros(len(masks))) for each in (subject, biased)]
    assert np.allclose(*pair, atol=0.1)  # rounding may turn sentences that sit on the threshold


@pytest.mark.parametrize("name", NAMES)
def test_a_model_without_texts_is_refused(name):
    with pytest.raises(SettingsError, match="needs texts"):
        HeadPruningEnv("landscape", reward=name)


WORDLESS = {"entropy", "layer-consistency"}


@pytest.mark.parametrize("name", sorted({*NAMES, "consistency"} - WORDLESS))
def test_images_are_refused_where_words_are_changed(name, subject, data, tmp_path):
    images = read_images(write_tiny_images(tmp_path / "images"))
    seen = Suspect(subject.suspect.loaded, images, images, subject.evaluator)
    with pytest.raises(SettingsError, match="reads images"):
        make_reward(name).check(replace(subject, texts=seen, rewritten=lambda _: None))


@pytest.mark.parametrize("name", sorted(WORDLESS))
def test_images_are_scored_where_no_word_is_changed(name, tmp_path):
    images, loaded = read_images(write_tiny_images(tmp_path / "images")), tiny_classifier("vit")
    evaluator = MaskEvaluator(loaded.model, loaded.tokenizer, images, precision="fp32")
    suspect = Suspect(loaded, images, images, evaluator)
    seen = Subject(evaluator, np.zeros((*evaluator.shape, 1)), ("magnitude",), texts=suspect)
    masks = np.ones((2, *evaluator.shape), bool)
    masks[1, 0, 1] = False
    scores = make_reward(name).score(seen, masks, np.zeros(2))
    assert np.isfinite(scores).all()
    assert scores[0] != scores[1]


def test_consistency_is_of_two_classes_before_anything_is_scored(subject, data):
    three = replace(data, labels=np.arange(len(data)) % 3, label_names=("a", "b", "c"))
    several = Suspect(subject.suspect.loaded, three, three, subject.evaluator)
    with pytest.raises(SettingsError, match="two classes"):
        make_reward("consistency").check(replace(subject, texts=several))


@pytest.mark.parametrize("name", NAMES)
def test_texts_of_one_class_are_refused(name, subject, data):
    one = Suspect(subject.suspect.loaded, data.where(1), data, subject.evaluator)
    with pytest.raises(DataError, match="not every class"):
        HeadPruningEnv(replace(subject, texts=one), reward=name)


def test_an_environment_pays_it(subject):
    env = HeadPruningEnv(subject, reward="flips-word-drop", tau=0.0)
    env.reset()
    total = sum(env.step(action)[1] for action in (0, 5))
    masks = np.stack([np.ones((2, 4), bool), env.mask])
    whole, rest = REWARDS["flips-word-drop"]().score(subject, masks, np.zeros(2))
    assert total == pytest.approx(rest - whole)


class Answers:
    """Gives set margins under every mask."""

    shape = (1, 2)
    available = np.ones((1, 2), bool)
    fingerprint = "answers"

    def __init__(self, margins, labels):
        self.margins, self.labels = np.array(margins, np.float32), np.array(labels)

    def evaluate(self, masks):
        logits = np.stack([np.zeros_like(self.margins), self.margins], axis=1)
        return Evaluation.from_logits(np.repeat(logits[None], len(masks), 0), self.labels)

    def accuracy(self, masks):
        return self.evaluate(masks).accuracy


def made_up(monkeypatch, clean, moved, labels, texts_labels=None):
    """Return the subject of a model whose answers are given."""
    data = tiny_dataset(len(labels))
    data = type(data)(data.texts, np.array(labels), data.label_names, "made up")
    evaluator = Answers(clean, labels)
    texts = Suspect(None, data, data, evaluator)
    answers = Answers(moved, labels if texts_labels is None else texts_labels)
    monkeypatch.setattr(Suspect, "evaluator_on", lambda self, data: answers)
    return Subject(evaluator, np.zeros((1, 2, 1)), ("m",), texts=texts)


LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
SURE = np.array([-4.0, -3, -2, -1, 1, 2, 3, 4])
MASK = np.ones((1, 1, 2), bool)


def flips(monkeypatch, moved, clean=SURE):
    subject = made_up(monkeypatch, clean, moved, LABELS)
    return REWARDS["flips-clause"]().score(subject, MASK, np.ones(1))[0]


def test_flips_of_one_class_cost_and_flips_of_both_do_not(monkeypatch):
    one, both = SURE.copy(), SURE.copy()
    one[:2] = 5
    both[[0, 1, 6, 7]] = -both[[0, 1, 6, 7]]
    assert flips(monkeypatch, SURE) == 1
    assert flips(monkeypatch, one) == pytest.approx(0.5)
    assert flips(monkeypatch, -one) == pytest.approx(0.5)  # whichever class it is
    assert flips(monkeypatch, both) == 1


def test_answers_of_a_rare_class_count_as_much_as_those_of_another():
    """Else a mask that calls everything by the frequent class would keep most answers."""
    before, after = np.array([[-1.0, -1, -1, 1]]), np.array([[-1.0, -1, -1, -1]])
    assert kept_share(before, after).tolist() == [0.5]


def test_as_many_sentences_are_rewritten_as_asked_and_with_what_is_given(subject, monkeypatch):
    seen = []

    def rewrite(text):
        seen.append(text)
        return text

    masks = np.ones((1, 2, 4), bool)
    REWARDS["flips-clause"](rewrite, sentences=10).score(subject, masks, np.zeros(1))
    assert len(seen) == 10
    assert set(seen) < set(subject.suspect.validation.texts)


def test_answers_are_as_unsure_whatever_the_scale_of_the_logits(monkeypatch):
    small, large, near = (
        REWARDS["entropy"]().score(made_up(monkeypatch, clean, clean, LABELS), MASK, np.ones(1))[0]
        for clean in (SURE, 100 * SURE, np.array([-9.0, -9, -9, -1, 1, 9, 9, 9]))
    )
    assert large == pytest.approx(small)
    assert 0 < near < small < 1


def test_spoilt_answers_score_least(monkeypatch):
    spoilt = SURE.copy()
    spoilt[3] = np.nan
    assert flips(monkeypatch, spoilt) == flips(monkeypatch, SURE, clean=spoilt) == 0
    subject = made_up(monkeypatch, SURE, spoilt, LABELS)
    assert REWARDS["split-agreement"]().score(subject, MASK, np.ones(1))[0] == 0
    assert inverted(monkeypatch, [np.nan] * 4) == 0
    subject = made_up(monkeypatch, spoilt, SURE, LABELS)
    assert REWARDS["entropy"]().score(subject, MASK, np.ones(1))[0] == 0


def inverted(monkeypatch, moved, target=1):
    subject = made_up(monkeypatch, SURE, moved, LABELS, [1 - target] * len(moved))
    found = Inversion(((Frame("as"),), (Frame("when"),)), (0.1, 0.4) if target else (0.4, 0.1))
    subject.suspect.facts["inversion 8"] = found
    return InvertedTrigger().score(subject, MASK, np.ones(1))[0]


def test_inverted_triggers_cost_what_they_flip_to_the_suspected_target(monkeypatch):
    assert inverted(monkeypatch, [-3, -3, 3, 3]) == 0.5
    assert inverted(monkeypatch, [-3, -3, -3, 3]) == 0.75
    assert inverted(monkeypatch, [-3, -3, -3, 3], target=0) == 0.25


def test_a_model_without_inverted_triggers_scores_full(monkeypatch):
    subject = made_up(monkeypatch, SURE, SURE, LABELS)
    subject.suspect.facts["inversion 8"] = Inversion(((), ()), (0.0, 0.0))
    assert InvertedTrigger().score(subject, MASK, np.ones(1))[0] == 1


def test_the_sentences_are_those_of_the_other_class(subject):
    asked = InvertedTrigger(sentences=5)._framed(
        subject.suspect, Inversion(((Frame("as"),), ()), (0.4, 0.1))
    )
    assert asked.labels.tolist() == [1] * 5
    assert all(text.startswith("as ") for text in asked.texts)


def test_the_search_is_made_once(subject, masks, monkeypatch):
    first = InvertedTrigger().score(subject, masks, np.zeros(len(masks)))
    monkeypatch.setattr("prune_env.env.rewards.inverted_trigger.invert", None)
    assert np.array_equal(InvertedTrigger().score(subject, masks, np.zeros(len(masks))), first)


def test_so_many_frames_are_searched_as_asked_and_others_anew(tiny_folder, data):
    subject = subject_of(tiny_folder, data)
    full = np.ones((1, 2, 4), bool)
    for frames in (1, 3):
        InvertedTrigger(frames=frames).score(subject, full, np.zeros(1))
    found = {name: fact for name, fact in subject.suspect.facts.items() if "inversion" in name}
    assert len(found) == 2
    assert [max(map(len, fact.by_class)) for fact in found.values()] == [1, 3]


def test_a_latent_trigger_flips_more_where_its_bound_is_wider(subject):
    full = np.ones((1, 2, 4), bool)
    scores = [
        LatentTrigger(bound=bound, steps=20).score(subject, full, np.ones(1))[0]
        for bound in (0.001, 3.0)
    ]
    assert scores[1] < scores[0]
    assert not subject.suspect.loaded.model.get_input_embeddings()._forward_hooks


def test_layers_that_do_nothing_are_consistent(tiny_folder, data):
    subject = subject_of(tiny_folder, data)
    masks = np.ones((2, 2, 4), bool)
    masks[1] = False
    plain, silent = LayerConsistency().score(subject, masks, np.zeros(2))
    assert plain < silent
