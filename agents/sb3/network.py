"""One network for any model: heads are a set, each judged in the context of the others."""

import torch
from torch import Tensor, nn

from prune_env.agents.features import STATUS

Observation = dict[str, Tensor]
ILLEGAL = -1e8
"""Logit or value of an illegal action: low enough to vanish, small enough to stay finite."""


class SetNetwork(nn.Module):
    """Gives every head and STOP a logit, and the state a value, for any number of heads.

    Each head becomes a token from its own features (importance, depth, share of its layer pruned,
    whether it is kept) and the status of the episode. Tokens are joined with the mean of their
    layer and with a pooled state (mean and attention over the kept heads; Lee et al., Set
    Transformer, 2019, pool in this way), and pass a second layer. The same weights serve every
    head, and permuting the heads of a layer permutes their logits.

    Args:
        metrics: Number of importance metrics M in the observation.
        width: Size of a token.
    """

    def __init__(self, metrics: int, width: int = 64) -> None:
        super().__init__()
        self.metrics = metrics
        self.width = width
        self.embed = nn.Sequential(nn.Linear(metrics + 3 + STATUS, width), nn.Tanh())
        self.attention = nn.Linear(width, 1)
        self.combine = nn.Sequential(nn.Linear(4 * width, width), nn.Tanh())
        self.pool = nn.Sequential(nn.Linear(3 * width + STATUS, width), nn.Tanh())
        self.head_logit = nn.Linear(width, 1)
        self.stop_logit = nn.Linear(width, 1)
        self.value = nn.Linear(width, 1)
        for layer in (self.head_logit, self.stop_logit):
            nn.init.orthogonal_(layer.weight, 0.01)  # nearly uniform before anything is learned
            nn.init.zeros_(layer.bias)

    def forward(self, observation: Observation) -> tuple[Tensor, Tensor]:
        """Judge a batch of states.

        Args:
            observation: mask (N, L, H), importance (N, L, H, M), status (N, 4), and `legal`
                (N, L * H + 1) if the environment shows it.

        Returns:
            Logits (N, L * H + 1), `ILLEGAL` where the action is not legal, and values (N,).
        """
        mask, status = observation["mask"], scaled_status(observation)
        kept = (mask > 0.5).unsqueeze(-1)
        tokens = self.embed(head_tokens(observation))
        in_layer = _mean(tokens, kept, 2).expand_as(tokens)
        context = torch.cat([_mean(tokens, kept, (1, 2)), self._attend(tokens, kept)], dim=-1)
        context = context.expand(*mask.shape, 2 * self.width)
        tokens = self.combine(torch.cat([tokens, in_layer, context], dim=-1))
        state = torch.cat([_mean(tokens, kept, (1, 2))[:, 0, 0], context[:, 0, 0], status], dim=-1)
        state = self.pool(state)
        heads = self.head_logit(tokens).flatten(1)
        logits = torch.cat([heads, self.stop_logit(state)], dim=1)
        return logits.masked_fill(~legal_actions(observation), ILLEGAL), self.value(state)[:, 0]

    def _attend(self, tokens: Tensor, kept: Tensor) -> Tensor:
        """Return the kept tokens' mean, weighted by what the network finds worth looking at."""
        scores = self.attention(tokens).masked_fill(~kept, ILLEGAL)
        weights = scores.flatten(1, 2).softmax(dim=1).view_as(scores)
        pooled: Tensor = (weights * tokens).sum(dim=(1, 2), keepdim=True)
        return pooled


def head_tokens(observation: Observation) -> Tensor:
    """Return `features.head_features` and whether the head is kept: (N, L, H, M + 7)."""
    mask, importance = observation["mask"], observation["importance"]
    exists = (mask > 0.5) | (importance != 0).any(dim=-1)
    last_layer = (exists.any(dim=2).sum(dim=1, keepdim=True) - 1).clamp(min=1)
    depth = (torch.arange(mask.shape[1], device=mask.device) / last_layer).clamp(max=1)
    pruned = 1 - mask.sum(dim=2) / exists.sum(dim=2).clamp(min=1)
    per_layer = torch.stack([depth, pruned], dim=-1).unsqueeze(2)
    return torch.cat(
        [
            importance.sign() * importance.abs().log1p(),
            per_layer.expand(*mask.shape, 2),
            mask.unsqueeze(-1),
            scaled_status(observation)[:, None, None].expand(*mask.shape, STATUS),
        ],
        dim=-1,
    )


def scaled_status(observation: Observation) -> Tensor:
    """Return the status with its margin to tau in tenths, so that a point of accuracy shows."""
    status = observation["status"]
    return status * status.new_tensor([1, 10, 1, 1])


def legal_actions(observation: Observation) -> Tensor:
    """Return what `env.observation.legal_actions` gives, bool (N, L * H + 1)."""
    if "legal" in observation:
        return observation["legal"] > 0.5
    kept = observation["mask"] > 0.5
    heads = (kept & (kept.sum(dim=2, keepdim=True) > 1)).flatten(1)
    return torch.cat([heads, heads.new_ones(len(heads), 1)], dim=1)


def _mean(tokens: Tensor, kept: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Return the mean of the kept tokens along dimensions, which stay with size 1."""
    count = kept.sum(dim=dim, keepdim=True).clamp(min=1)
    return (tokens * kept).sum(dim=dim, keepdim=True) / count
