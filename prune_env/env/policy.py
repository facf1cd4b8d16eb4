"""What a policy is: anything that answers `predict`, whether it learned or not."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from prune_env.errors import StateError
from prune_env.training.phases import Phase
from prune_env.utils.registry import Registry

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Recipe:
    """How a strategy is run from end to end.

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
    """

    metrics: tuple[str, ...] = ()
    tau: float | None = None
    prune_step: int | None = None
    backtrack: bool = True
    search: tuple[Phase, ...] = (Phase(),)
    final: tuple[Phase, ...] = (Phase(),)
    members: int = 1
    prunes: bool = True


def recipe_of(policy: str, variant: str = "paper") -> Recipe:
    """Return the recipe of a policy; one that has none asks for nothing special.

    Args:
        policy: A name, or the folder of a trained agent, as `find_policy` takes it.
        variant: `paper` or `released`.

    Raises:
        UnknownNameError: No policy has this name.
        SettingsError: The policy has no such variant.
    """
    maker = find_policy(policy)
    return maker.recipe(variant) if hasattr(maker, "recipe") else Recipe()


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


POLICIES: Registry[Any] = Registry("policy")
"""Policy classes or factories by name; `prune_env.agents` and `prune_env.baselines` fill it."""


def find_policy(policy: str) -> Any:
    """Return what makes a policy: the class of a name, or the trained agent of a folder.

    Args:
        policy: A name in `POLICIES`, or a folder that `prune-env train` wrote (`best` or `agent`
            of a run).

    Returns:
        Something with `for_env(env, seed=...)`, which returns a `Policy`.

    Raises:
        UnknownNameError: No policy has this name, and there is no such folder.
        StateError: The folder holds no agent, or the path leads nowhere.
    """
    folder = Path(policy)
    if policy not in POLICIES and folder.exists():
        from prune_env.agents.trained import TrainedPolicy  # noqa: PLC0415 - imports the agents

        return TrainedPolicy(folder)
    if folder.name != policy:
        raise StateError(
            f"No folder {policy}",
            expected="the name of a policy, or what `prune-env train` wrote: `best` or `agent`",
            remedy="check the path",
        )
    return POLICIES[policy]


def register_policies() -> None:
    """Fill `POLICIES`. The environment knows none of them; whoever takes names calls this."""
    for package in ("prune_env.agents", "prune_env.baselines"):
        import_module(package)
