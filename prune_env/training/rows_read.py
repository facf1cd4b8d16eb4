"""The rows of a word embedding that a training reads, trained in the place of all of them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel


class RowsRead(nn.Embedding):
    """Some rows of an embedding, under the numbers that they have in the whole.

    Args:
        whole: The embedding (V, D).
        rows: Int64 (R,), the rows that are read, in order; that of padding among them.
    """

    def __init__(self, whole: nn.Embedding, rows: torch.Tensor) -> None:
        own = whole.weight.detach()[rows]
        super().__init__(len(own), whole.embedding_dim, _weight=own)
        # Of the whole, since models compare tokens with it.
        self.padding_idx = whole.padding_idx
        place = torch.full((whole.num_embeddings,), -1, device=own.device)
        place[rows] = torch.arange(len(rows), device=own.device)
        self.place: torch.Tensor
        self.rows: torch.Tensor
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("rows", rows, persistent=False)
        self._padding = None if whole.padding_idx is None else int(place[whole.padding_idx])

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the embeddings (..., D) of tokens (...), numbered as in the whole."""
        return functional.embedding(self.place[input], self.weight, self._padding)


@contextmanager
def only_rows_read(
    model: PreTrainedModel, features: Iterable[dict[str, Any]], tokenizer: Any
) -> Iterator[None]:
    """Let the body train the word embeddings of the tokens that its texts hold.

    The others have no gradient, and would still have moments and be read and written at each step:
    of a multilingual model they are most of its weights. They stay as they are, to the bit, where
    weight decay would shrink them. An embedding that other layers share is trained whole. Not for
    trainings that save checkpoints: those number moments by place, and would not fit other texts.

    Args:
        model: A sequence classifier, any of images too, which is left alone.
        features: The rows that are trained on, with `input_ids` where they are texts.
        tokenizer: Whose padding is read as well.
    """
    texts = [each["input_ids"] for each in features if "input_ids" in each]
    parent, name = _place_of_embedding(model) if texts else (None, "")
    whole = getattr(parent, name, None)
    if whole is None:
        yield
        return
    beside = [*_beside(model.config), tokenizer.pad_token_id, whole.padding_idx]
    known = range(whole.num_embeddings)
    rows = sorted({each for each in beside if each in known}.union(*texts))
    at = torch.tensor(rows, device=whole.weight.device)
    part = RowsRead(whole, at)
    setattr(parent, name, part)
    try:
        yield
    finally:
        whole.to(part.weight.device)
        with torch.no_grad():
            whole.weight[part.rows] = part.weight
        setattr(parent, name, whole)


def _beside(config: PreTrainedConfig) -> list[Any]:
    """Return the tokens that a model may put beside those of a text, as far as it names them."""
    return [value for key, value in config.to_dict().items() if key.endswith("_token_id")]


def _place_of_embedding(model: PreTrainedModel) -> tuple[nn.Module | None, str]:
    """Return the layer that holds the word embedding, and its name there.

    None where it is no plain embedding that is trained, or where another layer shares its weight.
    """
    whole = model.get_input_embeddings()
    if type(whole) is not nn.Embedding or not whole.weight.requires_grad:
        return None, ""
    if whole.max_norm is not None or whole.scale_grad_by_freq or whole.sparse:
        return None, ""
    parameters = model.named_parameters(remove_duplicate=False)
    (place, *others) = [key for key, each in parameters if each is whole.weight]
    if others:
        return None, ""
    parent, _, name = place.removesuffix(".weight").rpartition(".")
    return model.get_submodule(parent), name
