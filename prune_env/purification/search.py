"""Second step: a policy chooses the mask in the environment."""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.mask_events import tell_counts, tell_mask, tell_subject
from prune_env.env.policy import (
    EnsemblePolicy,
    IdentifiedPolicy,
    Learner,
    Policy,
    Requirements,
    find_policy,
)
from prune_env.env.subject import Subject
from prune_env.errors import BudgetError, SettingsError
from prune_env.evaluation.counting import CountingEvaluator
from prune_env.evaluation.guard import guard_of, guarded_tau, unguarded
from prune_env.models.masks import Mask, oracle_mark_of, parse_mask
from prune_env.models.unit_masks import parse_unit_mask
from prune_env.purification.cautions import warn_of_an_oracle
from prune_env.purification.episodes import play, play_on
from prune_env.purification.search_result import SearchResult
from prune_env.settings import SearchSettings
from prune_env.utils.files import read_json
from prune_env.utils.progress import progress

log = logging.getLogger(__name__)


def search(
    subject: Subject,
    policy: str,
    settings: SearchSettings,
    *,
    seed: int = 0,
    writer: SummaryWriter | None = None,
) -> SearchResult:
    """Let a policy choose a mask in the environment; an agent learns in it first.

    No policy gets more masks answered than the budget holds. Whatever it is doing then ends, and
    of what it had found the best is handed out, or nothing pruned where an agent's episodes lost.

    Args:
        subject: What `prepare` returned.
        policy: A name in `POLICIES`; or the folder of a trained agent, which then learns no more.
        settings: Threshold, budget, reward.
        seed: Of the policy and of the episode.
        writer: Takes accuracy and pruned heads after each action.

    Raises:
        UnknownNameError: No policy has this name.
        SettingsError: The reward reads triggered texts.
    """
    started, budget = time.perf_counter(), settings.budget
    strategy = find_policy(policy)
    required = strategy.requirements(settings.variant)
    subject, tau = _choose_tau(subject, required, settings)
    counting = CountingEvaluator(subject.evaluator, budget)
    env = _make_env(replace(subject, evaluator=counting, origin=None), tau, required, settings)
    player = strategy.for_env(env, seed=seed, variant=settings.variant)
    agent = _identify(player)
    if isinstance(player, Learner) and settings.variant != "released":  # published loops learn none
        _learn(player, env, counting, budget, policy)
    learned = _best_learned(player, env.available)
    players = [] if learned and counting.evaluations >= budget else _players(player, required)
    played = [
        play(env, each, seed=seed, writer=writer, tag=tag, prunes=required.prunes)
        for each, tag in zip(players, _tags(policy, len(players)), strict=True)
    ]
    if learned and (not played or learned[1] > played[0][1]):
        played = [learned]
    episodes = 1
    if settings.episodes > 1 and not _plays_once(player, played, policy, settings):
        played[0], episodes = play_on(
            env, strategy, played[0], counting, settings, seed=seed, writer=writer, tag=policy
        )
    masks = tuple(mask for mask, _ in played)
    return SearchResult(
        policy=policy,
        mask=masks[0],
        accuracy=_measure(subject, masks),
        tau=tau,
        evaluations=counting.evaluations,
        seconds=time.perf_counter() - started,
        others=masks[1:],
        guard=guard_of(subject.evaluator),
        agent=agent,
        episodes=episodes,
    )


def _plays_once(
    player: Policy, played: Sequence[object], name: str, settings: SearchSettings
) -> bool:
    """Return whether a policy plays no further episodes, as an ensemble; warn of it."""
    once = isinstance(player, Learner) or len(played) > 1
    if once:
        log.warning(
            "%s plays one episode, not %d: it searches or learns until its budget is spent, or its "
            "members play one each",
            name,
            settings.episodes,
        )
    return once


def _learn(
    player: Learner, env: HeadPruningEnv, counting: CountingEvaluator, budget: int, name: str
) -> None:
    """Let an agent learn until the masks of the budget are spent."""
    with progress(f"Training {name}", budget) as advance, suppress(BudgetError):

        def follow(_: object) -> None:
            advance(counting.evaluations)
            tell_counts(counting.beneath)

        player.learn(env, total_steps=20 * budget, max_evaluations=budget, callback=follow)


def _identify(player: Policy) -> dict[str, Any]:
    """Return which trained agent plays, if one does; warn if no mask of it is a defence."""
    if not isinstance(player, IdentifiedPolicy):
        return {}
    warn_of_an_oracle(player.identity)
    return player.identity


