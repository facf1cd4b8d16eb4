"""The mean of a model's weights over the last steps of a training.

Source: stochastic weight averaging (Izmailov et al., UAI 2018), within one training.
"""

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_swa_multi_avg_fn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class WeightAverage(TrainerCallback):
    """Puts the mean of the last steps' weights in the place of the last ones.

    Args:
        share: Of all steps, how many at the end are averaged, over 0, at most 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._mean: AveragedModel | None = None

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        """Take the weights into the mean, if these are among the last steps."""
        assert model is not None
        if state.global_step <= (1 - self._share) * state.max_steps:
            return
        if self._mean is None:
            # All tensors in one call: one by one it took a tenth of the training.
            self._mean = AveragedModel(model, multi_avg_fn=get_swa_multi_avg_fn())
        self._mean.update_parameters(model)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the mean into the model."""
        if model is None or self._mean is None:
            return
        with torch.no_grad():
            for own, mean in zip(model.parameters(), self._mean.module.parameters(), strict=True):
                own.copy_(mean)
        self._mean = None
