"""The classification head of a model: is there one in the files, and is it kept or new?"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    PreTrainedConfig,
    PreTrainedModel,
)

from prune_env.data.text import folded
from prune_env.errors import GET_AGAIN, ModelError
from prune_env.models.architectures import IMAGE_TYPES
from prune_env.models.heads import find_heads
from prune_env.models.quiet import as_model_error
from prune_env.models.source import architecture_of
from prune_env.utils.counts import count_of

READY = ("ForSequenceClassification", "ForImageClassification")
ENCODER = (
    "Model",
    "ModelWithProjection",
    "ForMaskedLM",
    "ForPreTraining",
    "ForCausalLM",
    "ForConditionalGeneration",
)
"""How the names of architectures end that hold a trained classifier, or only an encoder."""

SPARE_POOLER = re.compile(r"(^|\.)pooler\.")
"""Weights that a classifier may bring along: older releases of transformers wrote a pooler that
RoBERTa's head does not read."""

SPARE_KEYS = re.compile(
    r"^(cls|predictions|sop_classifier|vocab_(transform|layer_norm|projector)|lm_head"
    r"|lm_predictions|mask_predictions|generator_(predictions|lm_head)|discriminator_predictions"
    r"|text_model|text_projection|visual_projection)\."
    rf"|^(decoder\.(bias|weight)|logit_scale)$|{SPARE_POOLER.pattern}"
)
"""Weights that an encoder may bring along and its classifier has no place for: the heads of
pre-training tasks, a pooler that the family's classifiers do without, CLIP's text tower."""

HARMLESS_KEYS = re.compile(r"(^|\.)(position_ids|rotary_emb\.inv_freq|attn\.(masked_)?bias)$")
"""Constants that older releases of transformers wrote among the weights."""

SIZE_MARGIN = 2
"""A config may describe this many times the weights in the files (new head, tied weights)."""
SPARE_MARGIN, SPARE = 4, 2**26
"""The files may hold this many times the numbers of the classifier, and so many more: CLIP's text
tower, heads of pre-training tasks, T5's decoder."""


@dataclass(frozen=True)
class HeadPlan:
    """What to do about the classification head.

    Attributes:
        new: Whether it starts untrained.
        keys: Names of its weights; of a new one also of the pooler, if the files hold none, as
            those of a masked language model.
    """

    new: bool
    keys: frozenset[str]

    def may_be_spare(self, key: str) -> bool:
        """Return whether the files may hold this weight without the model having a place for it."""
        spare = SPARE_KEYS if self.new else SPARE_POOLER
        return spare.search(key) is not None


def plan_head(
    source: str,
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    weights: Mapping[str, torch.Tensor],
    head: str,
) -> HeadPlan:
    """Decide whether the head in the files is kept.

    Args:
        source: The model, for messages.
        model_class: The classifier class that will be built.
        config: Its configuration.
        weights: The weights in the files, by name.
        head: "auto", "keep" or "new".

    Raises:
        ModelError: `keep` on an encoder; a classifier without its head; an architecture that is
            neither; a config that describes far more weights than the files hold.
    """
    head_keys, absent = _head_keys(source, model_class, config, weights)
    architecture = architecture_of({"architectures": config.architectures})
    complete = head_keys <= weights.keys()
    if architecture.endswith(READY):
        if not complete and head != "new":
            raise ModelError(
                f"The classifier {source} has no classification head",
                expected=", ".join(sorted(head_keys)),
                actual=", ".join(sorted(head_keys & weights.keys())) or "none of them",
                remedy="train another head (purify --head new; head='new' in Python)",
            )
        return HeadPlan(head == "new", head_keys | absent if head == "new" else head_keys)
    if not architecture.endswith((*ENCODER, "unknown")):
        raise ModelError(
            f"{source} was saved as {architecture}",
            expected=f"an encoder, or a name that ends in {' or '.join(READY)}",
            remedy="save the encoder alone, or a classifier",
        )
    if head == "keep" and not complete:
        raise ModelError(
            f"{source} is an encoder ({architecture}) without a classification head",
            expected=", ".join(sorted(head_keys)),
            remedy="train a head for it (purify does, with --head auto; head='auto' in Python)",
        )
    new = head == "new" or not complete
    return HeadPlan(new, head_keys | absent if new else head_keys)


def classifier_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    """Return the classifier class of a text or image architecture."""
    mapping: Any = (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
        if config.model_type in IMAGE_TYPES
        else MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    )
    return cast(type[PreTrainedModel], mapping[type(config)])


