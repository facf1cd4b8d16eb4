"""What form the purified model is written in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prune_env.errors import SettingsError
from prune_env.models import LoadedModel, Mask, find_source, write_sliced, write_zeroed
from prune_env.models.onnx import require_onnx, write_onnx
from prune_env.models.source import read_config
from prune_env.purification.ensemble import write_ensemble
from prune_env.settings import Export


def check_export(
    source: str | Path, export: Export, *, onnx: bool = False, members: int = 1, **place: Any
) -> None:
    """Raise if the purified model could not be written in the end, before hours are spent on it.

    Args:
        source: The suspicious model.
        export: Form of the weights.
        onnx: Whether `model.onnx` is wanted too.
        members: Models of the ensemble; 1 = none.
        **place: Further arguments of `find_source`.

    Raises:
        SettingsError: The form is unknown, or does not go with an ensemble.
        ModelError: A package that writes ONNX is missing, or the model has no ONNX form.
    """
    if export not in ("zeroed", "sliced"):
        raise SettingsError("export is unknown", expected="zeroed or sliced", actual=export)
    if members > 1 and (export != "zeroed" or onnx):
        raise SettingsError(
            "An ensemble is written as its members, with a mask each",
            expected="export zeroed, without ONNX",
            actual=f"export {export}{', with ONNX' if onnx else ''}",
            remedy="choose a policy that makes one model",
        )
    if onnx:
        config = read_config(find_source(source, **place) / "config.json")
        require_onnx(str(config.get("model_type")))


def write_purified(
    purified: LoadedModel,
    masks: tuple[Mask, ...],
    folder: Path,
    *,
    export: Export,
    onnx: bool,
    facts: Mapping[str, Any],
) -> None:
    """Write the purified model into an existing folder.

    Args:
        purified: What `finish` returned.
        masks: Bool (L, H) each, True = kept; several are those of an ensemble.
        folder: Where to.
        export: Form of the weights.
        onnx: Write `model.onnx`, of the same form, too.
        facts: What the model card says besides the model.

    Raises:
        ModelError: The model holds NaN or Inf, or cannot be written in this form.
    """
    if len(masks) > 1:
        write_ensemble(purified, folder, facts)
        return
    write = write_sliced if export == "sliced" else write_zeroed
    write(purified, masks[0], folder, facts)
    if onnx:
        write_onnx(purified, masks[0], folder / "model.onnx", sliced=export == "sliced")
