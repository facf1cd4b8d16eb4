"""What turns texts or images into a model's inputs: loaded, checked and fitted to the model."""

import logging
import math
import shutil
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedConfig, PreTrainedModel

from prune_env.errors import GET_AGAIN, ModelError
from prune_env.models.architectures import CAUSAL, IMAGE_TYPES, PADDED_POSITIONS
from prune_env.models.embeddings import token_embeddings
from prune_env.models.gates import check_gates
from prune_env.models.heads import find_heads
from prune_env.models.quiet import as_model_error, quiet_transformers, writing
from prune_env.models.tokenizer_files import PIECES
from prune_env.models.tokenizer_trial import try_file, try_tokenizer

log = logging.getLogger(__name__)

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", *PIECES)
IMAGE_FILES = ("preprocessor_config.json",)
SAVED_FILES = (
    *TOKENIZER_FILES,
    *IMAGE_FILES,
    "added_tokens.json",
    "merges.txt",
    "processor_config.json",
    "special_tokens_map.json",
    "tokenizer_config.json",
)
"""All that a tokenizer or an image processor needs on disk, and all that an export holds of it."""
ROUND_A_TEXT = 2
"""Tokens that most tokenizers put round a text: what is cut at so many holds no word of it."""
SAMPLE = "A short sentence to test every layer."


def load_processor(folder: Path, config: PreTrainedConfig) -> Any:
    """Return the tokenizer of a text model, or the image processor of an image model.

    Args:
        folder: Model folder that has passed `find_problems`.
        config: Its configuration.

    Raises:
        ModelError: The files are missing or damaged, or cut a text now one way and now another.
    """
    image = config.model_type in IMAGE_TYPES
    files = IMAGE_FILES if image else TOKENIZER_FILES
    if not any((folder / name).is_file() for name in files):
        raise ModelError(
            f"{folder} holds no {'image processor' if image else 'tokenizer'}",
            expected=f"one of {', '.join(files)}",
            remedy="save it into the folder with save_pretrained",
        )
    if not image:
        _require_converter(folder)
    fast = folder / "tokenizer.json"
    if not image and fast.is_file():
        try_file(fast)
    auto: Any = AutoImageProcessor if image else AutoTokenizer
    what = f"The {'image processor' if image else 'tokenizer'} in {folder} cannot be loaded"
    with as_model_error(what, remedy="save it again with save_pretrained"), quiet_transformers():
        processor = auto.from_pretrained(
            folder, config=config, local_files_only=True, trust_remote_code=False
        )
        _check_settled(folder, processor)
    if not image:
        try_tokenizer(processor, str(folder))
    return processor


def _require_converter(folder: Path) -> None:
    """Raise if a tokenizer is one of SentencePiece alone, and what reads it is not installed.

    Nothing is said of tokenizer.model, which may be one of tiktoken.
    """
    found = [name for name in TOKENIZER_FILES if (folder / name).is_file()]
    packages = ("sentencepiece", "google.protobuf")
    missing = [name for name in packages if not _is_installed(name)]
    if missing and set(found) <= set(PIECES) - {"tokenizer.model"}:
        raise ModelError(
            f"The tokenizer in {folder} is one of SentencePiece alone, {', '.join(found)}",
            expected="tokenizer.json beside it, or the packages sentencepiece and protobuf",
            actual=f"no {' and no '.join(missing)}",
            remedy="pip install sentencepiece protobuf; or, where they are, save it once with "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
        )


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of what it lies in
        return False


def _check_settled(folder: Path, processor: Any) -> None:
    """Raise if a tokenizer draws how it cuts a text: no result would be met again.

    Models of the library `tokenizers` draw by `dropout` (BPE) and by `alpha` (Unigram).
    """
    cutter = getattr(getattr(processor, "backend_tokenizer", None), "model", None)
    for name in ("dropout", "alpha"):
        value = getattr(cutter, name, None)
        if value:
            raise ModelError(
                f"The tokenizer in {folder} cuts the same text in several ways, at random",
                expected=f"no {name}",
                actual=f"{name} {value:.4g}",
                remedy=f"set {name} to null in its tokenizer.json; it is of use in training alone",
            )


def save_processor(processor: Any, folder: Path) -> None:
    """Write a tokenizer or an image processor into a model's folder: `SAVED_FILES`, nothing else.

    Libraries write more than a classifier reads, such as chat templates, each with the content of
    a file that the suspicious model's folder held under that name.
    """
    with writing(folder), TemporaryDirectory(dir=folder, prefix=".processor.") as temporary:
        processor.save_pretrained(temporary)
        for name in SAVED_FILES:
            path = Path(temporary) / name
            if path.is_file():
                shutil.move(path, folder / name)


