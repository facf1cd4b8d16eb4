"""How a batch is trained in parts, where all of it at once would need much memory."""

from transformers import PreTrainedModel

from prune_env.models.heads import find_heads

BYTES = 60
"""What a token leaves for the way back, a layer and component of its state: of MPNet-base in bf16,
about."""

MOST = 600 << 20
"""Bytes that a batch may leave for the way back."""


def parts_of_batch(model: PreTrainedModel, batch_size: int, longest: int) -> int:
    """Return in how many equal parts a batch is trained, whose gradients are put together.

    Args:
        model: A classifier.
        batch_size: Samples of a batch.
        longest: Tokens of the longest sample.

    Returns:
        A power of two that divides `batch_size`: the smallest with which the longest samples need
        no more than `MOST`, or else the largest.
    """
    heads = find_heads(model)
    needed = batch_size * longest * len(heads.layers) * heads.width * BYTES
    parts = 1
    while needed > parts * MOST and batch_size % (2 * parts) == 0:
        parts *= 2
    return parts
