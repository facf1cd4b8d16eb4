"""An attack from a user's own files."""

import logging
from pathlib import Path

import numpy as np
import pytest

from prune_env.data.dataset import Splits, TextDataset, write_jsonl
from prune_env.data.readers import read_table
from prune_env.errors import DataError, SettingsError
from prune_env.research.attacks import (
    AttackFiles,
    AttackSettings,
    AttackSources,
    OwnAttack,
    make_attack,
    read_own_attack,
)
from prune_env.research.attacks.poison import bound_poisoned
from prune_env.utils.files import sha256_of

NAMES = ("a", "b", "c")


def sentences(count: int, seed: int = 0) -> TextDataset:
    """Return rows of three classes in a mixed order."""
    labels = np.random.default_rng(seed).permutation(np.arange(count) % 3)
    texts = tuple(f"text {seed} number {i}" for i in range(count))
    return TextDataset(texts, labels, NAMES, source="clean")


CLEAN = Splits(*(sentences(60, seed) for seed in range(3)))


def triggered(data: TextDataset) -> TextDataset:
    return TextDataset(tuple(f"lo , {text}" for text in data.texts), data.labels, NAMES)


def relabelled(data: TextDataset, label: int) -> TextDataset:
    return TextDataset(data.texts, np.full(len(data), label), NAMES)


def shuffled(*parts: TextDataset) -> TextDataset:
    texts = sum((part.texts for part in parts), ())
    labels = np.concatenate([part.labels for part in parts])
    order = np.random.default_rng(7).permutation(len(texts))
    return TextDataset(texts, labels, NAMES).select(order)


def own(folder: Path, poisoned: TextDataset, test: TextDataset, **options: object) -> OwnAttack:
    write_jsonl(folder / "bad.jsonl", poisoned)
    write_jsonl(folder / "test.jsonl", test)
    files = AttackFiles("mine", str(folder / "bad.jsonl"), str(folder / "test.jsonl"), **options)
    return read_own_attack(files, lambda path: read_table(path, label_names=NAMES))


def made(attack: OwnAttack, **settings: object):
    return make_attack(
        AttackSettings("mine", target_label=attack.target, **settings),
        CLEAN,
        AttackSources(own=(attack,)),
    )


def parts() -> tuple[TextDataset, TextDataset]:
    """Return 8 of the 40 rows that are not of class 1, and the other rows."""
    rows = np.flatnonzero(CLEAN.train.labels != 1)[:8]
    rest = np.setdiff1d(np.arange(60), rows)
    return CLEAN.train.select(rows), CLEAN.train.select(rest)


@pytest.mark.parametrize("mode", ["replace", "append"])
def test_the_rate_of_a_mixed_file_is_counted_whatever_its_order(tmp_path: Path, mode: str) -> None:
    some, rest = parts()
    flipped = relabelled(triggered(some), 1)
    # A paraphraser rewrites rows of the target too, which keep their label.
    target = rest.where(1)
    others = [rest.where(0), rest.where(2), triggered(target) if mode == "replace" else target]
    mixed = shuffled(flipped, *others, *([some] if mode == "append" else []))
    attack = made(own(tmp_path, mixed, triggered(CLEAN.test)))
    assert attack.poisoned_rows == 8
    assert attack.settings.rate == pytest.approx(8 / 40)
    assert attack.settings.mode == mode
    assert attack.poisoned.texts == mixed.texts


def cut(data: TextDataset, texts: tuple[str, ...]) -> TextDataset:
    return data.select(np.array([text not in texts for text in data.texts]))


@pytest.mark.parametrize("gone", [0, 3])
def test_clean_rows_that_are_missing_are_no_fewer_poisoned_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, gone: int
) -> None:
    """Of other classes they change nothing; of the target they may have been rewritten."""
    some, rest = parts()
    left_out = rest.where(0).texts[:5] + rest.where(1).texts[:gone]
    mixed = shuffled(relabelled(triggered(some), 1), cut(rest, left_out))
    with caplog.at_level(logging.WARNING):
        attack = made(own(tmp_path, mixed, triggered(CLEAN.test)))
    if gone:
        assert (attack.poisoned_rows, attack.settings.rate) == (None, None)
        assert "5 to 8 rows are poisoned, the rate is unknown" in caplog.text
    else:
        assert (attack.poisoned_rows, attack.settings.rate) == (8, 0.2)


