"""Training an agent from a folder to a folder: what `prune-env train` does."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
from torch.utils.tensorboard import SummaryWriter

from prune_env import runtime
from prune_env.agents.board import TensorBoard
from prune_env.agents.callbacks import EarlyStop, KeepBest, chain
from prune_env.agents.loading import load_agent
from prune_env.agents.record import EpisodeCallback, EpisodeReport
from prune_env.agents.stopping import StopRequest
from prune_env.counting import CountingEvaluator
from prune_env.env import HeadPruningEnv
from prune_env.errors import SettingsError, StateError, UnknownNameError
from prune_env.files import check_free, read_json, write_json
from prune_env.locking import locked
from prune_env.policy import POLICIES
from prune_env.pool import Pool
from prune_env.progress import progress
from prune_env.registration import ENVIRONMENTS


@dataclass(frozen=True)
class TrainSettings:
    """How an agent is trained; a run is resumed with equal settings only.

    Attributes:
        algorithm: `epsilon-greedy`, `dqn`, `ppo`, `a2c` or `maskable_ppo`.
        env: Id of the environment.
        env_arguments: Arguments of `gym.make`: strings, numbers and lists of them.
        total_steps: Environment steps.
        max_evaluations: Masks that the learning may have evaluated, whatever steps are left; the
            step in which they run out is finished, and the tests without exploration come on top.
            None for no limit.
        validation_subset: Sentences on which masks are judged while it learns: a fixed, stratified
            part of the validation set. None takes all. The tests are judged on all of it.
        seed: Of the agent and of the episodes.
        hyperparameters: Changes to the algorithm's own; a schedule is `{"start": a, "end": b}`.
        save_every: Steps between two checkpoints at most; there is also one every minute.
        test_every: Episodes between two tests without exploration.
        patience: Episodes without a better one after which the training ends; None never.
    """

    algorithm: str = "maskable_ppo"
    env: str = "prune_env/MiniLM-v0"
    env_arguments: Mapping[str, Any] = field(default_factory=dict)
    total_steps: int = 20_000
    max_evaluations: int | None = None
    validation_subset: int | None = None
    seed: int = 0
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    save_every: int = 5_000
    test_every: int = 50
    patience: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UnknownNameError: No policy has this name.
            SettingsError: The policy does not learn, or a value is out of range.
        """
        for name in (
            "total_steps",
            "max_evaluations",
            "validation_subset",
            "save_every",
            "test_every",
            "patience",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} is out of range", expected=">= 1", actual=value)
        if self.seed < 0:
            raise SettingsError("seed is out of range", expected=">= 0", actual=self.seed)
        if not hasattr(POLICIES[self.algorithm], "save"):
            learners = [entry.name for entry in POLICIES if hasattr(entry.load(), "save")]
            raise SettingsError(
                f"The policy '{self.algorithm}' does not learn",
                expected=f"one of {', '.join(learners)}",
                remedy="a fixed policy needs no training: use it as it is",
            )


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
    `report.json`; and the TensorBoard events.

    Args:
        settings: What to train, and how.
        folder: New or empty; or, to resume, that of an earlier run with equal settings.
        resume: Go on with the run in the folder.

    Raises:
        OutputExistsError: The folder is not empty and `resume` is not asked for.
        StateError: There is nothing to resume, its settings differ, or another process trains in
            the folder.
        UnknownNameError: No environment has this id.
        SettingsError: A hyperparameter is unknown, or the model has no such part of sentences.
    """
    started = time.perf_counter()
    if resume:
        _check_same(settings, folder)
    else:
        check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=False) as held:
        if not held:
            raise StateError(
                f"Another process trains in {folder}", remedy="wait for it, or choose another --out"
            )
        tests = _make(settings.env, settings.env_arguments)
        env = _learning(settings, tests)
        agent = _resume(folder) or _begin(settings, folder, env)
        with (
            StopRequest() as stop,
            progress(f"Training {settings.algorithm}", settings.total_steps) as advance,
        ):
            board = _board(settings, folder, env, agent)
            keep_best = KeepBest(agent, tests, folder, settings.test_every, board.tested)
            callbacks: list[EpisodeCallback] = [board, keep_best, _follow(advance)]
            if settings.patience is not None:
                callbacks.append(EarlyStop(settings.patience))
            try:
                agent.learn(
                    env,
                    total_steps=settings.total_steps,
                    max_evaluations=settings.max_evaluations,
                    callback=chain(*callbacks),
                    save_to=folder / "agent",
                    save_every=settings.save_every,
                    stop_requested=stop,
                )
                # An interrupted run ends later, and then as if it had not been interrupted.
                if stop.signal is None:
                    keep_best.test(agent.record.steps)
            finally:
                board.close()
        best = folder / "best.json"
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
            "best": read_json(best) if best.exists() else None,
            "meta": runtime.describe(),
        }
        write_json(folder / "report.json", report)
    return TrainResult(agent, report, stop.signal)


def _make(env_id: str, arguments: Mapping[str, Any]) -> gym.Env[Any, Any]:
    try:
        env = gym.make(env_id, **arguments)
    except gym.error.UnregisteredEnv:
        raise UnknownNameError("environment", env_id, ENVIRONMENTS.names()) from None
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
    subjects = [board.subject for board in _pool(tests).boards]
    if settings.validation_subset is not None:
        subjects = [subject.on_part(settings.validation_subset) for subject in subjects]
    pool = [
        replace(subject, evaluator=CountingEvaluator(subject.evaluator)) for subject in subjects
    ]
    return _make(settings.env, {**settings.env_arguments, "model": None, "pool": pool})


def _begin(settings: TrainSettings, folder: Path, env: gym.Env[Any, Any]) -> Any:
    maker = POLICIES[settings.algorithm]
    agent = maker.for_env(env, seed=settings.seed, hyperparameters=settings.hyperparameters)
    write_json(folder / "settings.json", asdict(settings))
    agent.save(folder / "agent")
    return agent


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
    changed = [name for name in told if told[name] != held.get(name)]
    if changed:
        raise StateError(
            f"The run in {folder} was started with other settings",
            expected=", ".join(f"{name}={held.get(name)}" for name in changed),
            actual=", ".join(f"{name}={told[name]}" for name in changed),
            remedy="resume with the settings of settings.json, or start a new run",
        )


def _resume(folder: Path) -> Any | None:
    """Return the saved agent; None where the run was killed before it had saved anything."""
    saved = folder / "agent"
    return load_agent(saved) if any(saved.glob("*.json")) else None


def _board(
    settings: TrainSettings, folder: Path, env: gym.Env[Any, Any], agent: Any
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
    )


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
