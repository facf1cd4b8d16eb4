"""Weights of a model that nothing reads for a while, in a file in the place of memory."""

import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

log = logging.getLogger(__name__)


@contextmanager
def set_aside(model: nn.Module) -> Iterator[None]:
    """Keep a model's weights in a temporary file; within, the model must not be asked.

    A training beside a model that only waits needs as much less memory as that has weights: a
    fifth of what weights, gradients, moments and an average take. On a processor alone; where the
    file has no room, the weights stay in memory.

    Args:
        model: Any module; afterwards its parameters are the same objects with the same values.
    """
    weights = [each for each in model.parameters() if each.device.type == "cpu"]
    with ExitStack() as files:
        try:
            # Without a buffer: one that is full of what found no room cannot be closed.
            file = files.enter_context(tempfile.TemporaryFile(buffering=0))
            for each in weights:
                left = _bytes(each.detach().contiguous())
                while left:
                    left = left[file.write(left) :]
            file.seek(0)
        except OSError as error:
            log.debug("Weights that nothing reads stay in memory: %s", error)
            weights = []
        shapes = [each.shape for each in weights]
        for each in weights:
            # `data`, since the values do not change: what counts changes must not see one.
            each.data = torch.empty(0, dtype=each.dtype)
        try:
            yield
        finally:
            for each, shape in zip(weights, shapes, strict=True):
                each.data = _read(file, torch.empty(shape, dtype=each.dtype))


def _read(file: io.FileIO, empty: torch.Tensor) -> torch.Tensor:
    """Fill a tensor from a file."""
    left = _bytes(empty)
    while left:
        count = file.readinto(left)
        if not count:
            raise EOFError("A temporary file with weights that were set aside was cut short")
        left = left[count:]
    return empty


def _bytes(tensor: torch.Tensor) -> memoryview:
    """Return the memory of a contiguous tensor."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data
