"""The masks on which rewards are judged: random ones, and those that searches walk through."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prune_env.env.head_pruning_env import HeadPruningEnv
from prune_env.env.policy import EnsemblePolicy, Learner, find_policy, requirements_of
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.models.masks import Mask

PATHS = ("gradient", "layerwise-variance", "pure", "magnitude", "gate-gradient", "random", "greedy")
"""Policies whose paths are walked, unless others are named."""


@dataclass(frozen=True, eq=False)
class Draw:
    """Masks, and where each came from.

    Attributes:
        masks: Bool (N, L, H), all different; the first is the unpruned model.
        sources: N names: `full`, `random`, or the policy whose path holds the mask.
    """

    masks: Mask
    sources: tuple[str, ...]


def draw_masks(
    subject: Subject,
    count: int,
    *,
    paths: Sequence[str] = PATHS,
    random_share: float = 0.5,
    largest_share: float = 0.6,
    seed: int = 0,
) -> Draw:
    """Draw masks at many sizes: a part at random, the others along the paths of policies.

    Every mask keeps at least one head per layer and prunes at most `largest_share` of the heads.
    A path is taken at places spread evenly over it. A policy that looks ahead searches with as
    many masks as `count`.

    Args:
        subject: The model; its importance must hold the metrics that the policies read.
        count: Masks in all, the unpruned one included.
        paths: Names in `POLICIES` of policies that prune.
        random_share: Part of the masks that is drawn at random, 0 to 1.
        largest_share: Part of the heads that a mask prunes at most, in (0, 1].
        seed: Of the draw and of the policies.

    Returns:
        The masks, fewer than `count` where the model has not so many different ones.

    Raises:
        SettingsError: A number is out of range, or a policy prunes nothing.
        UnknownNameError: No policy has a name of `paths`.
    """
    check_paths(paths)
    if count < 1 or not 0 <= random_share <= 1 or not 0 < largest_share <= 1:
        raise SettingsError(
            "The draw of masks is out of range",
            expected="count >= 1, random_share in [0, 1], largest_share in (0, 1]",
            actual=f"{count}, {random_share}, {largest_share}",
        )
    available = np.asarray(subject.evaluator.available, np.bool_)
    least = available.any(axis=1).sum()
    largest = int(min(round(largest_share * available.sum()), available.sum() - least))
    found: dict[bytes, tuple[Mask, str]] = {available.tobytes(): (available, "full")}
    share = 0.0 if not paths else (1 - random_share) * (count - 1) / len(paths)
    for place, name in enumerate(paths):
        wanted = round((place + 1) * share) - round(place * share)
        walked = _path(subject, name, largest, count, seed) if wanted else []
        for index in np.linspace(0, len(walked), wanted, endpoint=False, dtype=int):
            mask = walked[len(walked) - 1 - index] if walked else available
            found.setdefault(mask.tobytes(), (mask, name))
    random = np.random.default_rng(seed)
    for _ in range(20 * count):  # a small model may not have so many masks
        if len(found) >= count or largest < 1:
            break
        mask = _random_mask(available, int(random.integers(1, largest + 1)), random)
        found.setdefault(mask.tobytes(), (mask, "random"))
    masks, sources = zip(*found.values(), strict=True)
    return Draw(np.stack(masks), sources)


def check_paths(paths: Sequence[str]) -> None:
    """Refuse policies that have no path of masks.

    Raises:
        SettingsError: A policy prunes nothing.
        UnknownNameError: No policy has one of the names.
    """
    idle = [name for name in paths if not requirements_of(name).prunes]
    if idle:
        raise SettingsError(
            f"Masks cannot be drawn along the path of {', '.join(idle)}",
            expected="policies that prune",
            remedy="leave it out of --paths",
        )


def _path(subject: Subject, name: str, largest: int, budget: int, seed: int) -> list[Mask]:
    """Return the masks that a policy walks through, without any threshold on accuracy."""
    env = HeadPruningEnv(subject, tau=0.0, guard="accuracy")
    policy = find_policy(name).for_env(env, seed=seed)
    if isinstance(policy, Learner):
        policy.learn(env, total_steps=20 * budget, max_evaluations=budget)
    # An ensemble's path is that of its first member.
    player = policy.member(0) if isinstance(policy, EnsemblePolicy) else policy
    mask = np.asarray(subject.evaluator.available, np.bool_).copy()
    importance = subject.scaled_importance()
    walked: list[Mask] = []
    while len(walked) < largest:
        observation = {"mask": mask.astype(np.float32), "importance": importance, "status": _STATUS}
        action, _ = player.predict(observation, deterministic=True)
        if int(action) >= mask.size:
            break
        mask = mask.copy()
        mask.flat[int(action)] = False
        walked.append(mask)
    return walked


_STATUS = np.array([1.0, 1.0, 0.0, 1.0], np.float32)
"""What a policy is told of accuracy and budget on its path: all is well."""


def _random_mask(available: Mask, pruned: int, random: np.random.Generator) -> Mask:
    """Return a mask without `pruned` heads at random, none the last of its layer."""
    mask = available.copy()
    for head in random.permutation(np.flatnonzero(available)):
        if pruned == 0:
            break
        if mask[head // mask.shape[1]].sum() > 1:
            mask.flat[head] = False
            pruned -= 1
    return mask
