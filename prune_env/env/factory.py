"""From the arguments of an environment to its core."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy.typing as npt

from prune_env.env.batch_core import BatchCore
from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.hybrid import find_units
from prune_env.env.observation import make_observation
from prune_env.env.pool import Pool
from prune_env.env.recorded import recorded_rewards
from prune_env.env.rewards.reward import Reward, WeightedSum, make_reward
from prune_env.env.subject import Subject, split_names
from prune_env.errors import MissingArgumentError, SettingsError
from prune_env.settings import Guard, UnitSettings

if TYPE_CHECKING:
    from prune_env.evaluation import Evaluator


def make_core(
    model: str | Subject | None = None,
    data: str | None = None,
    *,
    evaluator: "Evaluator | None" = None,
    importance: npt.ArrayLike | None = None,
    metrics: str | Sequence[str],
    reward: str | Reward | WeightedSum,
    observation: str | Sequence[str],
    flat: bool,
    pool: Sequence[str | Subject] | None,
    settings: EpisodeSettings,
    units: UnitSettings,
    guard: Guard = "auto",
    num_envs: int = 1,
    max_episode_steps: int | None = None,
) -> BatchCore:
    """Return the core of an environment from the arguments of its constructor.

    See `HeadPruningEnv` for the arguments.

    Raises:
        SettingsError: The arguments contradict each other, or one is out of range; a
            `MissingArgumentError` where nothing is named.
        UnknownNameError: A model, metric, reward or observation is not registered.
    """
    metrics = split_names(metrics)
    find = partial(find_units, data=data, metrics=metrics, settings=units)
    sources_named = [
        name
        for name, value in (("model", model), ("evaluator", evaluator), ("pool", pool))
        if value is not None
    ]
    if len(sources_named) != 1:
        kind = SettingsError if sources_named else MissingArgumentError
        raise kind(
            "An environment plays one model or one pool",
            expected="exactly one of model, evaluator, pool",
            actual=", ".join(sources_named) or "none of them",
            remedy="for example model='path/to/classifier', data='clean.tsv'",
        )
    if evaluator is not None:
        if importance is None:
            raise SettingsError(
                "An evaluator comes with the importance of its heads",
                expected="importance: array (L, H, M), one column per metric",
                remedy="compute it with prune_env.importance.head_importance",
            )
        subjects = [Subject(evaluator, importance, metrics)]  # type: ignore[arg-type]
    else:
        sources = [model] if pool is None else list(pool)
        subjects = [find(source) for source in sources if source is not None]
    return BatchCore(
        Pool(subjects, find, guard),
        settings,
        make_reward(reward, recorded_rewards(subjects[0].evaluator) if subjects else None),
        make_observation(observation, flat=flat),
        num_envs=num_envs,
        max_episode_steps=max_episode_steps,
    )
