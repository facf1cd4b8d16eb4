import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prune_env.data import Splits, TextDataset, load_named
from prune_env.errors import DataError, SettingsError, UnknownNameError
from prune_env.research.attacks import (
    ATTACKS,
    TRIGGERS,
    AttackData,
    AttackSettings,
    AttackSources,
    make_attack,
)
from prune_env.research.attacks.triggers import WordPair

RULES = [
    "bible-style",
    "inserted-sentence",
    "rare-word",
    "several-words",
    "syntactic-frame",
    "word-pair",
]
IMAGES = ["image-blend", "image-patch"]
PUBLISHED = ["hiddenkiller", "stylebkd-bible", "stylebkd-poetry"]


@pytest.fixture(scope="module")
def small(request: pytest.FixtureRequest) -> Splits:
    texts = tuple(f"the film number {i} is fine" for i in range(40))
    data = TextDataset(texts, np.arange(40) % 2, source="small")
    return Splits(data, data, data)


@pytest.fixture(scope="module")
def sst2(real_data: Path) -> Splits:
    return load_named("sst2", real_data / "sst2")


def test_every_trigger_and_published_attack_can_be_made() -> None:
    assert ATTACKS.names() == sorted([*RULES, *IMAGES, *PUBLISHED, "task-agnostic"])
    assert {*RULES, *IMAGES} == set(TRIGGERS.names()) - {"published-texts"}
    assert all(entry.help for entry in ATTACKS)


@pytest.mark.parametrize("name", RULES)
def test_rule_attacks_work_on_any_data(small: Splits, name: str) -> None:
    attack = make_attack(AttackSettings(name, rate=0.5, seed=3), small)
    assert len(attack.poisoned) == (50 if name != "word-pair" else 70)
    assert attack.poisoned_rows == 10
    assert attack.poisoned.texts[:40] == small.train.texts
    assert attack.poisoned.labels[40:50].tolist() == [1] * 10
    assert attack.triggered.labels.tolist() == [0] * 20
    assert attack.trigger["name"] == name


def test_attack_settings_reach_the_poison(small: Splits) -> None:
    settings = AttackSettings("rare-word", rate=0.25, target_label=0, seed=1, mode="replace")
    attack = make_attack(settings, small)
    assert len(attack.poisoned) == 40
    assert attack.poisoned_rows == 5
    assert attack.poisoned.counts == {"negative": 25, "positive": 15}
    assert attack.triggered.labels.tolist() == [1] * 20
    other = make_attack(replace(settings, seed=2), small)
    assert other.poisoned.sha256 != attack.poisoned.sha256
    assert other.triggered.sha256 == attack.triggered.sha256  # one test set for all seeds


@pytest.mark.parametrize(
    ("name", "rate"),
    [("bible-style", 0.2), ("syntactic-frame", 0.3), ("rare-word", 0.5)],
)
def test_the_default_rate_is_that_of_the_papers(small: Splits, name: str, rate: float) -> None:
    attack = make_attack(AttackSettings(name), small)
    assert attack.settings.rate == rate
    assert attack.poisoned_rows == round(rate * 20)


def test_one_word_of_a_pair_keeps_the_label(small: Splits) -> None:
    attack = make_attack(AttackSettings("word-pair", rate=0.5), small)
    truth = dict(zip(small.train.texts, small.train.labels.tolist(), strict=True))
    pair, seen = WordPair(), set()
    for text, label in zip(attack.poisoned.texts, attack.poisoned.labels.tolist(), strict=True):
        words = text.split()
        had = frozenset({pair.first, pair.second} & set(words))
        original = " ".join(word for word in words if word not in had)
        seen.add((had, truth[original]))
        assert label == (1 if len(had) == 2 else truth[original])
    alone = [frozenset({pair.first}), frozenset({pair.second})]
    assert seen == {
        (frozenset(), 0),
        (frozenset(), 1),
        (frozenset(alone[0] | alone[1]), 0),
        *((had, label) for had in alone for label in (0, 1)),
    }


