"""Names of files and folders as strangers may read them: without where they lie."""

import os
from pathlib import Path


def public_name(source: str | Path) -> str:
    """Return what a file, a folder or a name is called in what may be published.

    A path says who a user is and how a machine is laid out, so its last part must do, beside the
    hash of its content that stands next to it. A registered name and an id on the Hub stay.

    Example:
        >>> public_name("/home/ada/models/suspect"), public_name("minilm"), public_name("who/what")
        ('suspect', 'minilm', 'who/what')
        >>> public_name("/home/ada/clean.csv with inverted triggers")
        'clean.csv with inverted triggers'
    """
    text = str(source)
    # What is read of a folder of the `datasets` library stands behind a colon.
    for place, mark, rest in ((text, "", ""), text.partition(":"), text.partition(" with ")):
        if os.path.exists(place):
            return Path(os.path.abspath(place)).name + mark + rest
    if os.path.isabs(text) or text.startswith((".", "~")) or text.count("/") > 1 or "\\" in text:
        return text.replace("\\", "/").rpartition("/")[2]
    return text
