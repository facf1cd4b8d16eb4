from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

import prune_env.agents
import prune_env.baselines  # noqa: F401 - registers the policies
from prune_env.env.landscape import LandscapeEvaluator
from prune_env.env.policy import POLICIES, requirements_of
from prune_env.env.subject import Subject
from prune_env.models import save_mask
from prune_env.purification import SearchResult, metrics_for, search
from prune_env.purification.search import read_mask
from prune_env.settings import SearchSettings
from prune_env.utils import files

SHAPE = (2, 3)


class Forgetful:
    """Finds a mask while it learns, and has forgotten it when it plays."""

    best_mask = np.array([[True, True, False], [True, True, True]])
    best_return = 0.0

    @classmethod
    def for_env(cls, env: Any, *, seed: int = 0) -> "Forgetful":
        return cls()

    def learn(self, env: Any, *, total_steps: int, max_evaluations: int, callback: Any) -> None:
        callback(None)

    def predict(self, observation: Any, state: Any = None, **kwargs: Any) -> tuple[int, Any]:
        return SHAPE[0] * SHAPE[1], state  # STOP


@pytest.fixture
def subject() -> Subject:
    return Subject(LandscapeEvaluator(*SHAPE, seed=0), np.zeros((*SHAPE, 1)), ("magnitude",))


def handed_out(
    patch: pytest.MonkeyPatch, subject: Subject, policy: type, best_return: float, **settings: Any
) -> SearchResult:
    """Return what a policy finds that learned a mask of such a return; its accuracy is right."""
    patch.setattr(POLICIES, "_entries", dict(POLICIES._entries))
    POLICIES.register("mine", policy, help="a test")
    patch.setattr(policy, "best_return", best_return)
    found = search(subject, "mine", SearchSettings(max_drop=1.0, **settings))
    assert found.accuracy == subject.evaluator.accuracy(found.mask[None])[0]
    return found


@pytest.mark.parametrize(("best_return", "pruned"), [(0.2, 1), (-0.2, 0)])
def test_the_better_of_what_was_learned_and_what_is_played_is_handed_out(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, best_return: float, pruned: int
) -> None:
    assert handed_out(monkeypatch, subject, Forgetful, best_return).heads_pruned == pruned


class Spent(Forgetful):
    """Finds a mask while it learns, and spends the budget; it would play another."""

    def learn(self, env: Any, *, total_steps: int, max_evaluations: int, callback: Any) -> None:
        env.reset(seed=0)
        self.steps = [env.step(head) for head in range(max_evaluations - 1)]


@pytest.mark.parametrize(("best_return", "pruned"), [(0.0, 1), (-1e-17, 1), (-0.2, 0)])
def test_what_lost_by_pruning_is_not_handed_out(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, best_return: float, pruned: int
) -> None:
    """The budget is spent, so that nothing is played that might be better."""
    found = handed_out(monkeypatch, subject, Spent, best_return, budget=3)
    assert (found.evaluations, found.heads_pruned) == (3, pruned)


def test_below_tau_nothing_is_pruned(subject: Subject) -> None:
    found = search(subject, "random", SearchSettings(tau=1.0))
    assert found.heads_pruned == 0
    assert found.accuracy == subject.accuracy


def test_a_fixed_policy_keeps_tau(subject: Subject) -> None:
    found = search(subject, "random", SearchSettings(max_drop=0.02))
    assert found.accuracy >= found.tau == pytest.approx(subject.accuracy - 0.02)


def test_the_released_loop_prunes_whole_groups_of_ten() -> None:
    evaluator = LandscapeEvaluator(4, 12, seed=0)
    importance = np.arange(48, dtype=float).reshape(4, 12, 1)
    released = Subject(evaluator, importance, ("cls_variance_released",))
    found = search(released, "epsilon-greedy", SearchSettings(variant="released", tau=0.7))
    order = [head for head in range(48) if head % 12 != 11]  # a layer keeps its last head
    pruned = found.heads_pruned
    assert pruned in (10, 20, 30, 40)
    assert np.flatnonzero(~found.mask.ravel()).tolist() == order[:pruned]  # lowest variance first
    assert found.accuracy >= 0.7
    assert found.evaluations == pruned // 10 + 2  # the unpruned model, and the group that broke tau


def _is_own(name: str) -> bool:
    return not POLICIES[name].__module__.startswith("tests.")


OWN = [name for name in sorted(POLICIES.names()) if _is_own(name)]
"""Without the policies that other tests register, some of which end their process."""


def landscape() -> Subject:
    """Return a synthetic model that holds the metrics of every policy."""
    evaluator = LandscapeEvaluator(4, 6, seed=0)
    metrics = metrics_for(requirements_of(name) for name in POLICIES.names())
    return Subject(evaluator, evaluator.importance(metrics), metrics)


@pytest.mark.parametrize("prune_step", [1, 6])
@pytest.mark.parametrize("policy", OWN)
def test_no_policy_asks_more_masks_than_its_budget(policy: str, prune_step: int) -> None:
    model = landscape()
    for budget in (1, 5, 17):
        found = search(model, policy, SearchSettings(budget=budget, prune_step=prune_step))
        assert 1 <= found.evaluations <= budget
        assert found.accuracy >= found.tau


def test_a_fixed_order_prunes_as_far_as_its_budget_goes() -> None:
    model = landscape()
    whole = search(model, "gradient", SearchSettings(tau=0.0))
    assert whole.heads_pruned == 20  # every layer keeps one
    cut = search(model, "gradient", SearchSettings(tau=0.0, budget=7))
    assert cut.heads_pruned == 6  # the unpruned model is one of the seven


