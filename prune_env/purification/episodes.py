"""Episodes that a search plays: each player's first, and further ones while masks last."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from operator import itemgetter

from torch.utils.tensorboard import SummaryWriter

from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.mask_events import tell_counts, tell_step
from prune_env.env.play import play_steps
from prune_env.env.policy import Policy, Strategy
from prune_env.errors import BudgetError
from prune_env.evaluation.counting import CountingEvaluator
from prune_env.models.masks import Mask
from prune_env.settings import SEEDS, SearchSettings
from prune_env.utils.progress import progress

IDLE = 10
"""Episodes in a row that ask for no new mask, after which a policy is taken to know no other."""


def play(
    env: HeadPruningEnv,
    policy: Policy,
    *,
    seed: int,
    writer: SummaryWriter | None = None,
    tag: str = "policy",
    prunes: bool = True,
    explores: bool = False,
) -> tuple[Mask, float]:
    """Play one episode, to its end or to that of the budget.

    Args:
        env: What is played.
        policy: Who plays.
        seed: Of the episode.
        writer: Takes accuracy and pruned heads after each action.
        tag: Of the curves, and of the progress bar.
        prunes: Whether the policy prunes at all.
        explores: Whether it explores; nobody is then told of the steps.

    Returns:
        The mask that it leaves, bool (L, H), and the sum of the rewards.
    """
    gained = 0.0
    phase: AbstractContextManager[Callable[[int], None]] = nullcontext(lambda done: None)
    if prunes:
        phase = progress(f"Pruning with {tag}", env.available.sum())
    # What was not checked, for want of budget, is not pruned.
    with phase as advance, suppress(BudgetError):
        steps = play_steps(env, policy, seed=seed, deterministic=not explores)
        for step, played in enumerate(steps, start=1):
            gained += played.reward
            advance(env.episode.pruned)
            if not explores:
                tell_step(played.info, played.action, played.reward, step)
            if writer is not None:
                for curve in ("accuracy", "heads_pruned"):
                    writer.add_scalar(f"search/{tag}/{curve}", played.info[curve], step)
    return env.mask, gained


def play_on(
    env: HeadPruningEnv,
    strategy: Strategy,
    first: tuple[Mask, float],
    counting: CountingEvaluator,
    settings: SearchSettings,
    *,
    seed: int,
    writer: SummaryWriter | None = None,
    tag: str = "policy",
) -> tuple[tuple[Mask, float], int]:
    """Return the best of an episode and of those that are asked for after it, while masks last.

    A policy without chance in it plays the same again, and asks for no new mask.

    Args:
        env: What is played.
        strategy: Makes who plays.
        first: What the first episode left.
        counting: Counts the masks.
        settings: Episodes, budget, variant.
        seed: Of the first episode.
        writer: Takes what each of them returned, by its number.
        tag: Of the curve.

    Returns:
        Mask and return of the best, and the number of episodes that were played.
    """
    best, idle, played = first, 0, 1
    _tell(writer, tag, first[1], played)
    with progress("Playing on", settings.budget) as advance:
        for number in range(1, settings.episodes):
            asked = counting.evaluations
            if asked >= settings.budget or idle == IDLE:
                break
            again = strategy.for_env(env, seed=(seed + number) % SEEDS, variant=settings.variant)
            left = play(env, again, seed=seed, explores=True)
            best, played = max(best, left, key=itemgetter(1)), number + 1
            _tell(writer, tag, left[1], played)
            idle = idle + 1 if counting.evaluations == asked else 0
            advance(counting.evaluations)
            tell_counts(counting.beneath)
    return best, played


def _tell(writer: SummaryWriter | None, tag: str, gained: float, number: int) -> None:
    """Write what an episode returned."""
    if writer is not None:
        writer.add_scalar(f"search/{tag}/return_of_episode", gained, number)
