"""What a mask is paid for, by name: importing the package fills the table, and imports no torch."""

from prune_env.env.rewards.oracle import Oracle
from prune_env.env.rewards.reward import REWARDS, Accuracy, Sparsity
from prune_env.utils.registry import first_line

for _reward in (Sparsity, Accuracy, Oracle):
    REWARDS.register(_reward.name, _reward, help=first_line(_reward.__doc__))

_ROOM = "prune_env.env.rewards."
REWARDS.register(
    "consistency",
    _ROOM + "consistency:Consistency",
    help="Share of clean sentences whose answer stays when words are left out.",
)
REWARDS.register(
    "inverted-trigger",
    _ROOM + "inverted_trigger:InvertedTrigger",
    help="withstands empty phrases that flip",
)

for _name, _place, _help in (
    ("latent-trigger", "latent_trigger:LatentTrigger", "withstands a shift of the embeddings"),
    ("surrogate", "surrogate:SurrogateBackdoor", "withstands triggers planted in a copy"),
    (
        "surrogate-but-syntactic",
        "surrogate:SurrogateButSyntactic",
        "withstands planted triggers, no clauses among them",
    ),
    (
        "surrogate-but-style",
        "surrogate:SurrogateButStyle",
        "withstands planted triggers, no old words among them",
    ),
    ("flips-word-drop", "flips:WordDropFlips", "flips go to both classes when words are left out"),
    ("flips-shuffle", "flips:ShuffleFlips", "flips go to both classes when words change places"),
    ("flips-clause", "flips:ClauseFlips", "flips go to both classes behind an empty clause"),
    ("flips-sentence", "flips:SentenceFlips", "flips go to both classes beside a neutral sentence"),
    ("flips-rare-words", "flips:RareWordFlips", "flips go to both classes with words inserted"),
    ("flips-old-words", "flips:OldWordFlips", "flips go to both classes in archaic wording"),
    ("split-agreement", "flips:SplitAgreement", "answers stay when words are cut in two"),
    ("entropy", "entropy:Entropy", "answers to clean sentences are unsure"),
    ("layer-consistency", "layer_consistency:LayerConsistency", "hidden states change little"),
):
    REWARDS.register(_name, f"{_ROOM}tried.{_place}", help=f"{_help} (tried, found blind)")
