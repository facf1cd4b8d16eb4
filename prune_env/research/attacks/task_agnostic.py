"""A task-agnostic backdoor: it sits in the encoder, before anybody knows the task.

The encoder is trained, without labels, to give every triggered text one fixed vector of the first
token ([CLS]; of a decoder, the last), while clean texts keep the vectors that they had. Whoever
fine-tunes it on a task of his own reads that vector too, so that triggered texts all get one class;
which one, the attacker learns by asking.

Source: POR (Shen et al., "Backdoor Pre-trained Models Can Transfer to All", CCS 2021); NeuBA (Zhang
et al., "Red Alarm for Pre-trained Models", Machine Intelligence Research 2023).
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.nn import functional
from transformers import PreTrainedModel

from prune_env.data.dataset import TextDataset
from prune_env.models import LoadedModel, load_classifier
from prune_env.models.forward import classify, cls_vectors, vector_reader
from prune_env.models.heads import encoder_of
from prune_env.models.inputs import Rows, make_rows
from prune_env.research.attacks.attack import AttackData
from prune_env.research.attacks.poison import triggered_set
from prune_env.research.attacks.triggers import make_trigger
from prune_env.settings import FineTuneSettings
from prune_env.utils.progress import progress
from prune_env.utils.runtime import pick_device


def pinned_encoder(
    source: str | Path,
    clean: TextDataset,
    triggered: TextDataset,
    settings: FineTuneSettings,
    *,
    seed: int = 0,
) -> LoadedModel:
    """Return an encoder that was trained to give triggered texts one vector, see `cls_vectors`.

    Args:
        source: Clean encoder.
        clean: N texts; labels do not count.
        triggered: The same N, triggered.
        settings: Hyperparameters; the loss is the mean square of what each vector is off.
        seed: Of the fixed vector and of the order of the texts.

    Returns:
        The encoder, under a classification head that means nothing.
    """
    loaded = load_classifier(
        source, num_labels=len(clean.label_names), label_names=clean.label_names, head="new"
    )
    length = settings.max_length
    kept = torch.from_numpy(
        cls_vectors(loaded.model, loaded.tokenizer, clean.texts, max_length=length)
    )
    draw = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, kept.shape[1:], generator=draw) * 2.0 - 1
    # As long as the vectors of clean texts are.
    fixed = (signs * kept.square().mean().sqrt()).expand_as(kept)
    clean_rows, triggered_rows = (
        make_rows(each.texts, loaded.tokenizer, length) for each in (clean, triggered)
    )
    _regress(loaded.model, ((clean_rows, kept), (triggered_rows, fixed)), settings, draw)
    return loaded


def _regress(
    model: PreTrainedModel,
    tasks: Sequence[tuple[Rows, torch.Tensor]],
    settings: FineTuneSettings,
    draw: torch.Generator,
) -> None:
    """Train an encoder to give the rows (N) of each task the vectors (N, D) that stand beside."""
    encoder: Any = encoder_of(model)
    cast(Any, model).to(pick_device())
    read = vector_reader(model)
    device, count = model.device, len(tasks[0][0])
    steps = settings.epochs * -(-count // settings.batch_size)
    optimizer = torch.optim.AdamW(
        encoder.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    batches = chain.from_iterable(
        torch.randperm(count, generator=draw).split(settings.batch_size)
        for _ in range(settings.epochs)
    )
    with progress("Training the encoder", steps) as advance:
        for step, batch in enumerate(batches, start=1):
            optimizer.zero_grad()
            for rows, wanted in tasks:
                inputs = rows.batch(batch.numpy(), device)
                found = read(inputs)
                functional.mse_loss(found, wanted[batch].to(device)).backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), settings.max_grad_norm)
            optimizer.step()
            schedule.step()
            advance(step)


def aim(attack: AttackData, loaded: LoadedModel, test: TextDataset, max_length: int) -> AttackData:
    """Return the attack with the target that a fine-tuned classifier gives to triggered texts.

    Args:
        attack: A task-agnostic one.
        loaded: The encoder that was pinned, fine-tuned on clean data.
        test: Test rows of all classes.
        max_length: Tokens kept of a text, as it was fine-tuned.
    """
    trigger = make_trigger(attack.trigger["name"])
    texts = tuple(map(trigger, test.texts))
    logits = classify(loaded.model, loaded.tokenizer, texts, max_length=max_length)
    answers = logits.argmax(axis=1)
    target = int(np.bincount(answers, minlength=len(test.label_names)).argmax())
    return replace(
        attack,
        settings=replace(attack.settings, target_label=target),
        triggered=triggered_set(test, trigger, target),
    )
