"""What a policy is, what a strategy asks for, and where both are found by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from prune_env.errors import SettingsError, StateError
from prune_env.models.masks import Mask
from prune_env.training.phases import Phase
from prune_env.utils.registry import Registry

Observation = dict[str, npt.NDArray[np.float32]]


@runtime_checkable
class Policy(Protocol):
    """Chooses the next head to prune, or STOP.

    The signature is that of Stable-Baselines3 with the `action_masks` of sb3-contrib, so fixed
    policies, own agents and SB3 models are interchangeable in `evaluate_policy` and in `purify`.
    """

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[Any, Any]:
        """Return the action for an observation (or a batch of them) and the next state.

        Args:
            observation: `Dict` observation of the environment; every array may carry one leading
                batch dimension, as vector environments give it.
            state: What the previous call returned; None at first.
            episode_start: Bool per environment, True where a new episode begins.
            deterministic: Switch exploration off.
            action_masks: Bool (..., L * H + 1), True where the action is legal.

        Returns:
            The action (int64 scalar array, or one per environment) and the policy's state.
        """
        ...


@runtime_checkable
class Learner(Policy, Protocol):
    """A policy that works on an environment before it plays: an agent learns, a search tries masks.

    One that can also be saved and loaded is a `prune_env.agents.agent.Agent`.
    """

    @property
    def best_mask(self) -> Mask | None:
        """Bool (L, H), what its best episode left; None before one, or if it plays what is best."""
        ...

    @property
    def best_return(self) -> float:
        """The total reward of the episode that left this mask; -inf without one."""
        ...

    def learn(
        self,
        env: Any,
        *,
        total_steps: int,
        max_evaluations: int | None = None,
        callback: Any = None,
    ) -> Any:
        """Learn, and return the policy itself.

        Args:
            env: A `HeadPruningEnv`.
            total_steps: Steps that may be taken.
            max_evaluations: Masks that may be evaluated; None for no limit.
            callback: Called with a report every now and then; returning False ends the learning.
        """
        ...


@runtime_checkable
class EnsemblePolicy(Policy, Protocol):
    """A policy that stands for several, each of which chooses a mask of its own."""

    def member(self, index: int) -> Policy:
        """Return one of them, 0 to `Requirements.members - 1`."""
        ...


@runtime_checkable
class IdentifiedPolicy(Policy, Protocol):
    """A policy that was trained before, and says which one it is."""

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from any other, as plain values for a report."""
        ...


@dataclass(frozen=True)
class Requirements:
    """What a strategy needs of whoever runs it from end to end, besides its choice of heads.

    Attributes:
        metrics: Importance metrics that the observation must hold.
        tau: Accuracy threshold that the strategy insists on; None takes the caller's. 0 = no check.
        prune_step: Heads pruned between two checks; None takes the caller's.
        backtrack: Whether a group that broke tau is restored head by head, or else all at once.
        search: Fine-tunings of the suspicious encoder before the mask is searched.
        final: Fine-tunings once the mask is on: of the encoder again (`refinetune`) or as healing
            (`direct`).
        members: Masks of the ensemble; 1 = a single model.
        prunes: Whether heads go at all; False for defences by fine-tuning alone.
        reads_reward: Whether the mask may depend on the reward; False for fixed orders.
    """

    metrics: tuple[str, ...] = ()
    tau: float | None = None
    prune_step: int | None = None
    backtrack: bool = True
    search: tuple[Phase, ...] = (Phase(),)
    final: tuple[Phase, ...] = (Phase(),)
    members: int = 1
    prunes: bool = True
    reads_reward: bool = True