def _head_keys(
    source: str,
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    weights: Mapping[str, torch.Tensor],
) -> tuple[frozenset[str], frozenset[str]]:
    """Build the model without memory; name the weights outside its encoder, and missing poolers."""
    what = f"config.json of {source} describes an impossible model"
    with as_model_error(what, remedy=GET_AGAIN), torch.device("meta"):
        skeleton = model_class(config)
    wanted = sum(parameter.numel() for parameter in skeleton.parameters())
    size = sum(tensor.numel() for tensor in weights.values())
    if wanted > SIZE_MARGIN * size or size > SPARE_MARGIN * wanted + SPARE:
        raise ModelError(
            f"config.json of {source} describes another model than its weights",
            expected=f"{wanted} numbers",
            actual=f"{size} numbers in the files",
            remedy=GET_AGAIN,
        )
    encoder = find_heads(skeleton).layers[0].name.partition(".")[0]
    keys = skeleton.state_dict().keys()
    held = {key.removeprefix(f"{encoder}.") for key in weights}  # an encoder saved alone has none
    pooler = {key for key in keys if key.startswith(f"{encoder}.pooler.")}
    absent = {key for key in pooler if key.removeprefix(f"{encoder}.") not in held}
    return (
        frozenset(key for key in keys if not key.startswith(f"{encoder}.")),
        frozenset(absent),
    )


def settle_labels(
    source: str,
    config: PreTrainedConfig,
    plan: HeadPlan,
    num_labels: int,
    label_names: Sequence[str] | None,
) -> tuple[str, ...]:
    """Make `config` agree with the wanted classes.

    Args:
        source: The model, for messages.
        config: Its configuration, changed in place.
        plan: Whether the head is new.
        num_labels: Number of classes.
        label_names: Wanted names, or None.

    Returns:
        The names in the order of the logits.

    Raises:
        ModelError: A ready classifier has another number of classes, other names, or is none of
            exclusive classes.
    """
    generic = [f"LABEL_{index}" for index in range(num_labels)]
    if plan.new:
        config.problem_type = None
        names = list(label_names or generic)
    elif not _fits(config, num_labels):
        raise _misfit(source, config, num_labels)
    else:
        own = _own_labels(source, config)
        names = list(label_names or generic) if folded(own) == folded(generic) else own
        if label_names is not None:
            check_same_names(source, names, label_names)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    return tuple(names)


def _fits(config: PreTrainedConfig, num_labels: int) -> bool:
    """Whether a head chooses one of so many classes."""
    return config.num_labels == num_labels and _is_exclusive(config)


def _is_exclusive(config: PreTrainedConfig) -> bool:
    """Whether a head chooses one of its classes, and is none of numbers or of many labels."""
    kind = getattr(config, "problem_type", None)
    return (config.num_labels or 0) > 1 and kind in (None, "single_label_classification")


def _misfit(source: str, config: PreTrainedConfig, num_labels: int) -> ModelError:
    """Return the error of a head that does not fit the task."""
    kind = getattr(config, "problem_type", None)
    remedy = "train another head (purify --head new; head='new' in Python)"
    if _is_exclusive(config):
        remedy = (
            "give data with the classes of the model, named by label_names (--label-names), "
            f"or {remedy}"
        )
    elif config.num_labels == num_labels:
        remedy += "; where it does choose one of the classes, correct problem_type in config.json"
    return ModelError(
        f"The classifier {source} does not fit the task",
        expected=f"{num_labels} exclusive classes",
        actual=f"{count_of(config.num_labels or 0, 'label')}, problem type {kind}",
        remedy=remedy,
    )


def _own_labels(source: str, config: PreTrainedConfig) -> list[str]:
    """Return the names of a ready classifier's outputs, which must name each of them."""
    labels: dict[Any, Any] = config.id2label or {}
    own = [str(labels[index]) for index in sorted(labels)]
    if sorted(labels) != list(range(len(own))) or len(set(folded(own))) < len(own):
        raise ModelError(
            f"config.json of {source} does not name each class once",
            expected=f"id2label with the keys 0 to {len(own) - 1} and different names",
            actual=str(labels)[:200],
            remedy="correct id2label in config.json",
        )
    return own


def check_same_names(source: str, own: Sequence[str], other: Sequence[str]) -> None:
    """Raise unless two lists hold the same names, in any order.

    Raises:
        ModelError: They differ.
    """
    if sorted(folded(own)) != sorted(folded(other)):
        raise ModelError(
            f"The label names of {source} are not those of the data",
            expected=", ".join(own),
            actual=", ".join(other),
            remedy="name the classes of the data as the model does (--label-names)",
        )
