"""What is done where nobody asked for anything."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prune_env.data.images import ImageDataset
from prune_env.data.unlabelled import Unlabelled
from prune_env.errors import DataError, PruneEnvError, SettingsError, UnknownNameError
from prune_env.purification.plan import Plan, choose, usual_fine_tuning
from prune_env.settings import FineTuneSettings, Healing, SearchSettings
from tests.support import tiny_dataset

TWO = tiny_dataset(20, 0)
THREE = replace(TWO, label_names=("a", "b", "c"))
ONE = replace(TWO, labels=np.zeros(len(TWO), int), label_names=("a",))
IMAGES = ImageDataset(TWO.texts, TWO.labels)
PLAIN = SearchSettings()
INVERTED = replace(PLAIN, reward="inverted-trigger")


@pytest.mark.parametrize(
    ("policy", "healing", "protocol", "data", "chosen"),
    [
        ("auto", "auto", "direct", TWO, ("ft", "refit-unlearn", PLAIN)),
        ("auto", "none", "direct", TWO, ("reward-greedy", "none", INVERTED)),
        ("auto", "head", "direct", TWO, ("reward-greedy", "head", INVERTED)),
        ("auto", "refit", "direct", THREE, ("ft", "refit", PLAIN)),
        ("auto", "auto", "direct", THREE, ("ft", "refit-unlearn", PLAIN)),
        ("auto", "none", "direct", THREE, ("reward-greedy", "none", INVERTED)),
        ("auto", "auto", "direct", ONE, ("gradient", "none", PLAIN)),
        ("auto", "auto", "direct", IMAGES, ("ft", "refit-unlearn", PLAIN)),
        ("auto", "none", "direct", IMAGES, ("gradient", "none", PLAIN)),
        ("auto", "auto", "refinetune", IMAGES, ("gradient", "none", PLAIN)),
        ("gradient", "auto", "direct", IMAGES, ("gradient", "none", PLAIN)),
        ("auto", "auto", "refinetune", TWO, ("gradient", "none", PLAIN)),
        ("random", "auto", "direct", TWO, ("random", "none", PLAIN)),
        ("random", "unlearn", "direct", TWO, ("random", "unlearn", PLAIN)),
    ],
)
def test_who_names_nothing_gets_what_was_measured_best(
    policy: str, healing: str, protocol: str, data: object, chosen: tuple[object, ...]
) -> None:
    assert choose(policy, healing, protocol, data, PLAIN) == chosen  # type: ignore[arg-type]


def test_a_healing_that_nobody_knows_is_named() -> None:
    with pytest.raises(UnknownNameError, match="refit-unlearn"):
        choose("auto", "Head", "direct", TWO, PLAIN)  # type: ignore[arg-type]


def test_what_is_known_to_fail_is_answered_before_any_training(tiny_folder: Path) -> None:
    other = replace(THREE, label_names=("a", "b", "d"), labels=np.arange(len(TWO)) % 3)
    three = replace(other, label_names=THREE.label_names)
    plan = Plan(tiny_folder, three, other, choose("auto", "none", "direct", three, PLAIN))
    with pytest.raises(DataError, match="other classes"):
        plan.check()
    unknown = choose("auto", "none", "direct", TWO, replace(PLAIN, reward="nonsense"))
    with pytest.raises(PruneEnvError, match="nonsense"):
        Plan(tiny_folder, TWO, tiny_dataset(20, 1), unknown).check()


def test_a_reward_that_changes_words_is_refused_on_images_before_any_training() -> None:
    chosen = choose("gradient", "none", "direct", IMAGES, INVERTED)
    with pytest.raises(SettingsError, match=r"changes words.*Actual: images"):
        Plan("classifier", IMAGES, IMAGES, chosen).check()


@pytest.mark.parametrize("tokens", [0, 1, 2])
def test_special_tokens_alone_are_no_sentence(tokens: int) -> None:
    with pytest.raises(SettingsError, match="no room for a sentence"):
        FineTuneSettings(max_length=tokens)


def test_a_mask_comes_alone() -> None:
    assert choose("auto", "auto", "direct", TWO, PLAIN, mask="mask.json")[1] == "none"
    assert choose("auto", "refit", "direct", TWO, PLAIN, mask="mask.json")[1] == "refit"


def test_a_reward_that_was_asked_for_stays() -> None:
    asked = replace(PLAIN, reward="accuracy")
    assert choose("auto", "none", "direct", TWO, asked) == ("reward-greedy", "none", asked)


@pytest.mark.parametrize(
    ("healing", "texts", "epochs"),
    [
        ("refit-unlearn", 500, 3),
        ("refit-unlearn", 3000, 2),
        ("refit", 6920, 1),
        ("refit-unlearn", 20_000, 1),
        ("none", 6920, 3),
        ("unlearn", 6920, 3),
    ],
)
def test_many_texts_are_read_less_often_before_a_refit(
    healing: Healing, texts: int, epochs: int
) -> None:
    assert usual_fine_tuning(healing, tiny_dataset(texts, 0)).epochs == epochs


@pytest.mark.parametrize(
    ("healing", "data", "match"),
    [
        ("none", replace(TWO), "where a refit trains"),
        ("unlearn", replace(TWO), "where a refit trains"),
        ("refit", IMAGES, "where a refit trains"),
        ("refit-unlearn", TWO, "Of so few clean texts"),
    ],
)
def test_unlabelled_texts_that_nothing_would_read_are_refused(
    healing: Healing, data: object, match: str
) -> None:
    choice = choose("ft", healing, "direct", data)  # type: ignore[arg-type]
    plan = Plan("encoder", data, data, choice, unlabelled=Unlabelled(("a",)))  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=match):
        plan.check()
