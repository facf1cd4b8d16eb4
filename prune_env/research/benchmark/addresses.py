"""Names of what cells share, made of all that it depends on."""

from dataclasses import asdict

from prune_env.research.attacks.backdoor import ModelSettings
from prune_env.research.benchmark.cell import Cell, Target, digest, identity_of
from prune_env.training.phases import Phase
from prune_env.utils.plain import to_plain


def attack_name(settings: ModelSettings, identity: dict[str, str]) -> str:
    """Return the name of the models of an attack together, in a store.

    Args:
        settings: Of the models.
        identity: SHA-256 of data, model and files of attacks.
    """
    return f"attacks/{digest([asdict(settings), identity_of(settings, identity)])}"


def fine_tuned_name(
    settings: ModelSettings, target: Target, phases: tuple[Phase, ...], identity: dict[str, str]
) -> str:
    """Return the name of a fine-tuned model.

    Args:
        settings: Of the models of the attack.
        target: Which of them is fine-tuned.
        phases: Of the fine-tuning.
        identity: SHA-256 of data, model and files of attacks.
    """
    made_from = [asdict(settings), target, [asdict(phase) for phase in phases]]
    return digest([*made_from, identity_of(settings, identity)])


def mask_file(cell: Cell, identity: dict[str, str]) -> str:
    """Return the file of the mask of a cell in a run folder; all its protocols share it.

    Args:
        cell: The cell.
        identity: SHA-256 of data, model and files of attacks, and the code of others.
    """
    models_and_search = [asdict(cell.models), cell.target, cell.policy, to_plain(cell.search)]
    maker = [made_by] if (made_by := cell.made_by(identity)) else []
    return f"masks/{digest([models_and_search, identity_of(cell.models, identity), *maker])}.json"
