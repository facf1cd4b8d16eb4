"""ONNX form of a purified classifier, compared with the original before it is kept."""

import copy
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import nn
from transformers import PreTrainedModel

from prune_env.data.pairs import as_arguments, text_pair
from prune_env.errors import ModelError, UnsupportedModelError
from prune_env.models.architectures import IMAGE_TYPES, NOT_EXPORTABLE
from prune_env.models.loading import LoadedModel
from prune_env.models.processor import sample_inputs
from prune_env.models.pruning import slice_heads, zero_heads
from prune_env.models.quiet import as_model_error, quiet_transformers, writing

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
SAMPLES = (
    ["A short sentence.", "Another one, of which the end is rather far away from its beginning."],
    ["One."],
    ["Three", "of", "them, with a few more words in the last"],
    [text_pair("A premise.", "What follows, or does not."), text_pair("One more,", "and two.")],
)
"""The first is traced; the others differ in batch size and length, and hold single texts or pairs,
of which some models are told which token is of which."""


def require_onnx(model_type: str) -> None:
    """Raise if a package that writes or checks ONNX is missing, or a model has no ONNX form.

    Args:
        model_type: As config.json has it.

    Raises:
        ModelError: Which package is missing.
        UnsupportedModelError: No model of this type can be exported.
    """
    if model_type in NOT_EXPORTABLE:
        raise UnsupportedModelError(
            f"A classifier of type {model_type} has no ONNX form",
            expected="a model whose shapes depend on those of its inputs alone",
            remedy="export it without ONNX",
        )
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(
            "ONNX cannot be written",
            expected=f"the packages {', '.join(PACKAGES)}",
            actual=f"without {', '.join(missing)}",
            remedy="pip install 'prune-env[onnx]'",
        )


def write_onnx(
    loaded: LoadedModel, mask: npt.ArrayLike, path: str | Path, *, sliced: bool = True
) -> None:
    """Write a classifier without its pruned heads as one ONNX file.

    Inputs are what the tokenizer gives, `input_ids`, `attention_mask` and of some
    `token_type_ids`, int64 (batch, sequence) of any size, or `pixel_values`, float32 (batch, 3,
    height, width), of any batch; the output is `logits`, float32 (batch, classes). onnxruntime must
    give the logits of the model, to 1e-4, on batches of other sizes than the one that was traced.

    Args:
        loaded: The model; it stays as it is.
        mask: Bool (L, H), True = kept.
        path: File to write.
        sliced: Cut the pruned heads out; otherwise they are zero.

    Raises:
        ModelError: A package is missing, torch cannot export the architecture, or the file cannot
            be written.
        SettingsError: The mask does not fit the model.
        UnsupportedModelError: The type has no ONNX form, or onnxruntime computes something else.
    """
    require_onnx(str(loaded.model.config.model_type))
    model = copy.deepcopy(loaded.model).eval().cpu()
    (slice_heads if sliced else zero_heads)(model, mask)
    batches = [_batch(loaded, texts) for texts in SAMPLES]
    names = tuple(batches[0])
    sizes = {0: torch.export.Dim("batch")}
    if "input_ids" in names:
        sizes[1] = torch.export.Dim("sequence")
    what = f"{type(model).__name__} cannot be exported to ONNX"
    with (
        as_model_error(what, remedy="export it without ONNX"),
        quiet_transformers(),
        _quiet_exporter(),
    ):
        program = torch.onnx.export(
            _Logits(model, names),
            args=tuple(batches[0].values()),
            input_names=names,
            output_names=["logits"],
            dynamic_shapes=((sizes,) * len(names),),
            dynamo=True,
            verbose=False,
        )
        assert program is not None  # with dynamo
    with writing(Path(path).parent):
        program.save(path)
    _compare(model, Path(path), batches)


class _Logits(nn.Module):
    """The model as a function from its inputs, in this order, to one tensor."""

    def __init__(self, model: PreTrainedModel, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def _batch(loaded: LoadedModel, texts: list[str]) -> dict[str, torch.Tensor]:
    """Return texts as the model's inputs; for a model of images, noise for each text."""
    model, tokenizer = loaded.model, loaded.tokenizer
    if model.config.model_type in IMAGE_TYPES:
        noise = torch.Generator().manual_seed(len(texts))
        shape = (len(texts), *sample_inputs(model, tokenizer)["pixel_values"].shape[1:])
        return {"pixel_values": torch.randn(shape, generator=noise)}
    batch = tokenizer(*as_arguments(texts), padding=True, truncation=True, return_tensors="pt")
    return {name: batch[name] for name in tokenizer.model_input_names if name in batch}


def _compare(model: PreTrainedModel, path: Path, batches: list[dict[str, torch.Tensor]]) -> None:
    import onnxruntime  # noqa: PLC0415 - optional

    session: Any = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in batches:
        (answer,) = session.run(["logits"], {name: value.numpy() for name, value in batch.items()})
        with torch.no_grad():
            expected = model(**batch).logits
        if not torch.allclose(torch.from_numpy(answer), expected, rtol=1e-3, atol=1e-4):
            path.unlink()
            raise UnsupportedModelError(
                f"onnxruntime does not compute what {type(model).__name__} does",
                expected=expected.tolist(),
                actual=answer.tolist(),
                remedy="export it without ONNX, and report this as an issue",
            )


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep torch's exporter from reporting its own deprecations and missing extras."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
