"""What linear maps read on clean data: mean, covariance, and its principal directions."""

from dataclasses import dataclass
from functools import cached_property

import torch

MASSIVE = 2 / 3
"""Share of the variance beyond which a direction is massive: of MiniLM none is (at most 0.63), of
MPNet-base one is in seven maps of the feed-forward layers (0.74 to 0.95), fine-tuned in more."""

BLOCK = 256
"""Columns of a covariance that are computed at once: what mirrors an earlier block is left out."""


class Moments:
    """Mean and covariance of what some maps read."""

    def __init__(self, width: int, device: torch.device) -> None:
        self.count = 0
        self._shift = torch.zeros(width, device=device)
        self._total = torch.zeros(width, device=device)
        self._products = torch.zeros(width, width, device=device)

    def read(self, inputs: torch.Tensor, seen: torch.Tensor | None) -> None:
        """Add inputs (..., width) to the moments; of a padded batch, those that are seen (B, T)."""
        # DeBERTa also maps its table of relative positions, which has no padding.
        padded = seen is not None and inputs.shape[:2] == seen.shape
        rows = (inputs[seen] if padded else inputs.flatten(0, -2)).float()
        # A variance may be small beside its mean: little of it survives in fp32, nothing in bf16.
        if not self.count:
            self._shift = rows.mean(0)
        rows = rows - self._shift
        self.count += len(rows)
        self._total += rows.sum(0)
        with torch.autocast(rows.device.type, enabled=False):
            for start in range(0, rows.shape[1], BLOCK):
                block = slice(start, start + BLOCK)
                self._products[start:, block].addmm_(rows[:, start:].T, rows[:, block])

    def covariance(self, *, centred: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean (width,) and the covariance (width, width) of the inputs, in float64.

        Args:
            centred: Whether a bias answers for the mean; else it is a direction like any other,
                and the mean that is returned is zero.
        """
        beyond = self._total.double() / self.count
        mean = self._shift.double() + beyond
        # The lower half was added up, and some of the upper.
        products = self._products.tril().double()
        products += products.tril(-1).T
        covariance = products / self.count - torch.outer(beyond, beyond)
        if centred:
            return mean, covariance
        return torch.zeros_like(mean), covariance + torch.outer(mean, mean)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What maps read, by its principal directions: one decomposition serves every strength.

    Attributes:
        mean: Float32 (width,).
        variances: Float32 (width,), along the directions, ascending.
        directions: Float32 (width, width), a column each.
        count: Inputs that were read.
    """

    mean: torch.Tensor
    variances: torch.Tensor
    directions: torch.Tensor
    count: int

    @cached_property
    def scale(self) -> torch.Tensor:
        """What strengths are multiples of: the mean variance, without that of massive directions.

        In decoders a few activations, most often of the first token, are thousands of times as
        large as the others (Sun et al., COLM 2024). A lambda by a mean that they are in would leave
        nothing of a map.
        """
        moderate = self.variances
        while _is_massive(moderate):
            moderate = moderate[:-1]
        return moderate.mean() * (len(moderate) / len(self.variances))

    def kept(self, strength: float) -> torch.Tensor:
        """Return the share of a map that a ridge keeps along each direction, float32 (width,).

        Args:
            strength: lambda over `scale`, above 0.
        """
        return self.variances / (self.variances + strength * self.scale)

    @classmethod
    def of(cls, moments: Moments, *, centred: bool) -> "Spectrum":
        """Return the spectrum of what was read."""
        mean, covariance = moments.covariance(centred=centred)
        # In fp32: what it rounds off lies far below the smallest lambda, unless one direction holds
        # nearly everything.
        variances, directions = torch.linalg.eigh(covariance.float())
        if _is_massive(variances):
            variances, directions = torch.linalg.eigh(covariance)
            variances, directions = variances.float(), directions.float()
        return cls(mean.float(), variances.clamp(min=0), directions, moments.count)


def _is_massive(variances: torch.Tensor) -> bool:
    """Whether the last of the variances, which ascend, is most of their sum, and not all of it."""
    several = len(variances) > 1 and bool(variances[-2] > 0)
    return several and bool(variances[-1] > MASSIVE * variances.sum())
