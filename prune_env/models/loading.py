"""Loading a suspicious model as a text classifier, without trusting anything about it."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from prune_env.data.class_names import class_names
from prune_env.data.dataset import TextDataset
from prune_env.data.text import folded
from prune_env.errors import GET_AGAIN, ModelError, SettingsError
from prune_env.models.building import build_config, build_model, load_weights
from prune_env.models.catalog import find_source
from prune_env.models.classification import (
    check_same_names,
    classifier_class,
    plan_head,
    settle_labels,
)
from prune_env.models.heads import find_heads
from prune_env.models.inspection import identity, list_files
from prune_env.models.processor import fit_processor, load_processor, self_test
from prune_env.models.quiet import as_model_error, quiet_transformers
from prune_env.models.source import SLICED_MANIFEST, find_problems, is_sliced


@dataclass
class LoadedModel:
    """A classifier with its tokenizer, and where both come from.

    Attributes:
        model: In eval mode, float32, on the CPU.
        tokenizer: The model's tokenizer, or the image processor of an image model.
        source: Path, registered name or Hub id, as given.
        sha256: Identity of the files that it was loaded from.
        new_head: Whether the classification head is untrained.
        label_names: Name of each output, in the order of the model's logits.
    """

    model: PreTrainedModel
    tokenizer: Any
    source: str
    sha256: str
    new_head: bool
    label_names: tuple[str, ...]

    def align(
        self, labels: npt.NDArray[np.integer[Any]], names: Sequence[str]
    ) -> npt.NDArray[np.int64]:
        """Translate labels from another order of names into the order of the model's logits.

        Args:
            labels: Int (N,), indices into `names`.
            names: Label names of a data set; case and outer white space do not matter.

        Returns:
            Int64 (N,), indices into `label_names`.

        Raises:
            ModelError: The two sets of names differ.
        """
        check_same_names(self.source, self.label_names, names)
        order = [folded(self.label_names).index(name) for name in folded(names)]
        return np.take(np.array(order, dtype=np.int64), labels)

    def aligned(self, data: TextDataset) -> TextDataset:
        """Return data with its labels in the order of the model's logits; see `align`."""
        labels = self.align(data.labels, data.label_names)
        return replace(data, labels=labels, label_names=self.label_names)

    def copy(self) -> "LoadedModel":
        """Return the same with weights of its own, which may be changed."""
        return replace(self, model=deepcopy(self.model))


def load_classifier(
    source: str | Path,
    *,
    num_labels: int = 2,
    head: Literal["auto", "keep", "new"] = "auto",
    label_names: Sequence[str] | None = None,
    allow_download: bool = False,
    revision: str | None = None,
    seed: int = 0,
    attn_implementation: str = "sdpa",
) -> LoadedModel:
    """Load a model for sequence classification; no code of the model runs, no network is used.

    Args:
        source: Folder, name in `MODELS`, or, with `allow_download`, an id on the Hub.
        num_labels: Number of classes.
        head: `auto` keeps the head of a ready classifier and gives an encoder a new one; `keep`
            insists on a ready classifier; `new` always makes a new one.
        label_names: One name per class. A new head takes them in this order. A ready classifier
            must have the same names; it keeps its own order (see `LoadedModel.align`), unless
            its names are the meaningless LABEL_0, LABEL_1, ..., which are then replaced.
        allow_download: Fetch the model from the Hub if `source` is no local one.
        revision: Branch, tag or commit on the Hub.
        seed: Seed of a new head; the global random state is left alone.
        attn_implementation: `sdpa`, or `eager` where attention maps are needed; an architecture
            that has no sdpa is loaded as `eager`.

    Returns:
        The model, proven to react to head gates.

    Raises:
        UnsafeModelError: Loading could run code or reach the network.
        UnsupportedModelError: The architecture is not on the allow-list.
        ModelError: The folder is incomplete or damaged, or the head does not fit.
        SettingsError: An argument is out of its range.
        UnknownNameError: `source` is neither a folder nor a registered name.
    """
    label_names = _check_arguments(num_labels, head, label_names, attn_implementation)
    folder = find_source(source, allow_download=allow_download, revision=revision)
    for problem in find_problems(folder):
        raise problem
    _refuse_sliced(folder, source)
    files = list_files(folder)
    config = build_config(folder)
    weights = load_weights(folder)
    plan = plan_head(str(source), classifier_class(config), config, weights, head)
    names = settle_labels(str(source), config, plan, num_labels, label_names)
    tokenizer = load_processor(folder, config)
    with quiet_transformers():
        model = build_model(
            str(source),
            config,
            weights,
            plan,
            seed=seed,
            attn_implementation=attn_implementation,
        )
    fit_processor(str(source), model, tokenizer)
    self_test(str(source), model, tokenizer)
    return LoadedModel(model, tokenizer, str(source), identity(files), plan.new, names)


def _refuse_sliced(folder: Path, source: str | Path) -> None:
    """Refuse a model whose heads were cut out."""
    if is_sliced(folder):
        raise ModelError(
            f"Heads were cut out of the model {source}",
            expected="a whole model",
            actual=f"a folder with {SLICED_MANIFEST}",
            remedy="load it with prune_env.load_pruned; to prune more, take the model that it was "
            "made from",
        )


def _check_arguments(
    num_labels: int, head: str, label_names: Sequence[str] | None, attn_implementation: str
) -> tuple[str, ...] | None:
    """Return the label names as a tuple, if there are any; errors as those of `load_classifier`."""
    for name, value, allowed in (
        ("head", head, ("auto", "keep", "new")),
        ("attn_implementation", attn_implementation, ("sdpa", "eager")),
    ):
        if value not in allowed:
            raise SettingsError(f"{name} is unknown", expected=" or ".join(allowed), actual=value)
    if num_labels < 2:
        raise SettingsError("num_labels is too small", expected="2 or more", actual=num_labels)
    if label_names is None:
        return None
    names = class_names(label_names)
    if len(set(folded(names))) != num_labels:
        raise SettingsError(
            "label_names do not name the classes",
            expected=f"{num_labels} different names",
            actual=names,
        )
    return names


def head_shape(
    source: str | Path, *, allow_download: bool = False, revision: str | None = None
) -> tuple[int, int]:
    """Return (L, H) of a model, as a mask of it must be, from its files; no weight is loaded.

    Args:
        source: As for `load_classifier`.
        allow_download: As for `load_classifier`.
        revision: As for `load_classifier`.

    Raises:
        ModelError: The model must not be loaded, or its config.json is not valid.
        UnknownNameError: `source` is neither a folder nor a registered name.
    """
    folder = find_source(source, allow_download=allow_download, revision=revision)
    for problem in find_problems(folder):
        raise problem
    config = build_config(folder)
    what = f"config.json of {source} describes an impossible model"
    with as_model_error(what, remedy=GET_AGAIN), torch.device("meta"), quiet_transformers():
        return find_heads(classifier_class(config)(config)).shape