def test_the_best_of_several_random_orders_is_handed_out() -> None:
    subject = Subject(LandscapeEvaluator(3, 4, seed=5), np.zeros((3, 4, 1)), ("magnitude",))
    pruned, asked = [], set()
    for seed in range(6):
        found = search(subject, "random", SearchSettings(max_drop=0.1), seed=seed)
        pruned.append(found.heads_pruned)
        asked.add(found.evaluations)
    assert len(set(pruned)) > 1
    best = search(subject, "random", SearchSettings(max_drop=0.1, episodes=6))
    assert best.heads_pruned == max(pruned)
    assert best.accuracy == subject.evaluator.accuracy(best.mask[None])[0]
    few = SearchSettings(max_drop=0.1, episodes=6, budget=max(asked) + 2)
    assert search(subject, "random", few).evaluations == few.budget


def test_how_often_was_played_is_told(tmp_path: Path) -> None:
    subject = Subject(LandscapeEvaluator(3, 4, seed=5), np.zeros((3, 4, 1)), ("magnitude",))
    with SummaryWriter(str(tmp_path)) as writer:
        settings = SearchSettings(max_drop=0.1, episodes=6)
        best = search(subject, "random", settings, writer=writer)
    assert best.episodes == 6
    events = EventAccumulator(str(tmp_path)).Reload()
    returns = events.Scalars("search/random/return_of_episode")
    assert [each.step for each in returns] == [1, 2, 3, 4, 5, 6]
    assert max(each.value for each in returns) == pytest.approx(best.heads_pruned / 12)
    assert search(subject, "random", SearchSettings(max_drop=0.1)).episodes == 1
    few = SearchSettings(max_drop=0.1, episodes=6, budget=best.evaluations // 2)
    assert 1 < search(subject, "random", few).episodes < 6


@pytest.mark.parametrize("policy", ["random-ensemble", "greedy"])
def test_who_plays_once_whatever_was_asked_for_is_told(
    policy: str, caplog: pytest.LogCaptureFixture
) -> None:
    subject = Subject(LandscapeEvaluator(3, 4, seed=5), np.zeros((3, 4, 1)), ("magnitude",))
    once = search(subject, policy, SearchSettings(max_drop=0.1))
    assert not caplog.records
    found = search(subject, policy, SearchSettings(max_drop=0.1, episodes=4))
    assert found.episodes == 1
    assert np.array_equal(found.mask, once.mask)
    assert f"{policy} plays one episode, not 4" in caplog.text


def test_a_policy_without_chance_plays_the_same_again() -> None:
    subject = Subject(LandscapeEvaluator(3, 4, seed=5), np.zeros((3, 4, 1)), ("magnitude",))
    once = search(subject, "magnitude", SearchSettings(max_drop=0.1))
    often = search(subject, "magnitude", SearchSettings(max_drop=0.1, episodes=50))
    assert np.array_equal(often.mask, once.mask)
    assert often.evaluations == once.evaluations


def test_a_trained_agent_explores_after_its_first_episode() -> None:
    env = gym.make("prune_env/Landscape-v0", model="landscape:layers=3,heads=4,seed=5")
    subject = env.unwrapped.subject
    once = search(subject, "trained-ppo", SearchSettings(max_drop=0.1))
    often = search(subject, "trained-ppo", SearchSettings(max_drop=0.1, episodes=30))
    assert often.evaluations > once.evaluations
    assert often.heads_pruned >= once.heads_pruned
    again = search(subject, "trained-ppo", SearchSettings(max_drop=0.1, episodes=30))
    assert np.array_equal(often.mask, again.mask)
    assert often.evaluations == again.evaluations


def test_a_mask_file_is_read_once(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mask and mark belong together: a file may be replaced between two looks at it."""
    read, reads = files.read_json_of, []

    def once(path: Path, *args: Any) -> Any:
        reads.append(path)
        return read(path, *args)

    monkeypatch.setattr(files, "read_json_of", once)
    mask = np.array([[True, False, True], [True, True, True]])
    save_mask(tmp_path / "mask.json", mask, oracle=True)
    monkeypatch.setattr(Subject, "require_suspect", lambda self: SimpleNamespace(unit_map=None))
    found = read_mask(subject, tmp_path / "mask.json", SearchSettings(max_drop=1.0))
    assert (found.mask == mask).all()
    assert found.oracle
    assert reads == [tmp_path / "mask.json"]


@pytest.mark.parametrize("unpruned", [0.0, 1.0])
def test_a_mask_below_tau_is_told_with_its_guard_if_there_was_something_to_keep(
    subject: Subject,
    unpruned: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def accuracy(masks: np.ndarray) -> np.ndarray:
        return np.where(masks.all((1, 2)), unpruned, 0.0)

    monkeypatch.setattr(subject.evaluator, "accuracy", accuracy)
    monkeypatch.setattr(Subject, "require_suspect", lambda self: SimpleNamespace(unit_map=None))
    save_mask(tmp_path / "mask.json", np.array([[True, False, True], [True, True, True]]))
    read_mask(subject, tmp_path / "mask.json", SearchSettings(tau=0.5, guard="accuracy"))
    told = [each.getMessage().partition("mask.json, ")[2] for each in caplog.records]
    expected = "validation accuracy (accuracy) is 0.000, below tau 0.500"
    assert told == ([expected] if unpruned > 0 else [])
