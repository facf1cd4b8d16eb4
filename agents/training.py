"""Training an agent from a folder to a folder: what `prune-env train` does."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from torch.utils.tensorboard import SummaryWriter

from prune_env.agents.callbacks import EarlyStop, KeepBest, chain, read_best
from prune_env.agents.checkpoint import read_checkpoint
from prune_env.agents.interrupt import StopRequest
from prune_env.agents.record import (
    EpisodeCallback,
    EpisodeReport,
    Record,
    asked_masks,
    restore_counts,
)
from prune_env.agents.tensorboard import TensorBoard
from prune_env.agents.train_settings import TrainSettings
from prune_env.agents.trained import load_agent
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.policy import POLICIES
from prune_env.env.pool import Pool
from prune_env.env.registration import ENVIRONMENTS
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError, StateError, UnknownNameError
from prune_env.evaluation.counting import CountingEvaluator
from prune_env.models import save_mask
from prune_env.utils import runtime
from prune_env.utils.files import check_free, locked, read_json, shaped, write_json
from prune_env.utils.progress import progress

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TrainResult:
    """What a training left.

    Attributes:
        agent: As it is now.
        report: The content of `report.json`.
        signal: Number of the signal that ended the training early, None if none did.
    """

    agent: Any
    report: dict[str, Any]
    signal: int | None

    @property
    def best(self) -> dict[str, Any] | None:
        """What the best agent reached without exploration; None if it was not tested yet."""
        best: dict[str, Any] | None = self.report["best"]
        return best


def train(settings: TrainSettings, folder: Path, *, resume: bool = False) -> TrainResult:
    """Train an agent, and leave it in a folder.

    The folder holds `settings.json`; `agent/`, the checkpoints, from which a killed run is
    resumed to the same end, bit for bit; `best/` and `best.json`, the agent as it was when it
    did best without exploration, its mask and what that reached on all validation sentences;
    `best_met.json`, the mask of the best episode of the learning; `report.json`, with what that
    mask reaches on all validation sentences too; and the TensorBoard events.

    Args:
        settings: What to train, and how.
        folder: New or empty; or, to resume, that of an earlier run with equal settings.
        resume: Go on with the run in the folder.

    Raises:
        OutputExistsError: The folder is not empty and `resume` is not asked for.
        StateError: There is nothing to resume, its settings differ, or another process trains in
            the folder.
        UnknownNameError: No environment has this id.
        SettingsError: A hyperparameter is unknown, the model has no such part of sentences, or
            is below tau before a head is pruned.
    """
    started = time.perf_counter()
    if resume:
        _check_same(settings, folder)
        read_best(folder)  # what is damaged must be known before the training, not after it
    else:
        check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=False) as held:
        if not held:
            raise StateError(
                f"Another process trains in {folder}", remedy="wait for it, or choose another --out"
            )
        saved = folder / "agent"
        with _announced(settings, folder):
            tests = _make(settings.env, settings.env_arguments)
            env = _learning(settings, tests)
            # Without a checkpoint, the run was killed before it had saved anything.
            begun = any(saved.glob("*.json"))
            agent, counted = _resume(saved, env) if begun else (_begin(settings, env), 0)
        if not begun:
            agent.save(saved)
        with StopRequest() as stop:
            _learn(settings, folder, agent, env, tests, counted=counted, stop=stop)
        report = {
            "settings": asdict(settings),
            "hyperparameters": agent.hyperparameters,
            "learned_on": _sentences(settings),
            "judged_on": "all validation sentences",
            "steps": agent.record.steps,
            "episodes": agent.record.episodes,
            "evaluations": sum(board.subject.evaluator.evaluations for board in _pool(env).boards),
            "seconds_of_this_call": time.perf_counter() - started,
            "interrupted_by_signal": stop.signal,
            "best": read_best(folder),
            "best_met": _best_met(agent.record, tests, folder),
            "meta": runtime.describe(),
        }
        write_json(folder / "report.json", report)
    return TrainResult(agent, report, stop.signal)


def _learn(
    settings: TrainSettings,
    folder: Path,
    agent: Any,
    env: gym.Env[Any, Any],
    tests: gym.Env[Any, Any],
    *,
    counted: int,
    stop: StopRequest,
) -> None:
    """Let an agent learn to the end or to the signal, and keep it as it was when it did best.

    Args:
        settings: What to train, and how.
        folder: Of the run.
        agent: New, or with what it learned before.
        env: Where it learns.
        tests: Where it is tested without exploration.
        counted: Masks that it asked for before.
        stop: Of Ctrl-C and SIGTERM.
    """
    with progress(f"Training {settings.algorithm}", settings.total_steps) as advance:
        board = _board(settings, folder, env, agent, counted)
        keep_best = KeepBest(agent, tests, folder, settings.test_every, board.tested)
        by_tests = len(_pool(env).boards) > 1
        patience = EarlyStop(settings.patience, agent.record, by_tests=by_tests)
        try:
            if not agent.record.finished:
                agent.learn(
                    env,
                    total_steps=settings.total_steps,
                    max_evaluations=settings.max_evaluations,
                    callback=chain(board, keep_best, _follow(advance), patience),
                    save_to=folder / "agent",
                    save_every=settings.save_every,
                    stop_requested=stop,
                )
            # An interrupted run ends later, and then as if it had not been interrupted.
            if stop.signal is None:
                keep_best.test(agent.record.steps)
        finally:
            board.close()


def _make(env_id: str, arguments: Mapping[str, Any]) -> gym.Env[Any, Any]:
    if env_id.count(":") > 1:  # Gymnasium takes one module before the id, and trips over two
        raise UnknownNameError("environment", env_id, ENVIRONMENTS.names())
    try:
        env = gym.make(env_id, **arguments)
    except gym.error.UnregisteredEnv:
        raise UnknownNameError("environment", env_id, ENVIRONMENTS.names()) from None
    except (gym.error.Error, ImportError) as error:  # it imports what stands before a colon
        raise SettingsError(
            f"Gymnasium cannot make {env_id!r:.80}",
            expected=f"one of {', '.join(ENVIRONMENTS.names())}",
            actual=error,
        ) from None
    if not isinstance(env.unwrapped, HeadPruningEnv):
        raise SettingsError(
            f"{env_id} is not an environment of this package", expected="prune_env/..."
        )
    return env


def _learning(settings: TrainSettings, tests: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Return the environment to learn in: it counts masks, and may judge them on fewer sentences.

    The count is of distinct masks asked, not of those that had to be computed: what the tests, or
    the same run before it was killed, made the evaluator remember must not change the training.
    """
    whole = [board.subject for board in _pool(tests).boards]
    subjects = whole
    if settings.validation_subset is not None:
        subjects = [subject.on_part(settings.validation_subset) for subject in subjects]
    _check_tau(tests, whole, subjects)
    pool = [
        replace(subject, evaluator=CountingEvaluator(subject.evaluator)) for subject in subjects
    ]
    return _make(settings.env, {**settings.env_arguments, "model": None, "pool": pool})


