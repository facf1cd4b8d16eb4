"""Purifying by masks that choose from heads, groups of neurons and strengths of maps."""

from pathlib import Path

from prune_env.env.hybrid import with_units
from prune_env.env.subject import Subject
from prune_env.errors import SettingsError
from prune_env.importance.registry import UNIT_FEATURES
from prune_env.models import LoadedModel
from prune_env.models.masks import oracle_mark
from prune_env.models.unit_masks import save_unit_mask
from prune_env.purification.search_result import SearchResult
from prune_env.settings import Healing, Protocol, UnitSettings
from prune_env.utils.public import public_name


def check_hybrid(protocol: Protocol, healing: Healing, members: int) -> None:
    """Refuse what masks of units do not go with.

    Strengths belong to the weights that they were measured on, and training would open neurons
    again that are closed.

    Raises:
        SettingsError: The model is trained under the mask, or there are several masks.
    """
    if protocol != "direct" or healing != "none" or members > 1:
        raise SettingsError(
            "Masks of heads, neurons and maps are written into the model as it is",
            expected="protocol direct, healing none, a policy of one mask",
            actual=f"protocol {protocol}, healing {healing}, {members} masks",
            remedy="leave --units at heads, or --protocol and --healing alone",
        )


def cut(subject: Subject, metrics: tuple[str, ...], *, sentences: int, seed: int) -> Subject:
    """Return a prepared subject whose masks choose from its units.

    Args:
        subject: What `prepare` returned, its heads not measured.
        metrics: Importance metrics that the policy requires; none where no policy chooses.
        sentences: Clean training sentences that they are measured on.
        seed: Of their draw.
    """
    shown = tuple(dict.fromkeys((*metrics, *UNIT_FEATURES))) if metrics else ()
    return with_units(subject, shown, UnitSettings(), sentences=sentences, seed=seed)


def write_mask(subject: Subject, purified: LoadedModel, found: SearchResult, folder: Path) -> None:
    """Write `mask.json` of a purified model, in place of that of its heads."""
    unit_map = subject.require_suspect().unit_map
    assert unit_map is not None  # the subject was cut
    origin = {"source": public_name(purified.source), "source_sha256": purified.sha256}
    mark = oracle_mark(found.oracle)
    save_unit_mask(folder / "mask.json", found.mask, unit_map, **origin, **mark)
