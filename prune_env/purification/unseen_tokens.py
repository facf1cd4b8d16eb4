"""Unseen tokens, which clean data does not hold, are replaced by their neighbours.

The embedding is a linear map too, of which token stands where: what clean data asks of it are the
rows of the tokens that clean data holds. The other rows no fine-tuning on clean data ever touches,
so a trigger made of a rare word keeps its own through all of it. Each of them is replaced by the
mean of the nearest rows that clean data does hold: a word that was never met is understood as its
neighbours are, and no longer stands for itself.

Source: Embedding poisoning puts a backdoor into the row of one rare word (Yang et al., NAACL 2021);
Embedding Surgery writes such rows anew, as an attack (Kurita et al., ACL 2020). Here clean data
decides which rows are written anew, as it decides in `refit` which directions stay.
"""

import torch
from torch.nn import functional

from prune_env.data.dataset import TextDataset
from prune_env.models import LoadedModel
from prune_env.models.embeddings import token_embeddings
from prune_env.models.inputs import TokenRows, own_tokens

HELD = 2
"""Clean texts that must hold a token: one alone may have come by chance."""

NEIGHBOURS = 4

TEMPERATURE = 0.05
"""Of the softmax over cosines that weighs the neighbours."""

CHUNK = 2048
"""Rows compared at a time: vocabularies go up to 256,000 rows."""


def replace_unseen(loaded: LoadedModel, data: TextDataset, max_length: int = 128) -> int:
    """Replace the embedding of every token that clean data does not hold, in place.

    What the tokenizer puts round every text stays as it is. Nothing is done where too few tokens
    are held to make a neighbourhood.

    Args:
        loaded: A classifier of texts.
        data: Clean texts.
        max_length: Tokens read of a text.

    Returns:
        Number of tokens that were replaced by their neighbours.
    """
    table = token_embeddings(loaded.model)
    counts = torch.zeros(len(table), dtype=torch.long)
    rows_read = TokenRows(data.texts, loaded.tokenizer, max_length)
    for row in range(len(rows_read)):
        counts[sorted(set(rows_read.row(row)["input_ids"]))] += 1
    plain = torch.ones(len(table), dtype=torch.bool)
    plain[sorted(own_tokens(loaded.tokenizer))] = False
    held, unseen = (
        (plain & chosen).nonzero()[:, 0].to(table.device)
        for chosen in (counts >= HELD, counts < HELD)
    )
    if len(held) < NEIGHBOURS:
        return 0
    kept = table[held].float()
    mean = kept.mean(0)
    directions = functional.normalize(kept - mean, dim=1)
    for chunk in unseen.split(CHUNK):
        own = functional.normalize(table[chunk].float() - mean, dim=1)
        cosines, nearest = (own @ directions.T).topk(NEIGHBOURS, dim=1)
        shares = torch.softmax(cosines / TEMPERATURE, dim=1)
        table[chunk] = (shares[..., None] * kept[nearest]).sum(1).to(table.dtype)
    return len(unseen)