def _check_tau(
    tests: gym.Env[Any, Any], whole: Sequence[Subject], parts: Sequence[Subject]
) -> None:
    """Raise if all models are below tau before a head is pruned; warn if some are.

    Args:
        tests: Knows tau.
        whole: The models, judged on all validation sentences, as the tests do.
        parts: The same models, judged as the learning does.

    Raises:
        SettingsError: There is nothing to learn.
    """
    threshold = tests.get_wrapper_attr("core").settings.threshold
    below = {}
    for subjects in zip(whole, parts, strict=True):
        for evaluator in (subject.evaluator for subject in subjects):
            accuracy = float(evaluator.accuracy(evaluator.available[None])[0])
            if accuracy < threshold(accuracy):
                below[subjects[0].name] = f"{accuracy:.4f} ({subjects[0].name})"
    if not below:
        return
    expected = f"a validation accuracy of at least {threshold(0.0)}"
    actual = ", ".join(below.values())
    if len(below) == len(whole):
        raise SettingsError(
            "The unpruned model is below tau, so no head can be pruned and nothing be learned",
            expected=expected,
            actual=actual,
            remedy="give --max-drop, which counts from the unpruned model, or a lower --tau",
        )
    log.warning(
        "Some models are below tau unpruned, and nothing can be learned on them. Expected: %s. "
        "Actual: %s. Remedy: give --max-drop, or a lower --tau.",
        expected,
        actual,
    )