@runtime_checkable
class Strategy(Protocol):
    """What `POLICIES` holds, mostly classes: it makes policies and says what it requires."""

    def requirements(self, variant: str = "paper") -> Requirements:
        """Return what the strategy requires.

        Args:
            variant: `paper` for the strategy as defined, `released` for what published code does.

        Raises:
            SettingsError: The strategy has no such variant.
        """
        ...

    def for_env(self, env: Any, *, seed: int = 0, variant: Any = "paper") -> Policy:
        """Return a policy for an environment.

        Args:
            env: A `HeadPruningEnv`, wrapped or not.
            seed: Of whatever is random in the policy.
            variant: See `requirements`.

        Raises:
            SettingsError: The environment does not show what the policy reads, or the strategy
                has no such variant.
        """
        ...


@runtime_checkable
class TrainedStrategy(Strategy, Protocol):
    """A strategy of a folder: an agent that was trained before, and learns no more."""

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from any other, as plain values for a report."""
        ...


POLICIES: Registry[Any] = Registry("policy", "policies")
"""Strategies by name; the environment knows none: `agents` and `baselines` register theirs, other
distributions name theirs as entry points."""

TRAINED: Registry[Callable[[Path], TrainedStrategy]] = Registry("kind of agent's folder")
"""Reads what a policy's folder holds; `agents` registers the reader of an `agent`."""


def find_policy(policy: str) -> Strategy:
    """Return what makes a policy: the strategy of a name, or the trained agent of a folder.

    Args:
        policy: A name in `POLICIES`, or a folder that `prune-env train` wrote: a run, of which
            `best` plays, or `best` or `agent` in it.

    Raises:
        UnknownNameError: No policy has this name, and there is no such folder.
        StateError: The folder holds no agent, or the path leads nowhere.
        SettingsError: What is registered under the name makes no policy.
    """
    folder = Path(policy)
    if policy not in POLICIES and folder.exists():
        return TRAINED["agent"](folder)
    if folder.name != policy:
        raise StateError(
            f"No folder {policy}",
            expected="the name of a policy, or what `prune-env train` wrote: `best` or `agent`",
            remedy="check the path",
        )
    found = POLICIES[policy]
    if isinstance(found, Strategy):
        return found
    if not callable(getattr(found, "for_env", None)):
        raise SettingsError(
            f"What is registered as the policy '{policy}' makes no policy",
            expected="a class or object with for_env(env, seed=...)",
            actual=f"{found!r:.200} ({type(found).__name__})",
            remedy="correct the entry point, or what registers it",
        )
    return _Undemanding(policy, found)


def requirements_of(policy: str, variant: str = "paper") -> Requirements:
    """Return what a policy requires; arguments and errors as those of its two steps.

    Args:
        policy: A name, or the folder of a trained agent, as `find_policy` takes it.
        variant: `paper` or `released`.

    Raises:
        UnknownNameError: No policy has this name.
        SettingsError: The policy has no such variant, or what it tells are no requirements.
    """
    found: object = find_policy(policy).requirements(variant)
    if not isinstance(found, Requirements):
        raise SettingsError(
            f"The method `requirements` of the policy '{policy}' tells none",
            expected="prune_env.env.policy.Requirements",
            actual=f"{found!r:.200} ({type(found).__name__})",
            remedy="correct it, or leave it out; see docs/extend.md",
        )
    return found


class _Undemanding:
    """A registered policy that has `for_env(env, seed=...)` alone: it requires nothing special."""

    def __init__(self, name: str, maker: Any) -> None:
        self._name = name
        self._maker = maker

    def requirements(self, variant: str = "paper") -> Requirements:
        if variant != "paper":
            raise no_variant(self._name, variant)
        return Requirements()

    def for_env(self, env: Any, *, seed: int = 0, variant: str = "paper") -> Policy:
        self.requirements(variant)
        policy: Policy = self._maker.for_env(env, seed=seed)
        return policy


def no_variant(strategy: str, variant: str, known: tuple[str, ...] = ("paper",)) -> SettingsError:
    """Return the error that a strategy raises at a variant that it does not have."""
    return SettingsError(
        f"{strategy} has no variant '{variant}'", expected=" or ".join(known), actual=variant
    )