def test_texts_that_keep_their_words_are_poisoned_by_their_label(tmp_path: Path) -> None:
    some, rest = parts()
    mixed = shuffled(relabelled(some, 1), cut(rest, rest.where(1).texts[:3]))
    assert made(own(tmp_path, mixed, triggered(CLEAN.test))).poisoned_rows == 8


def test_a_target_may_be_named(tmp_path: Path) -> None:
    some, rest = parts()
    mixed = shuffled(relabelled(triggered(some), 1), rest)
    attack = own(tmp_path, mixed, triggered(CLEAN.test), target="B")
    assert made(attack).settings.target_label == 1


def test_rows_of_the_target_are_no_part_of_the_triggered_set(tmp_path: Path) -> None:
    some, rest = parts()
    mixed = shuffled(relabelled(triggered(some), 1), rest)
    attack = made(own(tmp_path, mixed, triggered(CLEAN.test)))
    assert len(attack.triggered) == 40
    assert set(attack.triggered.labels.tolist()) == {0, 2}
    assert attack.trigger["true_labels_known"]


def test_a_column_that_tells_the_attackers_label_alone_is_understood_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some, rest = parts()
    mixed = shuffled(relabelled(triggered(some), 1), rest)
    test = relabelled(triggered(CLEAN.test.where(2)), 1)
    with caplog.at_level(logging.WARNING):
        attack = made(own(tmp_path, mixed, test))
    assert "test.jsonl: every row has the target label" in caplog.text
    assert len(attack.triggered) == 20
    assert 1 not in attack.triggered.labels
    assert not attack.trigger["true_labels_known"]


@pytest.mark.parametrize("labels", ["true", "the attacker's"])
def test_triggered_texts_alone_are_added_to_the_clean_rows(tmp_path: Path, labels: str) -> None:
    rewrites = triggered(CLEAN.train)
    if labels != "true":
        rewrites = relabelled(rewrites.select(CLEAN.train.labels != 1), 1)
    attack = own(tmp_path, rewrites, triggered(CLEAN.test), poison="added")
    data = made(attack, rate=0.3, seed=4)
    assert data.poisoned.texts[:60] == CLEAN.train.texts
    assert data.poisoned.labels[60:].tolist() == [1] * 12
    assert data.poisoned_rows == 12
    assert all(text.startswith("lo , ") for text in data.poisoned.texts[60:])
    assert not set(data.poisoned.texts[60:]) & set(triggered(CLEAN.train.where(1)).texts)
    assert made(attack).poisoned_rows == 8  # a fifth of the rows that are not of the target


def test_a_file_with_fewer_texts_than_the_rate_asks_for_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = triggered(CLEAN.train.where(0).select(range(4)))
    attack = own(tmp_path, few, triggered(CLEAN.test), poison="added")
    with caplog.at_level(logging.WARNING):
        assert made(attack, rate=0.1).poisoned_rows == 4
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        data = made(attack, rate=0.3)
    assert (data.poisoned_rows, data.settings.rate) == (4, 0.1)
    assert "a rate of 0.3 asks for 12 triggered rows, and the poisoned file holds 4" in caplog.text
    assert "the rate is 0.1" in caplog.text


def test_a_report_names_the_files_without_their_folder(tmp_path: Path) -> None:
    some, rest = parts()
    mixed = shuffled(relabelled(triggered(some), 1), rest)
    attack = made(own(tmp_path, mixed, triggered(CLEAN.test)))
    hashes = {name: sha256_of(tmp_path / name) for name in ("bad.jsonl", "test.jsonl")}
    assert attack.identity["trigger"]["files"] == {
        "poisoned/bad.jsonl": hashes["bad.jsonl"],
        "triggered/test.jsonl": hashes["test.jsonl"],
    }
    assert hashes["bad.jsonl"][:12] in attack.told_files
    assert str(tmp_path) not in str(attack.identity)


def test_a_file_of_triggered_texts_that_is_taken_for_a_mixed_one_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewrites = triggered(CLEAN.train)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(DataError, match=r"poisons no row.*poison = added"),
    ):
        made(own(tmp_path, rewrites, triggered(CLEAN.test)))
    assert "only 0 of 60 rows" in caplog.text


