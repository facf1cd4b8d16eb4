"""Training an agent from a folder to a folder: what `prune-env train` does."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
from torch.utils.tensorboard import SummaryWriter

from prune_env.agents.agent import Agent
from prune_env.agents.callbacks import EarlyStop, KeepBest, chain, check_best, read_best
from prune_env.agents.checkpoint import read_checkpoint
from prune_env.agents.interrupt import Interrupt
from prune_env.agents.recommended import judge_best_met, recommend
from prune_env.agents.record import EpisodeCallback, EpisodeReport, asked_masks, restore_counts
from prune_env.agents.run_folder import (
    check_new,
    check_same_models,
    check_same_settings,
    ended_at,
    identities,
    place_told,
    settings_written,
)
from prune_env.agents.tensorboard import TensorBoard
from prune_env.agents.train_settings import TrainSettings
from prune_env.agents.trained import agent_class
from prune_env.agents.training_envs import learning_env, make_env, pool_of
from prune_env.data.images import ImageDataset
from prune_env.env.mask_events import tell_subject
from prune_env.evaluation import Evaluator
from prune_env.evaluation.counting import CountingEvaluator
from prune_env.evaluation.guard import tau_of
from prune_env.utils import runtime
from prune_env.utils.counts import count_of
from prune_env.utils.event_kinds import MasksCounted
from prune_env.utils.events import due, emit, recorded, recording
from prune_env.utils.files import shaped, write_json
from prune_env.utils.leases import alone
from prune_env.utils.progress import job, progress


@dataclass(frozen=True, eq=False)
class TrainedAgent:
    """What a training left.

    Attributes:
        agent: As it is now.
        report: The content of `report.json`.
        signal: Number of the signal that ended the training early, None if none did.
    """

    agent: Agent
    report: dict[str, Any]
    signal: int | None

    @property
    def best(self) -> dict[str, Any] | None:
        """What the best agent reached without exploration; None if it was not tested yet."""
        best: dict[str, Any] | None = self.report["best"]
        return best


def train(
    settings: TrainSettings,
    folder: str | Path,
    *,
    resume: bool = False,
    pause_s: float | None = None,
    stop: Interrupt | None = None,
) -> TrainedAgent:
    """Train an agent, and leave it in a folder.

    The folder holds `settings.json`; `agent/`, the checkpoints, from which a killed run is
    resumed to the same end, bit for bit; `best/` and `best.json`, the agent as it was when it
    did best without exploration, its mask and what that reached on all validation sentences;
    `best_met.json`, the mask of the best episode of the learning; `report.json`, with what that
    mask reaches on all validation sentences too, and which of the two is recommended; and the
    TensorBoard events.

    Args:
        settings: What to train, and how.
        folder: New or empty; or, to resume, that of an earlier run with equal settings.
        resume: Go on with the run in the folder.
        pause_s: Save and end after so many seconds of learning, as after a signal.
        stop: Of several trainings: what it noted while models were loaded ends this one, too.

    Raises:
        OutputExistsError: The folder is not empty and `resume` is not asked for.
        StateError: There is nothing to resume, its settings differ, its best agent is damaged, or
            another process trains in the folder.
        UnknownNameError: No environment has this id.
        SettingsError: A hyperparameter or the part of sentences is wrong, or tau is out of reach.
    """
    folder = Path(folder)
    started = time.perf_counter()
    _check_folder(settings, folder, resume=resume)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with place_told(folder), alone(folder, f"trains in {folder}"), job("train", 3) as begin:
        begin("models and data")
        saved = folder / "agent"
        with settings_written(settings, folder):
            tests = make_env(settings.env, settings.env_arguments)
            env = learning_env(settings, tests)
            # Without a checkpoint, the run was killed before it had saved anything.
            begun = any(saved.glob("*.json"))
            agent, counted = _resume(settings, saved, env) if begun else (_begin(settings, env), 0)
        if not begun:
            agent.save(saved)
        begin("learn")
        with recording(folder, "train"), Interrupt(pause_s, stop) as interrupt:
            _learn(settings, folder, agent, env, tests, counted=counted, interrupt=interrupt)
        begin("judge")
        report = _report(settings, agent, env, tests, folder)
        report["seconds_of_this_call"] = time.perf_counter() - started
        report["interrupted_by_signal"] = interrupt.signal
        write_json(folder / "report.json", report)
    return TrainedAgent(agent, report, interrupt.signal)


def _report(
    settings: TrainSettings,
    agent: Agent,
    env: gym.Env[Any, Any],
    tests: gym.Env[Any, Any],
    folder: Path,
) -> dict[str, Any]:
    """Return what `report.json` says of what was learned, whatever call it was learned in."""
    best, met = read_best(folder), judge_best_met(agent.record, tests, folder)
    return {
        "settings": asdict(settings),
        "hyperparameters": agent.hyperparameters,
        "learned_on": _read_of(settings, env),
        "judged_on": f"all validation {_noun(env)}s",
        "steps": agent.record.steps,
        "episodes": agent.record.episodes,
        "evaluations": sum(each.evaluations for each in _evaluators(env)),
        "best": best,
        "best_met": met,
        "recommended": recommend(best, met),
        **({"oracle": True} if cast(Any, env.unwrapped).reward.oracle else {}),
        "meta": runtime.describe(),
    }


def _check_folder(settings: TrainSettings, folder: Path, *, resume: bool) -> None:
    """Raise if a training cannot begin in the folder, or cannot go on there; see `train`."""
    if resume:
        check_same_settings(settings, folder)
        check_best(folder)  # what is damaged must be known before the training, not after it
    else:
        check_new(folder)


def _learn(
    settings: TrainSettings,
    folder: Path,
    agent: Agent,
    env: gym.Env[Any, Any],
    tests: gym.Env[Any, Any],
    *,
    counted: int,
    interrupt: Interrupt,
) -> None:
    """Let an agent learn to the end or to the signal, and keep it as it was when it did best.

    Args:
        settings: What to train, and how.
        folder: Of the run.
        agent: New, or with what it learned before.
        env: Where it learns.
        tests: Where it is tested without exploration.
        counted: Masks that it asked for before.
        interrupt: Of Ctrl-C and SIGTERM.
    """
    _tell_subjects(env)
    with progress(f"Training {settings.algorithm}", settings.total_steps) as advance:
        tensorboard = _tensorboard(settings, folder, env, agent, counted)
        keep_best = KeepBest(agent, tests, folder, settings.test_every, tensorboard.tested)
        by_tests = len(pool_of(env).boards) > 1
        patience = EarlyStop(settings.patience, agent.record, by_tests=by_tests)
        try:
            if not agent.record.finished and not interrupt():
                agent.learn(
                    env,
                    total_steps=settings.total_steps,
                    max_evaluations=settings.max_evaluations,
                    callback=chain(tensorboard, keep_best, _follow(advance, env), patience),
                    save_to=folder / "agent",
                    save_every=settings.save_every,
                    stop_requested=interrupt,
                )
            # An interrupted run ends later, and then as if it had not been interrupted.
            if interrupt.signal is None:
                keep_best.test(agent.record.steps)
            _tell_asked(agent.record.asked, env)  # the last time, however soon after another
        finally:
            tensorboard.close()


def _begin(settings: TrainSettings, env: gym.Env[Any, Any]) -> Agent:
    kind = agent_class(settings.algorithm)
    agent = kind.for_env(env, seed=settings.seed, hyperparameters=settings.hyperparameters)
    agent.models = identities(pool_of(env), env.get_wrapper_attr("reward"), kind)
    return agent


def _resume(settings: TrainSettings, saved: Path, env: gym.Env[Any, Any]) -> tuple[Agent, int]:
    """Return the saved agent, and how many masks it had asked for, which `env` counts on from.

    Raises:
        StateError: There is none, it is another algorithm's, or it learned on other models.
    """
    checkpoint = read_checkpoint(saved)
    kind = agent_class(settings.algorithm)
    found = identities(pool_of(env), env.get_wrapper_attr("reward"), kind)
    check_same_models(checkpoint.spec.get("models"), found, saved.parent)
    agent = kind.from_checkpoint(checkpoint, saved)
    asked = asked_masks(checkpoint.tensors)
    with shaped(saved, "what a training goes on from", "start a new run"):
        return agent, restore_counts(pool_of(env), asked)


def _tensorboard(
    settings: TrainSettings, folder: Path, env: gym.Env[Any, Any], agent: Agent, counted: int
) -> TensorBoard:
    pool = pool_of(env)
    facts = {
        **{name: value for name, value in asdict(settings).items() if value is not None},
        "learns on": _read_of(settings, env),
        "models": [f"{each.subject.name} ({each.total} heads)" for each in pool.boards],
    }
    for group in ("env_arguments", "hyperparameters"):
        facts.pop(group)
    told = any(folder.glob("events.out.tfevents.*"))
    steps = agent.record.steps
    writer = SummaryWriter(str(folder), purge_step=steps + 1)  # written too much
    return TensorBoard(
        writer,
        _evaluators(env),
        {**facts, **settings.env_arguments},
        agent.hyperparameters,
        subset=settings.validation_subset,
        counted=counted,
        told=told,
        best_test=agent.record.best_test,
        ended_at=steps if ended_at(folder) == steps else None,  # else it goes on from before
    )


def _evaluators(env: gym.Env[Any, Any]) -> list[Evaluator]:
    return [board.subject.evaluator for board in pool_of(env).boards]


def _read_of(settings: TrainSettings, env: gym.Env[Any, Any]) -> str:
    """Return which validation data masks are judged on while it learns."""
    if settings.validation_subset is None:
        return f"all validation {_noun(env)}s"
    noun = f"validation {_noun(env)}"
    return f"a stratified subset of {count_of(settings.validation_subset, noun)}"


def _noun(env: gym.Env[Any, Any]) -> str:
    """Return what one sample of the clean data is."""
    suspects = (each.subject.suspect for each in pool_of(env).boards)
    images = any(each and isinstance(each.validation, ImageDataset) for each in suspects)
    return "image" if images else "sentence"


def _follow(advance: Callable[[int], object], env: gym.Env[Any, Any]) -> EpisodeCallback:
    """Return what tells how far the learning is, and how many masks it asked."""

    def tell(report: EpisodeReport) -> None:
        advance(report.steps)
        if due(MasksCounted):
            _tell_asked(report.asked, env)

    return tell


def _tell_asked(asked: int, env: gym.Env[Any, Any]) -> None:
    """Tell how many masks all episodes looked at, and how many of them were computed."""
    computed = sum(each.evaluations for each in _evaluators(env))
    emit(MasksCounted(asked=max(asked, computed), computed=computed))


def _tell_subjects(env: gym.Env[Any, Any]) -> None:
    """Tell of the models that are learned on, judged as the learning judges them."""
    if not recorded():
        return
    rules = env.get_wrapper_attr("core").settings
    for board in pool_of(env).boards:
        evaluator = board.subject.evaluator
        if isinstance(evaluator, CountingEvaluator):  # what is told must not count
            evaluator = evaluator.beneath
        accuracy = float(evaluator.accuracy(evaluator.available[None])[0])
        tell_subject(board.subject, tau_of(rules, accuracy, evaluator), accuracy)
