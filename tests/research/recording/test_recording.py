"""Records of a tiny model: measured, gone on with, fitted and played without the model."""

import copy
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scipy.stats import spearmanr

from prune_env.data.dataset import TextDataset
from prune_env.env import recorded
from prune_env.env.landscape import LandscapeEvaluator, landscape_subject
from prune_env.env.recorded import recorded_subject
from prune_env.env.rewards.reward import REWARDS as REWARDS_TABLE
from prune_env.env.rewards.reward import Accuracy, Reward, Scores, make_reward
from prune_env.env.subject import Subject
from prune_env.env.subjects import DEFAULT_RECORD
from prune_env.errors import OutputExistsError, SettingsError, StateError, UnknownNameError
from prune_env.evaluation import Evaluation, ReferenceEvaluator
from prune_env.evaluation.metrics import calibrated_threshold, label_flip_rate
from prune_env.evaluation.suspect import Suspect
from prune_env.importance import DEFAULT_METRICS
from prune_env.importance.registry import UNIT_FEATURES
from prune_env.models import load_classifier
from prune_env.models.masks import Mask
from prune_env.research.recording.fitting import fit_surrogate
from prune_env.research.recording.offline import check_minari, write_minari
from prune_env.research.recording.recording import Recording
from prune_env.research.recording.table import MaskTable, read_record, write_record
from prune_env.utils.leases import check_alone, locked
from prune_env.utils.registry import Entry

REWARDS = ("sparsity",)


class Overflowing(ReferenceEvaluator):
    """A model without its first head answers NaN."""

    def evaluate(self, masks: Mask) -> Evaluation:
        answer = super().evaluate(masks)
        logits = np.where(masks[:, :1, 0, None], answer.logits, np.nan)
        return replace(answer, logits=logits.astype(np.float32))


def landscape() -> Subject:
    evaluator = LandscapeEvaluator(4, 6, seed=1)
    return Subject(evaluator, evaluator.importance(), DEFAULT_METRICS, "landscape")


@pytest.fixture(scope="module")
def surrogate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A surrogate of 1,200 masks of a landscape, whose triggered texts are another landscape."""
    folder = tmp_path_factory.mktemp("record")
    triggered = LandscapeEvaluator(4, 6, seed=2)
    table = Recording(landscape(), REWARDS, triggered=triggered).run(folder / "r.npz", 1_200)
    fidelity = fit_surrogate(table, folder / "s.npz")
    assert min(fidelity["accuracy"], fidelity["reward sparsity"]) > 0.9
    return folder / "s.npz"


@pytest.fixture
def data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Minari keeps its data sets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def test_a_record_holds_what_the_model_answers(tiny_folder, tiny_data, tmp_path: Path) -> None:
    loaded = load_classifier(tiny_folder)
    clean = ReferenceEvaluator(loaded.model, loaded.tokenizer, tiny_data)
    triggered = ReferenceEvaluator(loaded.model, loaded.tokenizer, tiny_data.where(0))
    subject = Subject(clean, np.arange(8.0).reshape(2, 4, 1), ("magnitude",))
    Recording(subject, REWARDS, triggered=triggered).run(tmp_path / "r.npz", 40)
    table = read_record(tmp_path / "r.npz")
    assert len(np.unique(table.masks, axis=0)) == len(table.masks) == 40
    assert table.masks[0].all()
    assert table.masks.any(axis=2).all()  # every layer keeps a head
    assert set(table.kinds) == {0, 1, 2}
    np.testing.assert_allclose(table.columns["accuracy"], clean.accuracy(table.masks), atol=1e-6)
    logits, hits = clean.evaluate(table.masks).logits, triggered.evaluate(table.masks).logits
    other = 1 - clean.labels
    texts = np.arange(len(clean.labels))
    margins = logits[:, texts, clean.labels] - logits[:, texts, other]
    np.testing.assert_allclose(table.margins, margins, rtol=1e-3, atol=1e-3)
    for row in range(40):
        threshold = calibrated_threshold(logits[row], clean.labels)
        plain, calibrated = label_flip_rate(hits[row]), label_flip_rate(hits[row], 1, threshold)
        assert table.columns["lfr"][row] == pytest.approx(plain.percent / 100)
        assert table.columns["lfr_calibrated"][row] == pytest.approx(calibrated.percent / 100)


def test_masks_come_in_families_that_share_their_first_layers(tmp_path: Path) -> None:
    """Else a real model would compute each of them alone, at four times the price."""
    table = Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 200)
    assert (table.families[0], table.families.max() > 10) == (0, True)
    sizes = []
    for family in range(1, int(table.families.max())):  # the last one may be cut short
        masks = table.masks[table.families == family]
        sizes.append(len(masks))
        assert len(np.unique(masks[:, :2], axis=0)) == 1
        assert len(np.unique(masks[:, :3], axis=0)) <= 2
        assert len(set(table.kinds[table.families == family])) == 1
    assert max(sizes) == 8
    assert np.mean(sizes) > 4


def test_of_many_texts_some_tell_the_accuracy_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The margins of all would make a file that is too large to be read again."""
    monkeypatch.setattr("prune_env.research.recording.recording.MOST_TEXTS", 50)
    table = Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 400)
    assert table.margins.shape == (len(table.masks), 50)
    right = (table.margins > 0).mean(axis=1)
    assert (right != table.columns["accuracy"]).any()
    fidelity = fit_surrogate(table, tmp_path / "s.npz")
    assert fidelity["accuracy"] > 0.7
    played = recorded_subject(str(tmp_path / "s.npz"), DEFAULT_METRICS).evaluator
    told = played.accuracy(table.masks)
    bias = [(each - table.columns["accuracy"]).mean() for each in (told, right)]
    assert abs(bias[0]) < abs(bias[1])


