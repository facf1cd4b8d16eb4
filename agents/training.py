"""Training an agent from a folder to a folder: what `prune-env train` does."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
from torch.utils.tensorboard import SummaryWriter

from prune_env.agents.callbacks import EarlyStop, KeepBest, TensorBoard, chain
from prune_env.agents.loading import load_agent
from prune_env.agents.record import EpisodeCallback, EpisodeReport
from prune_env.agents.stopping import StopRequest
from prune_env.env import HeadPruningEnv
from prune_env.errors import SettingsError, StateError
from prune_env.files import check_free, read_json, write_json
from prune_env.locking import locked
from prune_env.policy import POLICIES
from prune_env.progress import progress


@dataclass(frozen=True)
class TrainSettings:
    """How an agent is trained; a run is resumed with equal settings only.

    Attributes:
        algorithm: `epsilon-greedy`, `dqn`, `ppo`, `a2c` or `maskable_ppo`.
        env: Id of the environment.
        env_arguments: Arguments of `gym.make`: strings, numbers and lists of them.
        total_steps: Environment steps.
        seed: Of the agent and of the episodes.
        hyperparameters: Changes to the algorithm's own; a schedule is `{"start": a, "end": b}`.
        save_every: Steps between two checkpoints.
        test_every: Episodes between two tests without exploration.
        patience: Episodes without a better one after which the training ends; None never.
    """

    algorithm: str = "maskable_ppo"
    env: str = "prune_env/MiniLM-v0"
    env_arguments: Mapping[str, Any] = field(default_factory=dict)
    total_steps: int = 20_000
    seed: int = 0
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    save_every: int = 5_000
    test_every: int = 50
    patience: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: A value is out of range.
        """
        for name in ("total_steps", "save_every", "test_every", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} is out of range", expected=">= 1", actual=value)
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
        best: What the best agent reached without exploration: `best.json` of the folder.
        signal: Number of the signal that ended the training early, None if none did.
        seconds: Wall time of this call.
    """

    agent: Any
    best: dict[str, Any]
    signal: int | None
    seconds: float


def train(settings: TrainSettings, folder: Path, *, resume: bool = False) -> TrainResult:
    """Train an agent, and leave it in a folder.

    The folder holds `settings.json`; `agent/`, the checkpoints, from which a killed run is
    resumed to the same end, bit for bit; `best/` and `best.json`, the agent as it was when it
    did best without exploration, its mask and what that reached; and the TensorBoard events.

    Args:
        settings: What to train, and how.
        folder: New or empty; or, to resume, that of an earlier run with equal settings.
        resume: Go on with the run in the folder.

    Raises:
        OutputExistsError: The folder is not empty and `resume` is not asked for.
        StateError: There is nothing to resume, its settings differ, or another process trains in
            the folder.
        SettingsError: A hyperparameter is unknown.
    """
    started = time.perf_counter()
    if not resume:
        check_free(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder, wait=False) as held:
        if not held:
            raise StateError(
                f"Another process trains in {folder}", remedy="wait for it, or choose another --out"
            )
        env = _make(settings)
        agent = _resume(settings, folder) if resume else _begin(settings, folder, env)
        keep_best = KeepBest(agent, _make(settings), folder, settings.test_every)
        with (
            StopRequest() as stop,
            progress(f"Training {settings.algorithm}", settings.total_steps) as advance,
        ):
            board = _board(settings, folder, env, agent.record.steps)
            callbacks: list[EpisodeCallback] = [board, keep_best, _follow(advance)]
            if settings.patience is not None:
                callbacks.append(EarlyStop(settings.patience))
            try:
                agent.learn(
                    env,
                    total_steps=settings.total_steps,
                    callback=chain(*callbacks),
                    save_to=folder / "agent",
                    save_every=settings.save_every,
                    stop_requested=stop,
                )
            finally:
                board.close()
        keep_best.test(agent.record.steps)
    seconds = time.perf_counter() - started
    return TrainResult(agent, read_json(folder / "best.json"), stop.signal, seconds)


def _make(settings: TrainSettings) -> gym.Env[Any, Any]:
    env = gym.make(settings.env, **settings.env_arguments)
    if not isinstance(env.unwrapped, HeadPruningEnv):
        raise SettingsError(
            f"{settings.env} is not an environment of this package", expected="prune_env/..."
        )
    return env


def _begin(settings: TrainSettings, folder: Path, env: gym.Env[Any, Any]) -> Any:
    maker = POLICIES[settings.algorithm]
    agent = maker.for_env(env, seed=settings.seed, hyperparameters=settings.hyperparameters)
    write_json(folder / "settings.json", asdict(settings))
    agent.save(folder / "agent")
    return agent


def _resume(settings: TrainSettings, folder: Path) -> Any:
    """Return the saved agent, if its run was started with equal settings."""
    told, held = asdict(settings), read_json(folder / "settings.json")
    changed = [name for name in told if told[name] != held.get(name)]
    if changed:
        raise StateError(
            f"The run in {folder} was started with other settings",
            expected=", ".join(f"{name}={held.get(name)}" for name in changed),
            actual=", ".join(f"{name}={told[name]}" for name in changed),
            remedy="resume with the settings of settings.json, or start a new run",
        )
    return load_agent(folder / "agent")


def _board(
    settings: TrainSettings, folder: Path, env: gym.Env[Any, Any], steps: int
) -> TensorBoard:
    core = env.unwrapped.core  # type: ignore[attr-defined]
    evaluators = [board.subject.evaluator for board in core.pool.boards]
    writer = SummaryWriter(str(folder), purge_step=steps + 1)  # what a killed run wrote too much
    return TensorBoard(writer, evaluators, asdict(settings))


def _follow(advance: Any) -> EpisodeCallback:
    def tell(report: EpisodeReport) -> None:
        advance(report.steps)

    return tell
