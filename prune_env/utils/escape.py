"""Data of strangers on a page: label names, texts, names of models, shown as they are."""

import re

from prune_env.errors import printable

MARKDOWN = re.compile(r"([\\`*_\[\]|~]|(?<=\w):(?=//)|@)")
"""Characters that mean something in Markdown, or that make a bare address a link."""


def markdown(text: str, limit: int = 500) -> str:
    r"""Return text that Markdown, and HTML made of it, show as it is, on one line.

    Example:
        >>> markdown("![x](http://a.b) <b>")
        '!\\[x\\](http\\://a.b) &lt;b>'
    """
    shown = printable(" ".join(text.split()), limit)
    return MARKDOWN.sub(r"\\\1", shown).replace("&", "&amp;").replace("<", "&lt;")