def test_the_fidelity_is_of_families_that_were_not_fitted(tmp_path: Path) -> None:
    table = Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 200)
    fidelity = fit_surrogate(table, tmp_path / "s.npz")
    played = recorded_subject(str(tmp_path / "s.npz"), DEFAULT_METRICS).evaluator
    assert isinstance(played, recorded.RecordedEvaluator)
    assert played.facts["fitted"] + played.facts["held_out"] == len(table.masks)
    with np.load(tmp_path / "s.npz") as held:
        bits = np.unpackbits(held["masks"], axis=1, count=24).astype(bool).reshape(-1, 4, 6)
    centres = {mask.tobytes() for mask in bits}
    known = np.array([mask.tobytes() in centres for mask in table.masks])
    assert not set(table.families[known]) & set(table.families[~known])
    found = played.column("accuracy", table.masks[~known])
    measured = spearmanr(found, table.columns["accuracy"][~known]).statistic
    assert fidelity["accuracy"] == pytest.approx(measured)


def test_accuracy_is_told_by_margins_better_than_by_itself(tmp_path: Path) -> None:
    """Margins move smoothly with a mask; single answers, and so the accuracy, in steps."""
    table = Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 600)
    fit_surrogate(table, tmp_path / "s.npz")
    played = recorded_subject(str(tmp_path / "s.npz"), DEFAULT_METRICS).evaluator
    assert isinstance(played, recorded.RecordedEvaluator)
    plain = copy.copy(played)
    plain._texts, plain._remembered = None, {}
    random = np.random.default_rng(5)
    masks = random.random((300, 4, 6)) < 0.7
    masks[:, :, 0] |= ~masks.any(axis=2)
    truth = landscape().evaluator.accuracy(masks)
    wrong = [np.abs(each.column("accuracy", masks) - truth).mean() for each in (played, plain)]
    assert wrong[0] < wrong[1]


def test_a_record_that_could_not_be_read_again_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"too large to be read.*fewer, or set PRUNE_ENV_MAX_S"):
        Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 1_000_000)
    assert not (tmp_path / "r.npz").exists()


def test_a_record_of_no_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="a mask at least"):
        Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 0)


@pytest.mark.parametrize("units", [True, False])
def test_what_no_metric_measures_is_refused(units: bool) -> None:
    metrics = tuple(UNIT_FEATURES) if units else ()
    numbers = {"groups": 2, "steps": 2} if units else {}
    subject = landscape_subject(metrics, layers=2, heads=4, **numbers)
    with pytest.raises(SettingsError, match="The masks of a record are drawn by metrics"):
        Recording(subject, REWARDS)