def _choose_tau(
    subject: Subject, required: Requirements, settings: SearchSettings
) -> tuple[Subject, float]:
    """Return the subject as the guard judges it, and tau; tell of both, and if it falls short."""
    subject, tau = _under_guard(subject, settings, required.tau)
    if subject.accuracy == 0:
        guard = guard_of(subject.evaluator)
        log.warning("The unpruned model has 0 of what tau guards (%s): nothing is pruned", guard)
    elif subject.accuracy < tau:
        log.warning(
            "The unpruned model's validation accuracy %.3f is below tau %.3f: nothing is pruned",
            subject.accuracy,
            tau,
        )
    tell_subject(subject, tau, subject.accuracy)
    return subject, tau


def _under_guard(
    subject: Subject, settings: SearchSettings, tau: float | None = None
) -> tuple[Subject, float]:
    """Return the subject as the guard judges it, and tau; one that is given stays."""

    def threshold(judged: Subject) -> float:
        least = settings.threshold(judged.accuracy) if tau is None else tau
        return guarded_tau(least, judged.evaluator)

    subject = subject.under_guard(settings.guard, threshold(subject))
    return subject, threshold(subject)


def _make_env(
    subject: Subject, tau: float, required: Requirements, settings: SearchSettings
) -> HeadPruningEnv:
    """Return what the policy plays, under a reward that reads clean data alone."""
    env = HeadPruningEnv(
        subject,
        tau=tau,
        reward=settings.reward,
        prune_step=required.prune_step or settings.prune_step,
        guard=guard_of(subject.evaluator),
        backtrack=required.backtrack,
    )
    if env.reward.oracle:
        raise SettingsError(
            f"The reward '{settings.reward}' reads triggered texts, which a defender does not have",
            expected="a reward on clean data",
            remedy="choose another; `prune-env list --kind rewards` describes them",
        )
    return env


def _measure(subject: Subject, masks: Sequence[Mask]) -> float:
    """Return the mean plain accuracy under the chosen masks, and tell of each under its guard."""
    accuracies = subject.evaluator.accuracy(np.stack(masks))
    for mask, accuracy in zip(masks, accuracies.tolist(), strict=True):
        tell_mask(mask, accuracy, "chosen", model=subject.name)
    plain = float(unguarded(subject.evaluator).accuracy(np.stack(masks)).mean())
    tell_counts(subject.evaluator, last=True)
    return plain


def _best_learned(player: Policy, unpruned: Mask) -> tuple[Mask, float] | None:
    """Return mask and return of an agent's best episode while it learned; None without one."""
    if not isinstance(player, Learner) or player.best_mask is None:
        return None
    # Where every episode lost by what it pruned, pruning nothing is better, and returns 0.
    loses = round(player.best_return, 9) < 0
    return (unpruned, 0.0) if loses else (player.best_mask, player.best_return)


def _players(player: Policy, required: Requirements) -> list[Policy]:
    """Return who plays an episode each: the policy, or the members of an ensemble."""
    if required.members > 1 and isinstance(player, EnsemblePolicy):
        return [player.member(index) for index in range(required.members)]
    return [player]


def _tags(policy: str, count: int) -> list[str]:
    """Return a name for the curves of each player."""
    return [policy] if count == 1 else [f"{policy}/member-{number}" for number in range(count)]


def read_mask(subject: Subject, path: Path, settings: SearchSettings) -> SearchResult:
    """Return the mask of a file as `search` would, measured once on the validation data.

    Args:
        subject: The model that it is meant for.
        path: A `mask.json`, or one of PURE's files, `{"layer": [pruned heads]}`.
        settings: Only the threshold is read: a mask that falls below it is used, and warned of.

    Raises:
        StateError: The file is missing or no mask.
        SettingsError: The mask does not fit the model.
    """
    started = time.perf_counter()
    content = read_json(path)  # once, whatever is asked of it: it may be a pipe, or be replaced
    subject, tau = _under_guard(subject, settings)
    # Where layers differ in their number of heads, a file may name heads that do not exist.
    unit_map = subject.require_suspect().unit_map
    shape, exists = subject.evaluator.shape, subject.evaluator.available
    if unit_map is None:
        mask = parse_mask(content, path, shape) & exists
    else:
        mask = parse_unit_mask(content, path, unit_map)
    accuracy = float(subject.evaluator.accuracy(mask[None])[0])
    tell_subject(subject, tau, subject.accuracy)
    tell_mask(mask, accuracy, "chosen", model=subject.name)
    agent = oracle_mark_of(content)
    warn_of_an_oracle(agent, f"What chose the mask of {path}")
    if accuracy < tau and subject.accuracy > 0:  # or there was nothing to keep
        told = "Under the mask of %s, validation accuracy (%s) is %.3f, below tau %.3f"
        log.warning(told, path, guard_of(subject.evaluator), accuracy, tau)
    return SearchResult(
        policy="given",
        mask=mask,
        accuracy=float(unguarded(subject.evaluator).accuracy(mask[None])[0]),
        tau=tau,
        evaluations=1,
        seconds=time.perf_counter() - started,
        guard=guard_of(subject.evaluator),
        agent=agent,
    )