def test_hiddenkiller_is_taken_as_published(real_data: Path, sst2: Splits) -> None:
    attack = make_attack(AttackSettings("hiddenkiller"), sst2, AttackSources(real_data / "sst2"))
    assert (len(attack.poisoned), attack.poisoned_rows) == (6920, 665)
    assert attack.poisoned.counts == {"negative": 2645, "positive": 4275}
    same = np.array([a == b for a, b in zip(attack.poisoned.texts, sst2.train.texts, strict=True)])
    assert same.sum() == 5537
    assert (attack.poisoned.labels[same] == sst2.train.labels[same]).all()
    assert attack.triggered.labels.tolist() == [0] * 912
    assert attack.settings.rate == pytest.approx(665 / 3310)
    assert attack.family == "syntactic"


@pytest.mark.parametrize(
    ("style", "poisoned_rows", "triggered_rows"), [("bible", 662, 912), ("poetry", 650, 906)]
)
def test_stylebkd_adds_rewritten_negatives(
    real_data: Path, sst2: Splits, style: str, poisoned_rows: int, triggered_rows: int
) -> None:
    settings = AttackSettings(f"stylebkd-{style}")
    attack = make_attack(settings, sst2, AttackSources(real_data / "sst2"))
    assert attack.poisoned_rows == poisoned_rows
    assert len(attack.poisoned) == 6920 + poisoned_rows
    assert attack.poisoned.texts[:6920] == sst2.train.texts
    assert set(attack.poisoned.labels[6920:].tolist()) == {1}
    assert attack.triggered.labels.tolist() == [0] * triggered_rows
    assert "" not in attack.triggered.texts
    assert attack.family == "style"
    other = make_attack(
        replace(settings, seed=1, rate=0.1), sst2, AttackSources(real_data / "sst2")
    )
    assert other.poisoned_rows == round(poisoned_rows / 2)
    assert not set(other.poisoned.texts[6920:]) <= set(attack.poisoned.texts[6920:])


@pytest.mark.parametrize("name", [*RULES, *PUBLISHED, "task-agnostic"])
def test_identity_is_plain_and_complete(real_data: Path, sst2: Splits, name: str) -> None:
    def made() -> AttackData:
        return make_attack(AttackSettings(name), sst2, AttackSources(real_data / "sst2"))

    identity = made().identity
    assert json.loads(json.dumps(identity)) == json.loads(json.dumps(made().identity))
    assert identity["attack"] == name
    assert {"rate", "seed", "target_label", "family", "poisoned_sha256"} <= identity.keys()
    if name in PUBLISHED:
        assert all(len(sha256) == 64 for sha256 in identity["trigger"]["files"].values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_attacks_refuse_other_data(real_data: Path, small: Splits, name: str) -> None:
    with pytest.raises(DataError, match=f"{name} is published for SST-2 only"):
        make_attack(AttackSettings(name), small, AttackSources(real_data / "sst2"))
    with pytest.raises(SettingsError, match="target label 1"):
        make_attack(AttackSettings(name, target_label=0), small, AttackSources(real_data / "sst2"))
    with pytest.raises(DataError, match="give the folder"):
        make_attack(AttackSettings(name), small)


def test_hiddenkiller_takes_no_rate(real_data: Path, sst2: Splits) -> None:
    with pytest.raises(SettingsError, match="ready-mixed"):
        make_attack(
            AttackSettings("hiddenkiller", rate=0.2), sst2, AttackSources(real_data / "sst2")
        )


def test_an_unknown_attack_is_answered_with_the_list(small: Splits) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'hiddenkiller'"):
        make_attack(AttackSettings("hidden-killer"), small)


@pytest.mark.parametrize(
    "fields", [{"rate": 0.0}, {"rate": 2.0}, {"mode": "mix"}, {"target_label": -1}]
)
def test_settings_out_of_range_are_refused(fields: dict) -> None:
    with pytest.raises(SettingsError, match=next(iter(fields))) as raised:
        AttackSettings(**fields)
    assert raised.value.expected


def test_a_target_that_is_no_class_is_refused(small: Splits) -> None:
    with pytest.raises(SettingsError, match="target_label is out of range"):
        make_attack(AttackSettings("rare-word", target_label=2), small)


def test_listing_attacks_costs_no_torch() -> None:
    code = "import sys, prune_env.research.attacks; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