def test_a_mask_that_overflows_does_not_end_a_recording(
    tiny_folder: Path, tiny_data: Any, tmp_path: Path
) -> None:
    loaded = load_classifier(tiny_folder)
    clean, triggered = (
        Overflowing(loaded.model, loaded.tokenizer, data)
        for data in (tiny_data, tiny_data.where(0))
    )
    subject = Subject(clean, np.arange(8.0).reshape(2, 4, 1), ("magnitude",))
    table = Recording(subject, REWARDS, triggered=triggered).run(tmp_path / "r.npz", 9)
    spoilt = ~table.masks[:, 0, 0]
    assert spoilt.any()
    assert not spoilt.all()
    assert (table.margins[spoilt] == -100).all()
    assert (table.margins[~spoilt] > -100).all()
    assert np.array_equal(table.columns["lfr"][spoilt], table.columns["lfr_calibrated"][spoilt])


def test_a_record_of_the_unpruned_model_alone_is_a_file(tmp_path: Path) -> None:
    table = Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 1)
    assert len(table.masks) == len(read_record(tmp_path / "r.npz").masks) == 1


def test_without_an_attack_no_lfr_is_recorded(tmp_path: Path) -> None:
    table = Recording(landscape(), REWARDS).run(str(tmp_path / "r.npz"), 40)
    assert set(table.columns) == {"accuracy", "reward sparsity"}
    fit_surrogate(table, str(tmp_path / "s.npz"))
    with pytest.raises(SettingsError, match="oracle"):
        gym.make("prune_env/Recorded-v0", model=str(tmp_path / "s.npz"), reward="oracle")


def _killed_after(calls: int, measure: Callable[[Mask], Any]) -> Callable[[Mask], Any]:
    left = iter(range(calls))

    def measured(masks: Mask) -> Any:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return measure(masks)

    return measured


def test_a_recording_goes_on_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Recording(landscape(), REWARDS).run(tmp_path / "whole.npz", 150)
    for lived in (1, 9, 14):
        killed = Recording(landscape(), REWARDS)
        monkeypatch.setattr(killed, "_measure", _killed_after(lived, killed._measure))
        with pytest.raises(KeyboardInterrupt):
            killed.run(tmp_path / "parts.npz", 150)
    assert 1 < len(read_record(tmp_path / "parts.npz").masks) < 150
    parts = Recording(landscape(), REWARDS).run(tmp_path / "parts.npz", 150)
    np.testing.assert_array_equal(parts.masks, whole.masks)
    np.testing.assert_array_equal(parts.families, whole.families)
    np.testing.assert_array_equal(parts.margins, whole.margins)
    with pytest.raises(StateError, match=r"another recording\. Expected: seed: 1\. Actual"):
        Recording(landscape(), REWARDS, seed=1).run(tmp_path / "parts.npz", 40)
    longer = Recording(landscape(), REWARDS).run(tmp_path / "parts.npz", 160)
    np.testing.assert_array_equal(longer.masks[:150], whole.masks)
    assert len(longer.masks) == 160


@pytest.mark.parametrize("numbers", [(33,), (33, 34), (2, 96), range(1, 96)])
def test_a_record_that_grows_is_that_of_its_last_number(
    tmp_path: Path, numbers: Sequence[int]
) -> None:
    """Also where a number falls into a family."""
    whole = Recording(landscape(), REWARDS).run(tmp_path / "whole.npz", 96)
    assert whole.families[32] == whole.families[33]
    for number in (*numbers, 96):
        grown = Recording(landscape(), REWARDS).run(tmp_path / "grown.npz", number)
        assert len(grown.masks) == number
    for name in ("masks", "kinds", "families", "margins"):
        np.testing.assert_array_equal(getattr(grown, name), getattr(whole, name))
    assert (tmp_path / "grown.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_a_family_that_another_release_drew_is_left_as_it_is(tmp_path: Path) -> None:
    table = Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 33)
    assert table.families[-1] == table.families[-2]
    table.masks[-2:] = table.masks[:-3:-1].copy()  # no family holds them in this order
    write_record(tmp_path / "r.npz", table)
    grown = Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 40)
    np.testing.assert_array_equal(grown.masks[:33], table.masks)
    assert grown.families[33] == table.families[-1] + 1


