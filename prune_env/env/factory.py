"""From the arguments of an environment to its core."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from prune_env.data.table_format import Named, named_data
from prune_env.env.arguments import models_of, names_of, plain
from prune_env.env.batch_core import BatchCore
from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.hybrid import find_units
from prune_env.env.observation import make_observation
from prune_env.env.pool import Pool
from prune_env.env.recorded import recorded_rewards
from prune_env.env.rewards.reward import Reward, WeightedSum, make_reward
from prune_env.env.subject import Subject
from prune_env.env.subjects import DEFAULT_RECORD, brings_data, called, require_recorded
from prune_env.errors import MissingArgumentError, SettingsError
from prune_env.settings import Guard, UnitSettings

if TYPE_CHECKING:
    from prune_env.evaluation import Evaluator


def make_core(
    model: str | Subject | None = None,
    data: Named | None = None,
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
    recorded: bool = False,
    num_envs: int = 1,
    max_episode_steps: int | None = None,
) -> BatchCore:
    """Return the core of an environment from the arguments of its constructor.

    See `HeadPruningEnv` for the arguments.

    Raises:
        SettingsError: The arguments contradict each other, or one is of another type or out of
            range; a `MissingArgumentError` where nothing is named.
        UnknownNameError: A model, metric, reward or observation is not registered.
    """
    metrics = names_of("metrics", metrics)
    recorded = plain("recorded", recorded)
    if recorded and model is None and evaluator is None and pool is None:
        model = DEFAULT_RECORD
    sources = _sources(model, evaluator, pool)
    _check_beside(sources, evaluator, importance, data, in_pool=pool is not None)
    find = partial(find_units, data=data, metrics=metrics, settings=units)
    check = partial(_check_playable, recorded=recorded, least=settings.min_heads_per_layer)
    if recorded:
        find = partial(_find_recorded, find)
    if evaluator is None:
        subjects = _told_apart(list(map(find, sources)), sources)
    else:
        subjects = [Subject(evaluator, importance, metrics)]  # type: ignore[arg-type]
    return BatchCore(
        Pool(subjects, find, plain("guard", guard), check),
        settings,
        make_reward(reward, recorded_rewards(subjects)),
        make_observation(names_of("observation", observation), flat=plain("flat", flat)),
        num_envs=num_envs,
        max_episode_steps=max_episode_steps,
    )


def _told_apart(subjects: Sequence[Subject], sources: Sequence[Any]) -> list[Subject]:
    """Call models by all of their path where the last part of it is also another's."""
    names = [subject.name for subject in subjects]
    return [
        called(subject, source)
        if isinstance(source, str) and names.count(subject.name) > 1
        else subject
        for subject, source in zip(subjects, sources, strict=True)
    ]


def _find_recorded(find: Callable[[str | Subject], Subject], model: str | Subject) -> Subject:
    """Return what a user means by a model; one that was not recorded is refused unloaded."""
    require_recorded(model)
    return find(model)


def _check_playable(subject: Subject, *, recorded: bool, least: int) -> None:
    """Raise if a model was not recorded where it must be, or if the rules keep all of it.

    Of one head a layer nothing can be pruned under the usual least of 1 either, which nobody chose.
    """
    if recorded:
        require_recorded(subject)
    available = subject.evaluator.available
    if least > 1 and not subject.units.room(available, least):
        most = int(subject.units.head_part(available).sum(axis=1).max())
        raise SettingsError(
            f"Nothing of the model {subject.name} can be pruned",
            expected="a layer with more heads than min_heads_per_layer",
            actual=f"min_heads_per_layer={least}, and {most} heads in the largest layer",
            remedy=f"give at most min_heads_per_layer={most - 1}, or units beside heads, see "
            "docs/hybrid.md",
        )


def _sources(model: Any, evaluator: Any, pool: Any) -> list[Any]:
    """Return the models that are played; none where it is an evaluator.

    Raises:
        SettingsError: Several things are named, or the pool is no list of models; a
            `MissingArgumentError` where nothing is named.
    """
    named = {"model": model, "evaluator": evaluator, "pool": pool}
    given = [name for name, value in named.items() if value is not None]
    if len(given) != 1:
        kind = SettingsError if given else MissingArgumentError
        remedy = "for example model='path/to/classifier', data='clean.tsv'"
        if given[:1] == ["model"]:  # maybe of the id, and not of the user
            beside = " and ".join(given[1:])
            remedy = f"an id may bring a model of its own: give model=None beside {beside}"
        raise kind(
            "An environment plays one model or one pool",
            expected="exactly one of model, evaluator, pool",
            actual=", ".join(given) or "none of them",
            remedy=remedy,
        )
    if pool is not None:
        return models_of(pool)
    return [] if model is None else [model]


def _check_beside(
    sources: Sequence[Any], evaluator: Any, importance: Any, data: Any, *, in_pool: bool
) -> None:
    """Check that what is given beside the models is all that they need, and that they read it.

    Raises:
        SettingsError: Something is missing, would be ignored, or is of the wrong type.
    """
    if (evaluator is None) != (importance is None):
        raise SettingsError(
            "An evaluator comes with the importance of its heads, and nothing else does",
            expected="both, or neither; importance: array (L, H, M), one column per metric",
            actual="importance alone" if evaluator is None else "evaluator alone",
            remedy="a model brings its own importance; of an evaluator, compute it with"
            " prune_env.importance.head_importance",
        )
    if data is not None:
        named_data(data)

    def ignores_data(source: Any) -> bool:
        # An agent learns on subjects that were made from this data before, in a pool beside it.
        if isinstance(source, Subject):
            return not in_pool
        return isinstance(source, str) and brings_data(source)

    played = sources or evaluator is not None
    if data is not None and played and all(map(ignores_data, sources)):
        names = ", ".join(source for source in sources if isinstance(source, str))
        raise SettingsError(
            "data would not be read: what is played comes with its own data",
            expected="no data, or a model without data: folder or name of a classifier",
            actual=f"data={data!r:.200} beside {names or 'an object'}",
            remedy="leave data out",
        )