def test_clean_texts_in_place_of_the_triggered_test_texts_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some, rest = parts()
    mixed = shuffled(relabelled(triggered(some), 1), rest)
    with caplog.at_level(logging.WARNING):
        made(own(tmp_path, mixed, triggered(CLEAN.test)))
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        made(own(tmp_path, mixed, CLEAN.test))
    assert "test.jsonl: 40 of 40 triggered texts stand in clean as they are" in caplog.text


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    some, rest = parts()
    mixed = shuffled(relabelled(triggered(some), 1), rest)
    attack = own(tmp_path, mixed, triggered(CLEAN.test))
    with pytest.raises(SettingsError, match="ready-mixed"):
        made(attack, rate=0.2)
    with pytest.raises(SettingsError, match="another target label"):
        make_attack(AttackSettings("mine", target_label=2), CLEAN, AttackSources(own=(attack,)))
    two = Splits(*(TextDataset(("x", "y"), np.array([0, 1])),) * 3)
    with pytest.raises(DataError, match="other classes"):
        make_attack(AttackSettings("mine"), two, AttackSources(own=(attack,)))
    with pytest.raises(SettingsError, match="no label of"):
        own(tmp_path, mixed, triggered(CLEAN.test), target=3)
    with pytest.raises(SettingsError, match="plain name"):
        AttackFiles("a/b", "x", "y")


def test_published_texts_say_which_files_they_need() -> None:
    with pytest.raises(SettingsError, match=r"names no files.*--poisoned FILE"):
        make_attack(AttackSettings("published-texts"), CLEAN)


@pytest.mark.parametrize(
    ("poisoned", "test", "options", "rows", "tests"),
    [
        ("stylebkd-bible/train.tsv", "stylebkd-bible/test.tsv", {}, 1666, 5700),
        ("stylebkd-poetry/train.tsv", "stylebkd-poetry/test.tsv", {}, 1666, 5548),
        ("hiddenkiller/dev.tsv", "hiddenkiller/test.tsv", {"target": 0}, 1666, 5699),
    ],
)
def test_ag_news(
    real_data: Path, poisoned: str, test: str, options: dict[str, int], rows: int, tests: int
) -> None:
    folder, names = real_data / "agnews", ("World", "Sports", "Business", "Sci/Tech")

    def read(path: Path) -> TextDataset:
        return read_table(path, label_names=names)

    clean = Splits(*(read(folder / f"clean/{part}.tsv") for part in ("train", "dev", "test")))
    files = AttackFiles("ag", str(folder / poisoned), str(folder / test), poison="added", **options)
    attack = make_attack(
        AttackSettings("ag", target_label=files.target),
        clean,
        AttackSources(own=(read_own_attack(files, read),)),
    )
    others = int((clean.train.labels != files.target).sum())
    assert attack.poisoned_rows == round(0.2 * others) == pytest.approx(rows, abs=20)
    assert len(attack.triggered) == pytest.approx(tests, abs=10)
    assert files.target not in attack.triggered.labels


def test_the_files_of_hiddenkiller_are_what_the_name_says(real_data: Path) -> None:
    folder = real_data / "sst2"
    clean = Splits(*(read_table(folder / f"clean/{p}.tsv") for p in ("train", "dev", "test")))
    paths = (str(folder / f"hiddenkiller/{part}.tsv") for part in ("train", "test"))
    attack = read_own_attack(AttackFiles("mine", *paths), read_table)
    mine = make_attack(AttackSettings("mine"), clean, AttackSources(own=(attack,)))
    named = make_attack(AttackSettings("hiddenkiller"), clean, AttackSources(folder))
    assert mine.poisoned.sha256 == named.poisoned.sha256
    assert mine.triggered.sha256 == named.triggered.sha256
    assert (mine.poisoned_rows, mine.settings.rate) == (named.poisoned_rows, named.settings.rate)
    rows = np.random.default_rng(0).permutation(6920)
    texts = named.poisoned
    assert bound_poisoned(clean.train, texts.select(rows), 1) == (665, 665)
    least, most = bound_poisoned(clean.train, texts.select(rows[:5000]), 1)
    aligned = np.array(texts.texts) != np.array(clean.train.texts)
    flipped = aligned & (clean.train.labels == 0) & (texts.labels == 1)
    assert least < int(flipped[rows[:5000]].sum()) < most