def test_masks_that_overflow_spoil_no_other(tmp_path: Path) -> None:
    table = Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 300)
    spoilt = (~table.masks[:, 0, :2]).all(axis=1)
    assert 3 < spoilt.sum() < 60
    margins, accuracy = table.margins.copy(), table.columns["accuracy"].copy()
    margins[spoilt], accuracy[spoilt] = -100, 0
    columns = {**table.columns, "accuracy": accuracy}
    fit_surrogate(replace(table, margins=margins, columns=columns), tmp_path / "s.npz")
    played = recorded_subject(str(tmp_path / "s.npz"), DEFAULT_METRICS).evaluator
    told = played.accuracy(table.masks[~spoilt])
    assert np.abs(told - accuracy[~spoilt]).mean() < 0.06  # 0.3 where they pull at the others


def test_a_record_of_other_values_is_not_gone_on_with(tmp_path: Path) -> None:
    table = Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 20)
    for change in (
        {"margins": table.margins[:, :5]},
        {"columns": {**table.columns, "other": table.columns["accuracy"]}},
    ):
        write_record(tmp_path / "r.npz", replace(table, **change))
        with pytest.raises(StateError, match="other values than this recording measures"):
            Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 40)


def test_a_record_goes_on_with_its_own_training_data_alone(
    tiny_folder: Path, tiny_data: TextDataset, tmp_path: Path
) -> None:
    """Metrics and rewards read it, so that a file would hold values of two rewards as one."""
    loaded = load_classifier(tiny_folder)
    clean = ReferenceEvaluator(loaded.model, loaded.tokenizer, tiny_data)

    def recording(train: TextDataset) -> Recording:
        suspect = Suspect(loaded, train, tiny_data, clean)
        metrics = np.arange(8.0).reshape(2, 4, 1)
        return Recording(Subject(clean, metrics, ("magnitude",), suspect=suspect), REWARDS)

    path = tmp_path / "r.npz"
    table = recording(tiny_data).run(path, 9)
    with pytest.raises(StateError, match=r"another recording\. Expected: train: "):
        recording(tiny_data.where(0)).run(path, 12)
    assert len(recording(tiny_data).run(path, 12).masks) == 12
    # Files of earlier releases do not tell theirs.
    old = {name: value for name, value in table.identity.items() if name != "train"}
    write_record(path, replace(table, identity=old))
    assert recording(tiny_data).run(path, 12).identity == old


