"""More dropout for one training, where a model has any."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def dropped_out(model: nn.Module, probability: float) -> Iterator[None]:
    """Drop out with another probability while the body runs; layers that drop nothing still do not.

    Args:
        model: Its `nn.Dropout` layers count, those of attention among them.
        probability: That an activation is dropped, 0 to 1.
    """
    layers = [each for each in model.modules() if isinstance(each, nn.Dropout) and each.p]
    before = [layer.p for layer in layers]
    for layer in layers:
        layer.p = probability
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.p = own
