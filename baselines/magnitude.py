"""Magnitude pruning: the heads with the smallest weights go first."""

from typing import ClassVar

from prune_env.baselines.order import OrderPolicy


class Magnitude(OrderPolicy):
    """Order by the norm of the head's value and output weights, smallest first.

    Source: the field's oldest yardstick (Han et al., 2015), applied to whole heads.
    """

    metric: ClassVar[dict[str, str]] = {"paper": "magnitude"}
