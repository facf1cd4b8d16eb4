"""What an attacker does, for experiments: triggers, poisoned data, backdoored models.

No defence imports this package; `prune_env.research.attacks.backdoor` trains the models.
"""

from prune_env.research.attacks.attack import AttackData, AttackSettings, asked_target, find_target
from prune_env.research.attacks.catalog import ATTACKS, make_attack
from prune_env.research.attacks.own_files import (
    AttackFiles,
    OwnAttack,
    read_own_attack,
    warn_of_untriggered,
    without_target,
)
from prune_env.research.attacks.poison import poison, triggered_set
from prune_env.research.attacks.sources import AttackSources
from prune_env.research.attacks.triggers import TRIGGERS, Trigger, describe_trigger, make_trigger

__all__ = [
    "ATTACKS",
    "TRIGGERS",
    "AttackData",
    "AttackFiles",
    "AttackSettings",
    "AttackSources",
    "OwnAttack",
    "Trigger",
    "asked_target",
    "describe_trigger",
    "find_target",
    "make_attack",
    "make_trigger",
    "poison",
    "read_own_attack",
    "triggered_set",
    "warn_of_untriggered",
    "without_target",
]
