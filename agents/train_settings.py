"""How an agent is trained, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from prune_env.agents.trained import agent_class, learner_names, learns
from prune_env.env.arguments import whole_number
from prune_env.env.policy import POLICIES
from prune_env.errors import SettingsError
from prune_env.settings import check_seed


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
        patience: Episodes without a better one after which the training ends; None never. With
            several models the tests without exploration decide, over all of them.
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
            SettingsError: No policy has this name, it does not learn, it has no such
                hyperparameter, or a value is out of range.
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
            if value is not None:
                object.__setattr__(self, name, whole_number(name, value, 1))
        object.__setattr__(self, "seed", check_seed(self.seed))
        if not learns(self.algorithm):
            raise _not_a_learner(self.algorithm)
        agent_class(self.algorithm).check_hyperparameters(self.hyperparameters, self.env)


def _not_a_learner(name: str) -> SettingsError:
    learners = learner_names()
    what, remedy = f"There is no learning algorithm '{name}'", "choose one of these"
    if name in POLICIES:
        what = f"The policy '{name}' does not learn"
        remedy = "a fixed policy needs no training: use it as it is"
    elif close := get_close_matches(name.lower(), learners, n=1, cutoff=0.7):
        remedy = f"did you mean '{close[0]}'?"
    return SettingsError(what, expected=f"one of {', '.join(learners)}", remedy=remedy)
