"""A number with what it counts, for every line that a person reads."""


def count_of(number: float, noun: str) -> str:
    """Return a number and the noun that it counts, in the plural unless there is one.

    Args:
        number: A whole number, or a mean of some.
        noun: In the singular, adjectives before it; what follows it stands outside.

    Example:
        >>> count_of(1, "head"), count_of(0, "poisoned row"), count_of(6920, "mask")
        ('1 head', '0 poisoned rows', '6,920 masks')
        >>> count_of(2.5, "head"), count_of(2, "class")
        ('2.5 heads', '2 classes')
    """
    whole = float(number).is_integer()  # neither NaN nor infinity is
    told = f"{int(number):,}" if whole else f"{number:,.6g}"
    if number == 1:
        return f"{told} {noun}"
    hisses = noun.endswith(("s", "x", "ch", "sh")) and not noun.endswith("epoch")
    return f"{told} {noun}{'es' if hisses else 's'}"
