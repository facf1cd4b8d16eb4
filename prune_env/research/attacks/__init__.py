"""What an attacker does, for experiments: triggers, poisoned data, backdoored models.

No defence imports this package; `prune_env.research.attacks.backdoor` trains the models.
"""

from prune_env.research.attacks.attack import Attack, AttackSettings
from prune_env.research.attacks.catalog import ATTACKS, make_attack
from prune_env.research.attacks.poison import poison, triggered_set
from prune_env.research.attacks.triggers import TRIGGERS, Trigger, describe_trigger, make_trigger

__all__ = [
    "ATTACKS",
    "TRIGGERS",
    "Attack",
    "AttackSettings",
    "Trigger",
    "describe_trigger",
    "make_attack",
    "make_trigger",
    "poison",
    "triggered_set",
]
