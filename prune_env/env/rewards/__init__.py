"""What a mask is paid for, by name: importing the package fills the table, and imports no torch."""

from prune_env.env.rewards.reward import REWARDS, Accuracy, Oracle, Sparsity

for _reward in (Sparsity, Accuracy, Oracle):
    REWARDS.register(_reward.name, _reward, help=(_reward.__doc__ or "").splitlines()[0])

REWARDS.register(
    "consistency",
    "prune_env.env.rewards.perturbation:Consistency",
    help="Share of clean sentences whose answer stays when words are left out.",
)

for _name, _place, _help in (
    ("inverted-trigger", "inverted_trigger:InvertedTrigger", "withstands empty phrases that flip"),
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
    (
        "flips-word-drop",
        "perturbation:WordDropFlips",
        "flips go to both classes when words are left out",
    ),
    (
        "flips-shuffle",
        "perturbation:ShuffleFlips",
        "flips go to both classes when words change places",
    ),
    ("flips-clause", "perturbation:ClauseFlips", "flips go to both classes behind an empty clause"),
    (
        "flips-sentence",
        "perturbation:SentenceFlips",
        "flips go to both classes beside a neutral sentence",
    ),
    (
        "flips-rare-words",
        "perturbation:RareWordFlips",
        "flips go to both classes with words inserted",
    ),
    ("flips-old-words", "perturbation:OldWordFlips", "flips go to both classes in archaic wording"),
    ("split-agreement", "perturbation:SplitAgreement", "answers stay when words are cut in two"),
    ("entropy", "text_reward:Entropy", "answers to clean sentences are unsure"),
    ("layer-consistency", "layer_consistency:LayerConsistency", "hidden states change little"),
):
    REWARDS.register(_name, f"prune_env.env.rewards.{_place}", help=_help)