def fit_processor(source: str, model: PreTrainedModel, processor: Any) -> None:
    """Make a tokenizer produce exactly what its model takes; an image processor stays as it is.

    Padding goes to the right, which is exact for encoders and causal decoders alike; a decoder
    without a padding token pads with its end token, as the pooling of the last token needs one;
    texts are cut at the positions that the model has.

    Args:
        source: The model, for messages.
        model: The classifier; its config learns the padding token.
        processor: Tokenizer or image processor.

    Raises:
        ModelError: A token is outside the embedding, there is no padding token or the model means
            another one, or texts would be cut to nothing.
    """
    if model.config.model_type in IMAGE_TYPES:
        return
    rows = len(token_embeddings(model))
    last = max(processor.get_vocab().values(), default=0)
    if last >= rows:
        raise ModelError(
            f"The tokenizer of {source} is not the model's",
            expected=f"tokens 0 to {rows - 1}",
            actual=last,
            remedy="put the model's own tokenizer into the folder",
        )
    _settle_padding(source, model, processor)
    words = [token for token in processor.all_special_tokens if token.isalnum()]
    if words:
        log.warning(
            "The tokenizer of %s calls a plain word special: %.80s", source, ", ".join(words)
        )
    if processor.truncation_side == "left":
        log.warning(
            "The tokenizer of %s keeps the end of a text that is too long (truncation_side left): "
            "here, and in what is written, its beginning is kept",
            source,
        )
    processor.padding_side = processor.truncation_side = "right"
    if model.config.model_type == "t5":
        # It pools at "</s>", of which every text of a batch must hold one, whatever is written.
        # Exports say so too.
        processor.split_special_tokens = processor.init_kwargs["split_special_tokens"] = True
    accepted = signature(model.forward).parameters
    processor.model_input_names = [name for name in processor.model_input_names if name in accepted]
    _settle_length(source, model, processor)


def _settle_length(source: str, model: PreTrainedModel, processor: Any) -> None:
    """Make a tokenizer cut texts where the model ends, or say why nothing of them would be left."""
    longest = processor.model_max_length
    if type(longest) not in (int, float) or not longest > ROUND_A_TEXT:
        raise ModelError(
            f"The tokenizer of {source} cuts texts at model_max_length {longest!r:.40}",
            expected="a number of tokens",
            remedy="correct it in tokenizer_config.json",
        )
    told = getattr(model.config, "max_position_embeddings", None)
    positions = told or math.inf
    if model.config.model_type in PADDED_POSITIONS:
        positions -= processor.pad_token_id + 1
    if not positions > ROUND_A_TEXT:
        raise ModelError(
            f"The model {source} has no position for a word of a text",
            expected=f"positions of more than {ROUND_A_TEXT} tokens",
            actual=f"{positions}, of max_position_embeddings {told}",
            remedy=GET_AGAIN,
        )
    limit = min(longest, positions)
    # The library takes no 512.0; of what has no end, T5's positions, there is no whole number.
    processor.model_max_length = limit if limit == math.inf else int(limit)


def _settle_padding(source: str, model: PreTrainedModel, processor: Any) -> None:
    """Make tokenizer and config.json mean one padding token, or say why they do not."""
    own = model.config.pad_token_id
    own = None if type(own) is int and own < 0 else own  # as old models say that there is none
    expected = f"one padding token, {'in the tokenizer' if own is None else own}"
    actual: object = processor.pad_token_id
    if processor.pad_token is None:
        actual = "none in the tokenizer"
        if own is None or own not in processor.all_special_ids:
            processor.pad_token = _spare_token(model, processor)
        else:
            processor.pad_token = processor.convert_ids_to_tokens(own)
        if processor.pad_token is not None:
            log.info("%s has no padding token: %r pads its batches.", source, processor.pad_token)
            own = processor.pad_token_id
    if processor.pad_token_id is None or own not in (None, processor.pad_token_id):
        raise ModelError(
            f"{source} does not say which token pads a batch",
            expected=expected,
            actual=actual,
            remedy="set the same pad_token in the tokenizer and pad_token_id in config.json",
        )
    model.config.pad_token_id = processor.pad_token_id


def _spare_token(model: PreTrainedModel, processor: Any) -> str | None:
    """Return a token that can pad: the end token, if texts do not end with it.

    A decoder answers at the last token that is not padding. Where the tokenizer puts the end token
    behind each text, that is where it learned to answer.
    """
    end: str | None = processor.eos_token
    if model.config.model_type not in CAUSAL:
        return end
    if processor(SAMPLE)["input_ids"][-1:] != [processor.eos_token_id]:
        return end
    special = (processor.bos_token, processor.unk_token, *processor.all_special_tokens)
    return next((each for each in special if each not in (None, end)), None)


def sample_inputs(model: PreTrainedModel, processor: Any) -> dict[str, torch.Tensor]:
    """Return one fixed sample as the model's inputs: a sentence, or an image of noise."""
    if model.config.model_type in IMAGE_TYPES:
        pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        return {"pixel_values": processor(images=[pixels], return_tensors="pt")["pixel_values"]}
    batch = processor(SAMPLE, truncation=True, return_tensors="pt")
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def self_test(source: str, model: PreTrainedModel, processor: Any) -> None:
    """Run the model once, with every layer closed in turn.

    Raises:
        ModelError: It cannot run, or answers NaN or Inf.
        UnsupportedModelError: Its heads do not react to gates.
    """
    what = f"The model {source} cannot run on a sample"
    with as_model_error(what, remedy=GET_AGAIN):
        sample = sample_inputs(model, processor)
        inputs = sample[str(model.main_input_name)]
        check_gates(model, find_heads(model), inputs, sample.get("attention_mask"))
