"""Fine-tuning a classifier on clean (or, for an attack, poisoned) sentences."""

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.tensorboard import SummaryWriter
from transformers import (
    DataCollatorWithPadding,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.integrations.integration_utils import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint

from prune_env.data.dataset import TextDataset
from prune_env.errors import DivergedError
from prune_env.models.gates import HeadGates
from prune_env.models.inputs import ImageRows, TokenRows, check_kind, reads_images
from prune_env.settings import FineTuneSettings
from prune_env.training.averaging import WeightAverage
from prune_env.training.batches import parts_of_batch
from prune_env.training.rows_read import only_rows_read
from prune_env.utils.memory import give_back
from prune_env.utils.progress import progress
from prune_env.utils.runtime import pick_device, use_bf16

log = logging.getLogger(__name__)
Penalty = Callable[[PreTrainedModel, dict[str, torch.Tensor], Any], torch.Tensor]
"""`penalty(model, inputs, outputs)` returns a scalar; `inputs` is the batch with its labels."""
Change = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
"""Takes a batch with its labels, and returns what the model shall read in its place."""


@dataclass(frozen=True)
class TrainResult:
    """What a fine-tuning did.

    Attributes:
        steps: Optimiser steps.
        loss: Mean training loss of the run.
        seconds: Wall time.
        truncated: Sentences longer than `max_length` tokens.
    """

    steps: int
    loss: float
    seconds: float
    truncated: int


def fine_tune(
    model: PreTrainedModel,
    tokenizer: Any,
    dataset: TextDataset,
    settings: FineTuneSettings,
    *,
    seed: int = 0,
    folder: Path | None = None,
    resumable: bool = False,
    mask: npt.NDArray[np.bool_] | None = None,
    penalty: Penalty | None = None,
    change: Change | None = None,
    average: float = 0.0,
    description: str = "Fine-tuning",
) -> TrainResult:
    """Fine-tune `model` in place on the Trainer of transformers; it is left in eval mode.

    Args:
        model: A sequence classifier; only parameters with `requires_grad` are trained.
        tokenizer: Its tokenizer, or its image processor.
        dataset: Sentences and labels, or images and labels.
        settings: Hyperparameters.
        seed: Of the order of the batches and of dropout.
        folder: Where TensorBoard events and checkpoints go; None leaves nothing on disk.
        resumable: Save a checkpoint in `folder` after each epoch, and go on from the newest.
        mask: Bool (L, H), True = kept; pruned heads stay closed while the rest is trained.
        penalty: Added to the loss.
        change: Of every batch, before the model reads it.
        average: Share of the steps, the last, whose weights are averaged, at a rate that stays.
        description: Text of the progress bar.

    Returns:
        Steps, loss, time, truncated sentences.

    Raises:
        DivergedError: The loss became NaN or Inf. The model is then spoilt and must be dropped.
        DataError: The model reads images and the data holds texts, or the other way round.
    """
    features, truncated, collator = _read(tokenizer, dataset, settings.max_length)
    steps = settings.epochs * -(-len(dataset) // settings.batch_size)
    save = resumable and folder is not None
    with (
        _place_of(folder) as output,
        progress(description, steps) as bar,
        _left_as_found(model, mask),
        nullcontext() if save else only_rows_read(model, features, tokenizer),
        _write_events(folder) as written,
    ):
        arguments = _arguments(settings, output, steps, seed=seed, save=save, steady=average > 0)
        _set_batches(arguments, model, features)
        steps, loss, metrics = _Trainer(
            penalty=penalty,
            change=change,
            model=model,
            args=arguments,
            train_dataset=features,
            data_collator=collator,
            callbacks=[_Advance(bar), *written, *([WeightAverage(average)] if average else [])],
        ).train(resume_from_checkpoint=get_last_checkpoint(output) if save else None)
    return TrainResult(steps, float(loss), metrics["train_runtime"], truncated)


def _place_of(folder: Path | None) -> AbstractContextManager[str]:
    """Return the folder that the Trainer writes to; without one, one that does not stay."""
    return tempfile.TemporaryDirectory() if folder is None else nullcontext(str(folder))


@contextmanager
def _write_events(folder: Path | None) -> Iterator[list[TrainerCallback]]:
    """Give what writes TensorBoard events into the folder, if there is one."""
    if folder is None:
        yield []
        return
    with SummaryWriter(folder / "tensorboard") as writer:  # closed by a training that ends alone
        yield [TensorBoardCallback(writer)]


@contextmanager
def _left_as_found(model: PreTrainedModel, mask: npt.NDArray[np.bool_] | None) -> Iterator[None]:
    """Close pruned heads for the body; what it hung on the model is gone afterwards.

    Memory is given back on either side of it: of what came before, since moments and gradients come
    on top of it, and of these.
    """
    give_back()
    gates = HeadGates(model) if mask is not None else None
    cached = getattr(model.config, "use_cache", None)  # which the Trainer turns off
    try:
        if gates is not None:
            gates.set(mask)
        with warnings.catch_warnings():
            # torch warns about its own scheduler order on the first step under accelerate.
            warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
            yield
    finally:
        if gates is not None:
            gates.remove()
        # accelerate leaves its bf16 autocast round `forward`: whoever measures the model
        # afterwards would measure it in bf16. And it leaves a mark, at which it would not put the
        # autocast on again: the next fine-tuning would take twice the time, in fp32.
        for name in ("forward", "_original_forward", "_is_accelerate_prepared"):
            vars(model).pop(name, None)
        if cached is not None:
            model.config.use_cache = cached
        model.eval()
        give_back()


def _arguments(
    settings: FineTuneSettings,
    output: str,
    steps: int,
    *,
    seed: int,
    save: bool,
    steady: bool,
) -> TrainingArguments:
    """Return what the Trainer of transformers is told."""
    place = pick_device()
    return TrainingArguments(
        output_dir=output,
        seed=seed,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant" if steady else "linear",
        per_device_train_batch_size=settings.batch_size,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=use_bf16(settings.precision, place),
        use_cpu=place.type == "cpu",
        dataloader_pin_memory=place.type == "cuda",
        save_strategy="epoch" if save else "no",
        save_total_limit=2,
        logging_steps=max(1, steps // 50),
        # Losses as they are, no bar and no reporter but our own.
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
    )


def _set_batches(
    arguments: TrainingArguments, model: PreTrainedModel, features: list[dict[str, Any]]
) -> None:
    """Put texts of similar length together, and have batches trained in parts if they are large."""
    lengths = [len(row["input_ids"]) for row in features if "input_ids" in row]
    arguments.train_sampling_strategy = "group_by_length" if lengths else "random"
    if lengths and arguments.device.type == "cpu":
        parts = parts_of_batch(model, arguments.per_device_train_batch_size, max(lengths))
        arguments.gradient_accumulation_steps = parts
        arguments.per_device_train_batch_size //= parts


class _Trainer(Trainer):
    """The Trainer with a penalty on the loss, which stops at the first loss that is not finite."""

    def __init__(
        self,
        *,
        args: TrainingArguments,
        penalty: Penalty | None,
        change: Change | None,
        **kwargs: Any,
    ) -> None:
        # Of several GPUs one is used: copies of the model would lack the gates that close heads,
        # and multiply the batch.
        args._n_gpu = min(args.n_gpu, 1)
        super().__init__(args=args, **kwargs)
        self._penalty, self._change = penalty, change
        # The loss is the mean over a part of a batch; the Trainer shall make the mean of the parts.
        self.model_accepts_loss_kwargs = False
        # The default printer writes every log line as a dict to stdout, where --json goes.
        self.remove_callback(PrinterCallback)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        if self._change is not None:
            inputs = self._change(inputs)
        outputs = model(**inputs)
        loss = outputs.loss
        if self._penalty is not None:
            loss = loss + self._penalty(cast(PreTrainedModel, model), inputs, outputs)
        if not torch.isfinite(loss):
            raise DivergedError(
                f"The training loss became {loss.item()} at step {self.state.global_step}",
                expected="a finite loss",
                actual=f"learning rate {self.args.learning_rate:g}",
                remedy="lower the learning rate, or check the data and the model's weights",
            )
        return (loss, outputs) if return_outputs else loss


class _Advance(TrainerCallback):
    """Tells the progress bar how many steps are done."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._advance(state.global_step)


class _Pixels:
    """Makes a batch of images from their paths, as they are needed."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows = ImageRows([each["pixel_values"] for each in features], self._processor)
        batch = rows.batch(np.arange(len(rows)), torch.device("cpu"))
        return {**batch, "labels": torch.tensor([each["labels"] for each in features])}


def _read(
    tokenizer: Any, dataset: TextDataset, max_length: int
) -> tuple[list[dict[str, Any]], int, Callable[[list[dict[str, Any]]], Any]]:
    """Return the rows to train on, how many texts are truncated, and what makes a batch of rows."""
    check_kind(tokenizer, dataset)
    if reads_images(tokenizer):
        pairs = zip(dataset.texts, dataset.labels.tolist(), strict=True)
        rows = [{"pixel_values": path, "labels": label} for path, label in pairs]
        return rows, 0, _Pixels(tokenizer)
    tokens = TokenRows(dataset.texts, tokenizer, max_length)
    if tokens.truncated:
        log.warning(
            "%s were truncated to %d tokens",
            f"{tokens.truncated:,} of {len(dataset):,} sentences",
            tokens.lengths.max(),
        )
    labels = dataset.labels.tolist()
    rows = [{**tokens.row(place), "labels": label} for place, label in enumerate(labels)]
    return rows, tokens.truncated, DataCollatorWithPadding(tokenizer)