def test_a_record_goes_on_in_its_own_precision_alone(
    tiny_folder: Path, tiny_data: TextDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Margins of some masks would carry a rounding that those of the others do not."""
    loaded = load_classifier(tiny_folder)
    clean = ReferenceEvaluator(loaded.model, loaded.tokenizer, tiny_data)
    subject, path = Subject(clean, np.arange(8.0).reshape(2, 4, 1), ("magnitude",)), tmp_path / "r"
    monkeypatch.setenv("PRUNE_ENV_PRECISION", "bf16")
    table = Recording(subject, REWARDS).run(path, 9)
    assert len(Recording(subject, REWARDS).run(path, 12).masks) == 12
    monkeypatch.setenv("PRUNE_ENV_PRECISION", "fp32")
    with pytest.raises(
        StateError,
        match=r"r was measured in another precision\. Expected: fp32.*Actual: bf16\. "
        r"Remedy: set PRUNE_ENV_PRECISION=bf16, or",
    ):
        Recording(subject, REWARDS).run(path, 15)
    old = {name: value for name, value in table.identity.items() if name != "precision"}
    write_record(path, replace(table, identity=old))  # as files of earlier releases
    assert Recording(subject, REWARDS).run(path, 12).identity == old
    assert "precision" not in Recording(landscape(), REWARDS).run(tmp_path / "own", 2).identity


def test_a_record_goes_on_with_the_code_of_its_reward_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code of others changes under a name that stays: one column would hold two rewards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "from prune_env.env.rewards.reward import Sparsity\nclass Paid(Sparsity): "
    for module, body in (("paid_first", "name = 'paid'"), ("paid_then", "name = 'paid'; new = 1")):
        (tmp_path / f"{module}.py").write_text(text + body)
    path = tmp_path / "r.npz"

    def run(module: str, masks: int) -> MaskTable:
        monkeypatch.setitem(REWARDS_TABLE._entries, "paid", Entry("paid", "", f"{module}:Paid"))
        return Recording(landscape(), ["paid"]).run(path, masks)

    table = run("paid_first", 9)
    assert len(run("paid_first", 12).masks) == 12
    with pytest.raises(StateError, match=r"another recording\. Expected: code: paid "):
        run("paid_then", 15)
    # Files of earlier releases do not tell it, and of this package's own rewards no file does.
    old = {name: value for name, value in table.identity.items() if name != "code"}
    write_record(path, replace(table, identity=old))
    assert run("paid_then", 12).identity == old
    assert "code" not in Recording(landscape(), REWARDS).run(tmp_path / "own.npz", 2).identity


def test_a_second_recording_into_a_file_is_refused_while_one_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end first with more masks, which the first one then replaces by its own."""
    path = tmp_path / "r.npz"
    slow, fast = Recording(landscape(), REWARDS), Recording(landscape(), REWARDS)
    measure = Recording._measure
    tried = []

    def meanwhile(self: Recording, masks: Any) -> Any:
        if self is slow and path.exists() and not tried:
            tried.append(path)
            with pytest.raises(StateError, match=r"Another process records into .*r\.npz"):
                fast.run(path, 96)
        return measure(self, masks)

    monkeypatch.setattr(Recording, "_measure", meanwhile)
    assert len(slow.run(path, 40).masks) == 40
    assert tried
    assert len(fast.run(path, 96).masks) == 96
    assert len(slow.run(path, 40).masks) == len(read_record(path).masks) == 96
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_to_a_record_is_the_record(tmp_path: Path) -> None:
    (tmp_path / "link.npz").symlink_to(tmp_path / "r.npz")
    with locked(tmp_path / "r.npz"), pytest.raises(StateError, match="Another process"):
        Recording(landscape(), REWARDS).run(tmp_path / "link.npz", 40)


def test_one_that_only_looks_whether_a_record_is_free_stops_no_recording(tmp_path: Path) -> None:
    check_alone(tmp_path / "new" / "r.npz", "records into r.npz")
    assert not list(tmp_path.iterdir())
    with ThreadPoolExecutor(1) as looking:
        with locked(tmp_path / "r.npz"):
            recorded = looking.submit(Recording(landscape(), REWARDS).run, tmp_path / "r.npz", 1)
            time.sleep(0.1)
        assert len(recorded.result().masks) == 1


def test_a_model_with_few_masks_is_recorded_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evaluator = LandscapeEvaluator(2, 2)
    subject = Subject(evaluator, evaluator.importance(), DEFAULT_METRICS)
    table = Recording(subject, REWARDS).run(tmp_path / "r.npz", 50)
    assert any(each.startswith("No further mask was found after 9") for each in caplog.messages)
    assert not any("different masks" in each for each in caplog.messages)  # nobody counted them
    possible = [m for m in product([True, False], repeat=4) if any(m[:2]) and any(m[2:])]
    assert {tuple(mask.ravel()) for mask in table.masks} == set(possible)
    with pytest.raises(SettingsError, match="too few masks"):
        fit_surrogate(table, tmp_path / "s.npz")


def test_a_recorded_model_is_played_like_the_model(surrogate: Path) -> None:
    env = gym.make("prune_env/Recorded-v0", model=str(surrogate), tau=0.8)
    check_env(env.unwrapped, skip_render_check=True)
    live = gym.make("prune_env/HeadPruning-v0", model=landscape(), tau=0.8)
    for each in (env, live):
        each.reset(seed=0)
        accuracies = []
        for head in (3, 8, 20, 14):
            _, _, _, _, info = each.step(head)
            accuracies.append(info["accuracy"])
        if each is env:
            predicted = accuracies
    np.testing.assert_allclose(predicted, accuracies, atol=0.05)
    assert env.unwrapped.validate(env.unwrapped.state).ok


def test_the_hidden_lfr_is_seen_by_the_name_of_oracle_alone(surrogate: Path) -> None:
    env = gym.make("prune_env/Recorded-v0", model=str(surrogate), reward="oracle", tau=0.5)
    assert env.unwrapped.reward.oracle
    env.reset(seed=0)
    reward = env.step(3)[1]
    mask = np.stack([env.unwrapped.available, env.unwrapped.mask])
    lfr = recorded_subject(str(surrogate), DEFAULT_METRICS).evaluator.column("lfr_calibrated", mask)
    assert reward == pytest.approx(lfr[0] - lfr[1])
    assert not gym.make("prune_env/Recorded-v0", model=str(surrogate)).unwrapped.reward.oracle
    for name in ("lfr", "lfr_calibrated"):
        with pytest.raises(UnknownNameError):
            gym.make("prune_env/Recorded-v0", model=str(surrogate), reward=name)


def test_what_is_remembered_of_masks_changes_no_answer(
    surrogate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fresh() -> recorded.RecordedEvaluator:
        return recorded.read_surrogate(surrogate)

    model = fresh()
    masks = model.available & (np.random.default_rng(0).random((9, *model.shape)) < 0.7)
    alone = np.concatenate([fresh().accuracy(mask[None]) for mask in masks])
    assert len(set(alone)) > 1
    monkeypatch.setattr(recorded, "REMEMBERED", 4)
    for _ in range(2):  # the second time some are remembered, and some were forgotten
        np.testing.assert_array_equal(model.accuracy(masks), alone)
    assert len(model._remembered) <= 4

    hidden = model.without("lfr_calibrated")
    np.testing.assert_array_equal(hidden.accuracy(masks), alone)
    with pytest.raises(UnknownNameError, match="lfr_calibrated"):
        hidden.column("lfr_calibrated", masks)


def test_play_needs_no_torch(surrogate: Path) -> None:
    code = (
        "import sys, gymnasium, prune_env\n"
        "env = gymnasium.make('prune_env/Recorded-v0', model=sys.argv[1], reward='oracle')\n"
        "env.reset(seed=0)\n"
        "env.step(0)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, surrogate], check=False).returncode == 0


def test_a_minari_data_set_holds_ways_to_recorded_masks(surrogate: Path, data_sets: Path) -> None:
    minari = pytest.importorskip("minari")
    table = read_record(surrogate.parent / "r.npz")
    assert write_minari(table, surrogate, "prune/landscape-v0", episodes=20) == 20
    data = minari.load_dataset("prune/landscape-v0")
    assert [path.name for path in (data_sets / "prune").iterdir() if path.is_dir()] == [
        "landscape-v0"
    ]
    env = data.recover_environment()
    recorded = {mask.tobytes() for mask in table.masks}
    ended = []
    for episode in data.iterate_episodes():
        observation, info = env.reset()
        for step, action in enumerate(episode.actions):
            for name, value in observation.items():
                np.testing.assert_array_equal(episode.observations[name][step], value)
            np.testing.assert_array_equal(episode.infos["action_mask"][step], info["action_mask"])
            assert info["action_mask"][action]
            observation, reward, terminated, truncated, info = env.step(action)
            assert episode.rewards[step] == reward
            assert episode.terminations[step] == terminated
        assert terminated or truncated
        assert episode.infos["accuracy"][-1] == info["accuracy"]
        ended.append(info["ended"])
        assert info["ended"] == "tau" or info["mask"].tobytes() in recorded
    assert set(ended) == {"stop", "tau"}


def test_a_minari_data_set_is_refused_before_the_work(
    surrogate: Path, data_sets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "../mine-v0", "/mine-v0", "a b-v0", ""):
        with pytest.raises(SettingsError, match="no name of a Minari data set"):
            check_minari(name)
    (data_sets / "mine-v0").mkdir()
    with pytest.raises(OutputExistsError, match="minari delete mine-v0"):
        check_minari("mine-v0")
    with pytest.raises(SettingsError, match="an episode at least"):
        write_minari(read_record(surrogate.parent / "r.npz"), surrogate, "other-v0", episodes=0)
    for package in ("minari", "h5py"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(SettingsError, match=r"prune-env\[minari\]"):
                check_minari("other-v0")


def test_a_full_disk_ends_in_an_error_and_leaves_no_data_set(
    surrogate: Path, data_sets: Path
) -> None:
    table = read_record(surrogate.parent / "r.npz")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_minari(table, surrogate, "mine-v0", episodes=20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(data_sets.iterdir())


def test_damaged_files_are_refused(tmp_path: Path, surrogate: Path) -> None:
    path = tmp_path / "s.npz"
    path.write_bytes(surrogate.read_bytes()[:-100])
    for read in (read_record, lambda each: recorded_subject(str(each), DEFAULT_METRICS)):
        for each in (path, tmp_path / "absent.npz"):
            with pytest.raises(StateError):
                read(each)
    with pytest.raises(SettingsError, match="asked for"):
        gym.make("prune_env/Recorded-v0", model=str(surrogate), metrics="magnitude,nonsense")


def _spoilt(table: MaskTable, how: str) -> MaskTable:
    masks, importance = table.masks.copy(), table.importance.copy()
    if how == "first":
        masks[0, 0, 0] = False
    elif how == "twice":
        masks[5] = masks[6]
    else:
        importance[0, 0, 0] = np.nan
    return replace(table, masks=masks, importance=importance)


@pytest.mark.parametrize(
    ("how", "told"),
    [("first", "not the unpruned model"), ("twice", "a mask stands twice"), ("nan", "not finite")],
)
def test_a_record_that_would_make_a_useless_surrogate_is_refused(
    how: str, told: str, tmp_path: Path
) -> None:
    table = Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 20)
    write_record(tmp_path / "r.npz", _spoilt(table, how))
    with pytest.raises(StateError, match=rf"r\.npz is no record.*{told}"):
        read_record(tmp_path / "r.npz")


def test_a_surrogate_never_replaces_a_record(tmp_path: Path) -> None:
    table = Recording(landscape(), REWARDS).run(tmp_path / "r.npz", 40)
    with pytest.raises(SettingsError, match="is no surrogate"):
        fit_surrogate(table, tmp_path / "r.npz")
    assert len(read_record(tmp_path / "r.npz").masks) == 40
    for _ in range(2):  # but a surrogate does
        fit_surrogate(table, tmp_path / "s.npz")


def test_a_recorded_model_reads_no_data(surrogate: Path) -> None:
    for arguments in ({"model": str(surrogate)}, {"pool": [str(surrogate), "landscape"]}):
        with pytest.raises(SettingsError, match=r"comes with its own data.*s\.npz"):
            gym.make("prune_env/Recorded-v0", data="sst2", **arguments)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with surrogates `plain`, recorded with accuracy, and `paid`, with sparsity too."""
    folder = tmp_path_factory.mktemp("others")
    for name, rewards in (("plain", ["accuracy"]), ("paid", ["accuracy", "inverted-trigger"])):
        recording = Recording(landscape(), ["accuracy"])
        recording._rewards = {each: make_reward("accuracy") for each in rewards}
        fit_surrogate(recording.run(folder / f"{name}.r.npz", 40), folder / f"{name}.npz")
    return folder


@pytest.mark.parametrize("names", [("plain", "paid"), ("paid", "plain")])
def test_every_model_of_a_pool_was_recorded_with_the_reward(
    others: Path, names: tuple[str, str]
) -> None:
    pool = [str(others / f"{name}.npz") for name in names]
    with pytest.raises(SettingsError, match=r"plain was recorded without.*'inverted-trigger'"):
        gym.make("prune_env/Recorded-v0", pool=pool, reward="inverted-trigger")
    # One that a mask tells by itself is computed, in whatever company.
    for company in ([*pool, "landscape"], pool, pool[:1]):
        env = gym.make("prune_env/HeadPruning-v0", pool=company, reward="accuracy")
        assert type(env.unwrapped.reward.terms[0][1]) is Accuracy
    with pytest.raises(SettingsError, match="plain was recorded without the reward 'oracle'"):
        gym.make("prune_env/Recorded-v0", model=str(others / "plain.npz"), reward="oracle")


@pytest.mark.parametrize("reward", ["inverted-trigger", "consistency", "surrogate", "flips-clause"])
def test_a_reward_that_no_record_holds_is_refused_by_what_they_hold(
    others: Path, reward: str
) -> None:
    plain = str(others / "plain.npz")
    for make in (gym.make, gym.make_vec):
        with pytest.raises(SettingsError, match=f"without the reward '{reward}'.* one of accuracy"):
            make("prune_env/Recorded-v0", model=plain, reward=f"sparsity + 0.5 * {reward}")


def test_a_reward_of_somebody_else_is_paid_on_a_record(
    others: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FirstLayer(Reward):
        name = "first-layer"

        def score(self, subject: Subject, masks: Mask, accuracy: Scores) -> Scores:
            scores: Scores = 1 - masks[:, 0].mean(axis=1)
            return scores

    monkeypatch.setattr(REWARDS_TABLE, "_entries", dict(REWARDS_TABLE._entries))
    REWARDS_TABLE.register("first-layer", FirstLayer, help="heads pruned in the first layer")
    plain = str(others / "plain.npz")
    env = gym.make("prune_env/Recorded-v0", model=plain, reward="first-layer", max_drop=0.5)
    env.reset(seed=0)
    assert env.step(0)[1] == pytest.approx(1 / 6)


def test_a_model_of_the_options_was_recorded_with_the_reward(others: Path) -> None:
    paid = str(others / "paid.npz")
    env = gym.make("prune_env/HeadPruning-v0", model=paid, reward="inverted-trigger")
    env.reset(options={"model": "paid"})
    with pytest.raises(SettingsError, match=r"layers=4.* was not recorded.*'inverted-trigger'"):
        env.reset(options={"model": "landscape:layers=4,heads=6"})
    with pytest.raises(SettingsError, match=r"plain was recorded without.*'inverted-trigger'"):
        env.reset(options={"model": str(others / "plain.npz")})


def test_without_a_name_a_record_that_ships_is_played() -> None:
    env = gym.make("prune_env/Recorded-v0", reward="inverted-trigger", tau=None)
    assert env.reset(seed=0)[1]["model"] == DEFAULT_RECORD
    assert env.unwrapped.validate(env.unwrapped.state).ok
    envs = gym.make_vec("prune_env/Recorded-v0", num_envs=2, tau=None)
    assert envs.reset(seed=0)[1]["model"].tolist() == [DEFAULT_RECORD] * 2


def test_what_was_not_recorded_is_refused_unloaded(
    surrogate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prune_env.research.attacks.ready_made.tiny", lambda _: pytest.fail("made"))
    for other in ({"model": "tiny"}, {"model": "landscape"}, {"pool": [str(surrogate), "tiny"]}):
        for make in (gym.make, gym.make_vec):
            with pytest.raises(SettingsError, match=r"is no recorded model.*sst2-hiddenkiller-0"):
                make("prune_env/Recorded-v0", **other)


def test_a_recorded_game_plays_no_other_model_on_request(surrogate: Path) -> None:
    env = gym.make("prune_env/Recorded-v0", model=str(surrogate))
    for other in ("landscape:layers=4,heads=6", landscape()):
        with pytest.raises(SettingsError, match="is no recorded model"):
            env.reset(options={"model": other})
    with pytest.raises(SettingsError, match="is no recorded model"):
        gym.make("prune_env/Recorded-v0", model=landscape())
    evaluator = LandscapeEvaluator(4, 6)
    own = {"evaluator": evaluator, "importance": evaluator.importance()}
    with pytest.raises(SettingsError, match="is no recorded model"):
        gym.make("prune_env/Recorded-v0", **own)


def test_the_snippet_of_the_document_stands_alone(surrogate: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "recorded.md").read_text("utf-8")
    snippet = text.split("```python\n")[1].split("```")[0]
    snippet = snippet.replace("runs/mine-surrogate.npz", str(surrogate))
    made: dict[str, Any] = {}
    exec(snippet.replace("inverted-trigger", "sparsity"), made)
    assert made["env"].reset(seed=0)[1]["heads_pruned"] == 0
