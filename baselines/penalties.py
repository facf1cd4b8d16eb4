"""Terms that a strategy adds to the loss while the model is fine-tuned on clean data."""

from prune_env.training.phases import PENALTIES

_ROOM = "prune_env.baselines."
PENALTIES.register(
    "group-sparsity",
    _ROOM + "group_sparsity:group_sparsity",
    help="L1 over heads of the L2 norm of each head's weights (group lasso)",
)
PENALTIES.register(
    "sparsity-released",
    _ROOM + "group_sparsity:sparsity_released",
    help="the published code's L1 plus Frobenius norm of every attention weight, unstructured",
)
PENALTIES.register(
    "attention-norm",
    _ROOM + "attention_norm:attention_norm",
    help="norm of each sentence's [CLS] attention rows, weighted by layer (PURE)",
)
PENALTIES.register(
    "attention-norm-released",
    _ROOM + "attention_norm:attention_norm_released",
    help="the published code's attention norm, summed over the batch before the root",
)
PENALTIES.register(
    "max-entropy",
    _ROOM + "max_entropy:max_entropy",
    help="replaces the cross-entropy by the negative entropy of the prediction (MEFT)",
)
