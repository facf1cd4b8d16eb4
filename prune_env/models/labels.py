"""Names of classes: those of a model, those that are wanted, and whether they agree."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedConfig

from prune_env.errors import ModelError
from prune_env.models.classification import HeadPlan


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
    elif config.num_labels != num_labels or getattr(config, "problem_type", None) not in (
        None,
        "single_label_classification",
    ):
        raise ModelError(
            f"The classifier {source} does not fit the task",
            expected=f"{num_labels} exclusive classes",
            actual=f"{config.num_labels} labels, problem type {config.problem_type}",
            remedy="give data with the classes of the model, named by label_names (--label-names), "
            "or train another head (head='new')",
        )
    else:
        own = _own_labels(source, config)
        names = list(label_names or generic) if own == generic else own
        if label_names is not None:
            check_same_names(source, names, label_names)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    return tuple(names)


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


def folded(names: Sequence[str]) -> list[str]:
    """Return names as they are compared: without case and outer white space."""
    return [name.strip().casefold() for name in names]
