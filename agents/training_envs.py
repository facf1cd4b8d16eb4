"""The two environments of a training: where the agent learns, and where it is tested."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
from gymnasium.envs import registration

from prune_env.agents.train_settings import TrainSettings
from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.pool import Pool
from prune_env.env.registration import ENVIRONMENTS
from prune_env.env.subject import Subject
from prune_env.errors import PruneEnvError, SettingsError, UnknownNameError
from prune_env.evaluation.counting import CountingEvaluator
from prune_env.evaluation.guard import tau_of

log = logging.getLogger(__name__)

OF_GYM_MAKE = ("max_episode_steps", "disable_env_checker")
"""Arguments that `gym.make` does not hand on to the environment."""


def make_env(env_id: str, arguments: Mapping[str, Any]) -> gym.Env[Any, Any]:
    """Return an environment of this package.

    Args:
        env_id: Its id, before which the module that registers it may stand.
        arguments: Of `gym.make`.

    Raises:
        UnknownNameError: No environment has this id.
        SettingsError: It cannot be made, takes no such arguments, or is none of this package's.
    """
    if env_id.count(":") > 1:  # Gymnasium takes one module before the id, and trips over two
        raise UnknownNameError("environment", env_id, ENVIRONMENTS.names())
    try:
        env = gym.make(env_id, **arguments)
    except PruneEnvError:
        raise
    except gym.error.UnregisteredEnv:
        raise UnknownNameError("environment", env_id, ENVIRONMENTS.names()) from None
    except (gym.error.Error, ImportError) as error:  # it imports what stands before a colon
        raise SettingsError(
            f"Gymnasium cannot make {env_id!r:.80}",
            expected=f"one of {', '.join(ENVIRONMENTS.names())}",
            actual=error,
        ) from None
    except TypeError as error:
        _check_arguments(env_id, arguments, error)
        raise
    if not isinstance(env.unwrapped, HeadPruningEnv):
        raise _foreign(env_id)
    return env


def _check_arguments(env_id: str, arguments: Mapping[str, Any], error: TypeError) -> None:
    """Raise if an environment that could not be made was given arguments that it does not take.

    Args:
        env_id: Of one that is registered.
        arguments: Of `gym.make`.
        error: What making it raised.

    Raises:
        SettingsError: It does not take them, or it is none of this package's.
    """
    namespace, name, version = registration.parse_env_id(env_id.rpartition(":")[2])
    if version is None:
        version = registration.find_highest_version(namespace, name)
    entry_point = gym.spec(registration.get_env_id(namespace, name, version)).entry_point
    maker: Any = entry_point
    if isinstance(entry_point, str):
        maker = registration.load_env_creator(entry_point)
    if isinstance(maker, type) and not issubclass(maker, HeadPruningEnv):
        raise _foreign(env_id, error) from None
    parameters = inspect.signature(maker).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return  # who knows what it takes
    taken = [*parameters, *OF_GYM_MAKE]
    unknown = [name for name in arguments if name not in taken]
    if unknown:
        raise SettingsError(
            f"{env_id} takes no such arguments: {', '.join(unknown)}",
            expected=f"some of {', '.join(taken)}",
            remedy="leave them out, or check how they are written",
        ) from None


def _foreign(env_id: str, error: TypeError | None = None) -> SettingsError:
    return SettingsError(
        f"{env_id} is not an environment of this package",
        expected=f"one of {', '.join(ENVIRONMENTS.names())}",
        actual=error,
    )


def learning_env(settings: TrainSettings, tests: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Return the environment to learn in: it counts masks, on all sentences or on fewer.

    The count is of distinct masks asked, not of those that had to be computed: what the tests, or
    the same run before it was killed, made the evaluator remember must not change the training.

    Args:
        settings: How the agent is trained.
        tests: Where it is tested: an environment of the same models.

    Raises:
        SettingsError: The models have no such part of sentences, or all are below tau before a
            head is pruned.
    """
    whole = [board.subject for board in pool_of(tests).boards]
    subjects = whole
    if settings.validation_subset is not None:
        subjects = [subject.on_part(settings.validation_subset) for subject in subjects]
    _check_tau(tests, whole, subjects)
    pool = [
        replace(subject, evaluator=CountingEvaluator(subject.evaluator)) for subject in subjects
    ]
    return make_env(settings.env, {**settings.env_arguments, "model": None, "pool": pool})


def pool_of(env: gym.Env[Any, Any]) -> Pool:
    """Return the models that an environment plays."""
    pool: Pool = env.get_wrapper_attr("core").pool
    return pool


def _check_tau(
    tests: gym.Env[Any, Any], whole: Sequence[Subject], parts: Sequence[Subject]
) -> None:
    """Raise if all models are below tau before a head is pruned; warn if some are.

    Args:
        tests: Knows tau.
        whole: The models with all validation sentences, as the tests do.
        parts: The same models, with the sentences of the learning.

    Raises:
        SettingsError: There is nothing to learn.
    """
    rules = tests.get_wrapper_attr("core").settings
    below = {}
    for subjects in zip(whole, parts, strict=True):
        for evaluator in (subject.evaluator for subject in subjects):
            accuracy = float(evaluator.accuracy(evaluator.available[None])[0])
            if accuracy < tau_of(rules, accuracy, evaluator):
                below[subjects[0].name] = f"{accuracy:.4f} ({subjects[0].name})"
    if not below:
        return
    expected = f"a validation accuracy of at least {rules.threshold(0.0)}"
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
