"""Models under a mask, as steps of a healing take them."""

from prune_env.data.dataset import TextDataset
from prune_env.evaluation import ReferenceEvaluator
from prune_env.evaluation.suspect import Suspect
from prune_env.models import LoadedModel, find_heads, full_mask
from prune_env.models.masks import Mask
from prune_env.purification.step import MaskedModel


def masked(
    loaded: LoadedModel, train: TextDataset, validation: TextDataset, mask: Mask | None = None
) -> MaskedModel:
    """Return a classifier as it is, under a mask; None keeps every head."""
    evaluator = ReferenceEvaluator(loaded.model, loaded.tokenizer, validation)
    suspect = Suspect(loaded, train, validation, evaluator)
    shape = find_heads(loaded.model).shape
    return MaskedModel(loaded, full_mask(shape) if mask is None else mask, suspect)
