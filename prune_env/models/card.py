"""The model card of an exported model: where it comes from and what was done to it."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt

from prune_env.models.loading import LoadedModel
from prune_env.models.masks import Mask
from prune_env.utils.escape import markdown
from prune_env.utils.public import public_name

PACKAGES = ("prune-env", "torch", "transformers")
USE = {
    "zeroed": """from transformers import {auto}, {processor}

model = {auto}.from_pretrained("path/to/this/folder")
processor = {processor}.from_pretrained("path/to/this/folder")
""",
    "sliced": """import prune_env

loaded = prune_env.load_pruned("path/to/this/folder")  # loaded.model, loaded.tokenizer
""",
    "ensemble": """import prune_env

loaded = prune_env.load_ensemble("path/to/this/folder")  # loaded.model, loaded.tokenizer
""",
}
PURIFIED = """# A purified classifier

prune-env changed a suspicious model on clean data, as said below, to weaken a backdoor that it may
hold. That lowers the risk; it proves nothing."""
ABOUT = "about"
"""Name of the fact that stands in place of `PURIFIED`, where the model is another kind of thing."""
VOTE = """
It is an ensemble: the probabilities of {members} members, each under its own mask, are averaged.
The folders `model-*` hold weights without masks: loaded alone, one of them may be unpruned.
"""


def model_card(
    loaded: LoadedModel, mask: npt.ArrayLike, form: str, facts: Mapping[str, Any]
) -> str:
    """Return README.md for an exported model, in Markdown with the front matter of the Hub.

    Args:
        loaded: The model before pruning; of an ensemble, the first.
        mask: Bool (L, H), True = kept; of an ensemble (members, L, H).
        form: "zeroed", "sliced" or "ensemble".
        facts: More lines, name to value; floats are shown with four digits. `LFR` may be one,
            and `ABOUT`, Markdown with a heading.
    """
    image = str(loaded.model.main_input_name) == "pixel_values"
    task = "image-classification" if image else "text-classification"
    code = USE[form].format(
        auto=f"AutoModelFor{'Image' if image else 'Sequence'}Classification",
        processor="AutoImageProcessor" if image else "AutoTokenizer",
    )
    pruned = ~np.asarray(mask, dtype=bool)
    members = pruned if form == "ensemble" else pruned[None]
    lines = _provenance(loaded, form, members, facts)
    table = "\n".join(f"| {markdown(name)} | {markdown(value)} |" for name, value in lines.items())
    heads = _heads(pruned)
    vote = ""
    if form == "ensemble":
        heads = "\n\n".join(
            f"### Member {index}\n\n{_heads(each)}" for index, each in enumerate(members)
        )
        vote = VOTE.format(members=len(members))
    return f"""---
pipeline_tag: {task}
tags:
- backdoor-defense
- prune-env
---

{facts.get(ABOUT, PURIFIED)}
{vote}
| | |
|---|---|
{table}

## Use

```python
{code}```

## Pruned heads

{heads}
"""


def _provenance(
    loaded: LoadedModel, form: str, members: Mask, facts: Mapping[str, Any]
) -> dict[str, str]:
    """Return the lines of the table, name to value; `members` (N, L, H) are the pruned heads."""
    return {
        "source": public_name(loaded.source),
        "source SHA-256": loaded.sha256,
        "architecture": type(loaded.model).__name__,
        "labels": ", ".join(loaded.label_names),
        "form": f"{form}, though no head is cut out"
        if form == "sliced" and not members.any()
        else form,
        "heads pruned": ", ".join(str(int(each.sum())) for each in members)
        + f" of {members[0].size}",
        "LFR": "not measured: a defender does not know the trigger",
        **{str(name): _shown(value) for name, value in facts.items() if name != ABOUT},
        "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
        + f", Python {platform.python_version()}",
    }


def _heads(pruned: Mask) -> str:
    """Return the pruned heads of a model, a line for each layer."""
    layers = [
        f"- layer {layer}: {', '.join(map(str, np.flatnonzero(row)))}"
        for layer, row in enumerate(pruned)
        if row.any()
    ]
    return "\n".join(layers) or "None."


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