@contextmanager
def _announced(settings: TrainSettings, folder: Path) -> Iterator[None]:
    """Write settings.json before the body, so that a run killed at any moment can be resumed.

    A mistake that the body finds takes it away again.
    """
    path = folder / "settings.json"
    if path.exists():  # the run is resumed
        yield
        return
    new = not folder.exists()
    write_json(path, asdict(settings))
    try:
        yield
    except Exception:
        path.unlink()
        if new:
            folder.rmdir()
        raise


def _begin(settings: TrainSettings, env: gym.Env[Any, Any]) -> Any:
    maker = POLICIES[settings.algorithm]
    return maker.for_env(env, seed=settings.seed, hyperparameters=settings.hyperparameters)


def _check_same(settings: TrainSettings, folder: Path) -> None:
    """Raise unless the run in the folder was started with equal settings."""
    path = folder / "settings.json"
    if not path.exists():
        raise StateError(
            f"There is no run to resume in {folder}",
            expected="settings.json, which `prune-env train` writes at once",
            remedy="start it without --resume",
        )
    told, held = asdict(settings), read_json(path)
    if not isinstance(held, dict):
        raise StateError(
            f"{path} holds no settings",
            expected="a JSON object",
            actual=f"{held!r:.80}",
            remedy="restore it, or start a new run",
        )
    changed = [name for name in told if told[name] != held.get(name)]
    if changed:
        raise StateError(
            f"The run in {folder} was started with other settings",
            expected=", ".join(f"{name}={held.get(name)}" for name in changed),
            actual=", ".join(f"{name}={told[name]}" for name in changed),
            remedy="resume with the settings of settings.json, or start a new run",
        )


def _resume(saved: Path, env: gym.Env[Any, Any]) -> tuple[Any, int]:
    """Return the saved agent, and how many masks it had asked for, which `env` counts on from."""
    asked = asked_masks(read_checkpoint(saved).tensors)
    agent = load_agent(saved)
    with shaped(saved, "what a training goes on from", "start a new run"):
        return agent, restore_counts(_pool(env), asked)


def _board(
    settings: TrainSettings, folder: Path, env: gym.Env[Any, Any], agent: Any, counted: int
) -> TensorBoard:
    pool = _pool(env)
    facts = {
        **{name: value for name, value in asdict(settings).items() if value is not None},
        "learns on": _sentences(settings),
        "models": [f"{each.subject.name} ({each.total} heads)" for each in pool.boards],
    }
    for group in ("env_arguments", "hyperparameters"):
        facts.pop(group)
    writer = SummaryWriter(str(folder), purge_step=agent.record.steps + 1)  # written too much
    return TensorBoard(
        writer,
        [each.subject.evaluator for each in pool.boards],
        {**facts, **settings.env_arguments},
        agent.hyperparameters,
        subset=settings.validation_subset,
        counted=counted,
    )


def _best_met(record: Record, tests: gym.Env[Any, Any], folder: Path) -> dict[str, Any] | None:
    """Write the mask of the best episode, if any; return what it reaches on all sentences.

    Plain values: `model`, `accuracy`, `heads_pruned`, `keeps_tau`, and `mask` in the model's own
    shape, rows of 0 (pruned) and 1 (kept).
    """
    if record.best_mask is None or record.best_model is None:
        return None
    core = tests.get_wrapper_attr("core")
    board = core.pool.find(record.best_model)
    accuracy, unpruned = board.accuracy(np.stack([record.best_mask, board.available])).tolist()
    mask = board.crop(record.best_mask)
    save_mask(folder / "best_met.json", mask, model=record.best_model)
    return {
        "model": record.best_model,
        "accuracy": accuracy,
        "heads_pruned": board.total - int(record.best_mask.sum()),
        "keeps_tau": accuracy >= core.settings.threshold(unpruned),
        "mask": mask.astype(int).tolist(),
    }


def _sentences(settings: TrainSettings) -> str:
    if settings.validation_subset is None:
        return "all validation sentences"
    return f"a stratified subset of {settings.validation_subset} validation sentences"


def _pool(env: gym.Env[Any, Any]) -> Pool:
    pool: Pool = env.get_wrapper_attr("core").pool
    return pool


def _follow(advance: Any) -> EpisodeCallback:
    def tell(report: EpisodeReport) -> None:
        advance(report.steps)

    return tell
