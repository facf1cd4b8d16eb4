"""One cell of a grid: one attack, one seed, one policy, one way to use its mask."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from prune_env.env.policy import (
    POLICIES,
    Requirements,
    TrainedStrategy,
    find_policy,
    requirements_of,
)
from prune_env.env.rewards.reward import make_reward, tell_code_of_others
from prune_env.purification import removes_backdoor
from prune_env.research.attacks.backdoor import ModelSettings
from prune_env.settings import Healing, SearchSettings
from prune_env.utils.plain import to_plain
from prune_env.utils.source import source_of_others

Target = Literal["backdoored", "benign"]
CellProtocol = Literal["none", "direct", "refinetune"]

REFERENCES = ("benign", "backdoored")
"""Rows without a defence: the model that was never poisoned, and the attacker's."""

ORACLES = ("oracle", "oracle-calibrated")
"""Searches that read the triggered test set: ceilings, never defences."""


@dataclass(frozen=True)
class Cell:
    """What one row of a benchmark depends on.

    Attributes:
        models: Model, attack and seed.
        policy: A name of `POLICIES`, of `REFERENCES` or of `ORACLES`.
        protocol: What is done with the mask; `none` where no head goes.
        healing: See `purification.heal`.
        target: Which model is defended. `benign` shows what a defence does to a model that was
            never poisoned.
        search: The search for a mask.
    """

    models: ModelSettings
    policy: str = "gradient"
    protocol: CellProtocol = "direct"
    healing: Healing = "none"
    target: Target = "backdoored"
    search: SearchSettings = field(default_factory=SearchSettings)

    def normal(self) -> "Cell":
        """Return the cell without what changes nothing, so that equal work has one name.

        Raises:
            UnknownNameError: No policy has this name.
            SettingsError: The policy has no such variant.
        """
        if self.policy in REFERENCES:
            return Cell(self.models, self.policy, "none")
        if self.policy in ORACLES:
            return self
        if not self.requirements.prunes:
            # What removes a backdoor without any pruned head is a question of its own.
            if removes_backdoor(self.healing):
                return replace(self, protocol="direct", search=SearchSettings())
            return replace(self, protocol="none", healing="none", search=SearchSettings())
        if not self.requirements.reads_reward:
            return replace(self, search=replace(self.search, reward=SearchSettings.reward))
        return self

    @property
    def settings_of_search(self) -> SearchSettings:
        """Those of the search, `auto` being the plain accuracy of results without guards."""
        guard = "accuracy" if self.search.guard == "auto" else self.search.guard
        return replace(self.search, guard=guard)

    @property
    def requirements(self) -> Requirements:
        """What its policy needs to know; an oracle needs nothing."""
        if self.policy in ORACLES:
            return Requirements()
        return requirements_of(self.policy, self.search.variant)

    @property
    def prunes(self) -> bool:
        """Whether a mask is searched, under a threshold."""
        return self.policy not in REFERENCES and self.requirements.prunes

    @property
    def agent(self) -> dict[str, Any]:
        """What tells an agent that comes trained from one that had its name before."""
        if self.policy in (*REFERENCES, *ORACLES):
            return {}
        strategy = find_policy(self.policy)
        return {"agent": strategy.identity} if isinstance(strategy, TrainedStrategy) else {}

    @property
    def code(self) -> dict[str, str]:
        """Which code of others chooses and pays masks, by `"/policy/NAME"` and `"/reward/NAME"`."""
        if self.policy in REFERENCES:
            return {}
        chooses = None if self.policy in ORACLES else source_of_others(POLICIES[self.policy])
        pays = tell_code_of_others(make_reward(self.search.reward))
        told = dict(zip(self._code_names, (chooses, pays), strict=True))
        return {name: code for name, code in told.items() if code}

    @property
    def _code_names(self) -> tuple[str, str]:
        # No name of an attack is empty: in an identity these are those of no attack's file.
        return f"/policy/{self.policy}", f"/reward/{self.search.reward}"

    def made_by(self, identity: dict[str, str]) -> dict[str, Any]:
        """Return what tells who makes its mask from others of that name: `agent`, and `code`.

        Args:
            identity: As for `key`. It holds the code, so that all processes of a run agree.
        """
        code = {name: identity[name] for name in self._code_names if name in identity}
        return {**self.agent, **({"code": code} if code else {})}

    def key(self, identity: dict[str, str]) -> str:
        """Return the address of the cell's result: a hash of the cell and of what it reads.

        Args:
            identity: SHA-256 of data, model and files of attacks, as `data_identity` returns it,
                and what `codes_of` does.
        """
        read = identity_of(self.models, identity)
        return digest({"cell": to_plain(self), "identity": read, **self.made_by(identity)})

    def __str__(self) -> str:
        parts = [self.models.attack.title, f"seed {self.models.seed}", self.policy]
        if self.search.variant != "paper":
            parts[-1] += f" ({self.search.variant})"
        if self.search.reward != SearchSettings.reward:
            parts[-1] += f" ({self.search.reward})"
        if self.protocol != "none":
            parts.append(self.protocol)
        if self.healing != "none":
            parts.append(f"healing {self.healing}")
        if self.search.tau is not None:
            parts.append(f"tau {self.search.tau:g}")
        if self.target == "benign":
            parts.append("on the benign model")
        return ", ".join(parts)


def codes_of(cells: Iterable[Cell]) -> dict[str, str]:
    """Return the code of others behind cells, see `Cell.code`; it may change at any time."""
    return {name: code for cell in cells for name, code in cell.code.items()}


def identity_of(models: ModelSettings, identity: dict[str, str]) -> dict[str, str]:
    """Return what is left of an identity without the files of other attacks.

    Args:
        models: Whose attack counts.
        identity: By name; the name of an attack's file is `"attack/file"`.
    """
    own = f"{models.attack.attack}/"
    return {
        name: sha256 for name, sha256 in identity.items() if "/" not in name or name.startswith(own)
    }


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits that name a JSON value."""
    text = json.dumps(value, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
