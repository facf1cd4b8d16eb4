"""What is done where nobody asked for anything: what was measured best."""

from dataclasses import replace
from typing import Literal

from prune_env.data.dataset import TextDataset
from prune_env.purification.finish import REMOVING
from prune_env.purification.unlearning import unlearnable
from prune_env.settings import Healing, Protocol, SearchSettings

AUTO = "auto"


def choose(
    policy: str,
    healing: Healing | Literal["auto"],
    protocol: Protocol,
    train: TextDataset,
    search: SearchSettings,
    *,
    masked: bool = False,
) -> tuple[str, Healing, SearchSettings]:
    """Return policy, healing and search settings, `auto` resolved.

    Whoever names a policy or gives a mask gets that alone. Before a healing that removes the
    backdoor itself, pruning heads gained nothing that could be told from noise, and cost accuracy:
    `ft` prunes none. Without it, the mask that withstands inverted triggers is the best.

    Args:
        policy: A name, the folder of an agent, or `auto`.
        healing: What follows the mask, or `auto`.
        protocol: What is done with the mask.
        train: Clean data.
        search: Of the search; a reward that was asked for stays.
        masked: Whether a mask is given, so that no policy searches one.
    """
    named = masked or policy != AUTO
    defined = protocol == "direct" and unlearnable(train)
    if healing == "auto":
        healing = "refit-unlearn" if defined and not named else "none"
    if named:
        return policy, healing, search
    if healing in REMOVING:
        return "ft", healing, search
    if not defined:
        return "gradient", healing, search
    asked = search.reward != SearchSettings.reward
    return (
        "reward-greedy",
        healing,
        search if asked else replace(search, reward="inverted-trigger"),
    )
