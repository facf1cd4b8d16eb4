"""One text through the model under a mask: attention of a layer, and what is answered."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prune_env.data.pairs import as_arguments
from prune_env.errors import UnsupportedModelError

if TYPE_CHECKING:
    from prune_env.models import LoadedModel
    from prune_env.models.masks import Mask


@dataclass(frozen=True, eq=False)
class Seen:
    """What a model did with a text.

    Attributes:
        tokens: T tokens as text.
        read: Which of them the classifier reads.
        maps: Float (H, T, T), attention of every head of the layer.
        last: Float (T,), where the token that is read looks in the last layer, the mean of heads.
        probabilities: Float (C,) of the classes.
    """

    tokens: list[str]
    read: int
    maps: npt.NDArray[np.float64]
    last: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float64]


def read_attention(loaded: "LoadedModel", text: str, mask: "Mask", layer: int, tokens: int) -> Seen:
    """Run a text through a model under a mask.

    Args:
        loaded: The classifier.
        text: A text.
        mask: Bool (L, H), True = kept.
        layer: Whose attention is wanted.
        tokens: The text is cut to so many.

    Raises:
        UnsupportedModelError: The model gives no attention maps, or shares them between layers, or
            reads images.
    """
    import torch

    from prune_env.importance.attention import attention_maps, returned_maps, summary_row
    from prune_env.models import HeadGates

    if not hasattr(loaded.tokenizer, "convert_ids_to_tokens"):
        raise UnsupportedModelError(
            "Attention is shown over words", expected="a model of texts", actual="one of images"
        )
    arguments = as_arguments([text])
    inputs = loaded.tokenizer(*arguments, truncation=True, max_length=tokens, return_tensors="pt")
    inputs = {name: values.to(loaded.model.device) for name, values in inputs.items()}
    with attention_maps(loaded.model), HeadGates(loaded.model) as gates, torch.no_grad():
        gates.set(mask)
        loaded.model.eval()
        outputs = loaded.model(**inputs)
    maps = returned_maps(outputs)
    if len(maps) != len(mask):
        raise UnsupportedModelError(
            f"{type(loaded.model).__name__} returns {len(maps)} attention maps",
            expected=f"{len(mask)}, one a layer",
        )
    real = torch.ones_like(inputs["input_ids"])
    last = summary_row(maps[-1], real)[0].mean(0)
    looks_ahead = bool(maps[-1].triu(1).any())
    return Seen(
        tokens=list(map(str, loaded.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0]))),
        read=0 if looks_ahead else len(last) - 1,
        maps=maps[layer][0].double().cpu().numpy(),
        last=last.cpu().numpy(),
        probabilities=outputs.logits[0].double().softmax(0).cpu().numpy(),
    )
