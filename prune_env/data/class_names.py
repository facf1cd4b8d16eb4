"""Names of classes, as callers give them."""

from collections.abc import Iterable, Mapping, Set

from prune_env.errors import SettingsError


def class_names(names: Iterable[object]) -> tuple[str, ...]:
    """Return the names of classes, in label order, as text.

    Args:
        names: One per class; an iterator is used up.

    Raises:
        SettingsError: They have no order of their own: a set, a mapping (of which the keys would be
            the names) or a single text (of which the letters would be).
    """
    if isinstance(names, str | bytes | Set | Mapping) or not isinstance(names, Iterable):
        raise SettingsError(
            "label_names are no list of names",
            expected="a list or tuple, in label order",
            actual=f"{type(names).__name__} {names!r:.80}",
            remedy='give one name per class, such as ["negative", "positive"]',
        )
    return tuple(map(str, names))
