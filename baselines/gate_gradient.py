"""Gate-gradient pruning: the heads whose gate moves the loss least go first."""

from typing import ClassVar

from prune_env.baselines.order import OrderPolicy


class GateGradient(OrderPolicy):
    """Order by the mean absolute gradient of the loss on the head's gate, smallest first.

    Source: Michel et al., "Are Sixteen Heads Really Better than One?" (2019), equation 2.
    """

    metric: ClassVar[dict[str, str]] = {"paper": "gate_gradient"}
