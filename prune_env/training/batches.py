"""How a batch is trained in parts, where all of it at once would need much memory."""

from transformers import PreTrainedModel

from prune_env.models.heads import find_heads

BYTES = 60
"""What a token leaves for the way back, a layer and component of its state: of MPNet-base in bf16,
about."""

SCORE_BYTES = 13
"""What a pair of tokens leaves, a layer and head, where attention is dropped out, so that scores
are kept: of MiniLM-L6 in bf16, at 512 tokens three times as much as the states."""

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
    layers, most_heads = heads.shape
    states = layers * heads.width * BYTES
    scores = layers * most_heads * longest * SCORE_BYTES if _drops_attention(model) else 0
    needed = batch_size * longest * (states + scores)
    parts = 1
    while needed > parts * MOST and batch_size % (2 * parts) == 0:
        parts *= 2
    return parts


def _drops_attention(model: PreTrainedModel) -> bool:
    """Whether a training drops attention out; what torch does in one kernel otherwise is kept."""
    names = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop", "dropout_rate")
    return any(getattr(model.config, name, 0) for name in names)
