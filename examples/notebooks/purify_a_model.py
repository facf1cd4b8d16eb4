# %% [markdown]
# # Notebook: purify a model
#
# A tiny BERT with a planted backdoor is purified with clean data only, and measured before and
# after. It takes seconds. With a model of your own, change `suspicious` and the data.
#
# `jupytext --to ipynb` makes a notebook of this script, and many editors run its cells as they
# are.

# %%
import tempfile
from pathlib import Path

from transformers import AutoModelForSequenceClassification

import prune_env
from prune_env.data.readers import read_table
from prune_env.evaluation.scores import TestSets, score
from prune_env.models import load_mask
from prune_env.research.attacks.tiny import cached_tiny_model
from prune_env.settings import FineTuneSettings, SearchSettings

# %% [markdown]
# ## The suspicious model
#
# Some of the sentences that it learned from hold the word "cf" and were labelled positive,
# whatever they say. It is made at first use, and kept in the user's cache. A defender has the
# model and clean sentences, no more.

# %%
home = cached_tiny_model()
suspicious = home / "classifier"
train, validation = read_table(home / "validation.jsonl").split(0.5, seed=0)
print(train.texts[0], "->", train.label_names[train.labels[0]])

# %% [markdown]
# ## Purify
#
# The model is fine-tuned, triggers are inverted on it, and heads are pruned that let them through
# (`policy="reward-greedy"`): no weight is trained after that. Without `policy` and `healing` it
# is the default, which refits the layers and unlearns inverted triggers; that needs sentences of
# real English and minutes.

# %%
out = Path(tempfile.mkdtemp()) / "purified"
settings = FineTuneSettings(epochs=3, learning_rate=1e-3, max_length=32)
report = prune_env.purify(
    suspicious,
    train,
    validation,
    out,
    policy="reward-greedy",
    healing="none",
    search_settings=SearchSettings(reward="inverted-trigger"),
    fine_tune_settings=settings,
)
print(sorted(each.name for each in out.iterdir()))

# %% [markdown]
# The folder loads with plain transformers; `report.json` tells what was done.

# %%
AutoModelForSequenceClassification.from_pretrained(out)
kept = load_mask(out / "mask.json")
print("heads kept, layer by layer:", kept.sum(axis=1).tolist())
print(sorted(report))

# %% [markdown]
# ## What is left of the backdoor
#
# Only who knows the trigger can tell. **LFR** is the share of negative sentences that the trigger
# turns positive; **ACC** the accuracy on clean test sentences.

# %%
sets = TestSets(read_table(home / "test.jsonl"), read_table(home / "triggered.jsonl"))
before = score(prune_env.load_classifier(suspicious), sets)
after = score(prune_env.load_classifier(out), sets)
for name, scores in (("before", before), ("after", after)):
    print(f"{name:7} ACC {scores.acc.percent:5.1f}   LFR {scores.lfr.percent:5.1f}")
