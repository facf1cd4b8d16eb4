"""A model from the files of a folder that has passed `find_problems`: config, weights, module."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import CONFIG_MAPPING, PreTrainedConfig, PreTrainedModel

from prune_env.errors import GET_AGAIN, ModelError
from prune_env.models.architectures import VISION_TOWER
from prune_env.models.classification import HARMLESS_KEYS, HeadPlan, classifier_class
from prune_env.models.config_rules import with_label_names
from prune_env.models.quiet import as_model_error, quiet_transformers
from prune_env.models.source import read_config, weight_files

SAVE_AGAIN = "save the whole model again with save_pretrained, pooler included"


def build_config(folder: Path) -> PreTrainedConfig:
    """Return the configuration of a folder that has passed `find_problems`.

    Raises:
        ModelError: Its values are not valid for the architecture.
    """
    path = folder / "config.json"
    content = with_label_names(read_config(path))
    if content["model_type"] == VISION_TOWER:
        content = {
            "model_type": "clip",
            "architectures": content.get("architectures"),
            "vision_config": content,
        }
    what = f"{path} is not a valid {content['model_type']} configuration"
    with as_model_error(what, remedy=GET_AGAIN), quiet_transformers():
        config: PreTrainedConfig = CONFIG_MAPPING[content["model_type"]].from_dict(content)
    # These change what a forward pass returns, and nothing of what it computes.
    config.return_dict = True
    config.output_attentions = False
    config.output_hidden_states = False
    return config


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return every weight in the safetensors files of a folder, by name, mapped from the disk.

    Raises:
        ModelError: Two files hold one weight, or a weight is not floating-point.
    """
    weights: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        for name, tensor in load_file(path).items():
            if name in weights:
                raise ModelError(
                    f"{path} holds the weight {name}, which another file holds too",
                    expected="each weight once",
                    remedy=GET_AGAIN,
                )
            if HARMLESS_KEYS.search(name):
                continue
            if not tensor.is_floating_point():
                raise ModelError(
                    f"{path} holds the weight {name} as {tensor.dtype}",
                    expected="floating-point weights",
                    remedy="load a model that is not quantized",
                )
            weights[name] = tensor
    if read_config(folder / "config.json")["model_type"] == VISION_TOWER:
        return {_key_in_clip(key): tensor for key, tensor in weights.items()}
    return weights


def build_model(
    source: str,
    config: PreTrainedConfig,
    weights: dict[str, torch.Tensor],
    plan: HeadPlan,
    *,
    seed: int,
    attn_implementation: str,
) -> PreTrainedModel:
    """Return a classifier with the weights of its files, and a new head if that is planned.

    Args:
        source: The model, for messages.
        config: Its configuration.
        weights: The weights in the files, by name.
        plan: Whether the head is new.
        seed: Of a new head; the global random state is left alone.
        attn_implementation: "sdpa" or "eager"; what has no sdpa is built as eager.

    Raises:
        ModelError: The weights are not exactly those of the architecture.
    """
    # Copies, so that a model never changes or vanishes with the file that is mapped into memory.
    kept = {
        name: tensor.clone()
        for name, tensor in weights.items()
        if not (plan.new and name in plan.keys)
    }
    model_class = classifier_class(config)
    attention = attn_implementation if model_class._supports_sdpa else "eager"
    load: Any = model_class.from_pretrained
    misfit = f"The weights of {source} do not fit its config.json"
    with as_model_error(misfit, remedy=SAVE_AGAIN), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # A name of None: no file is looked up, whatever the config says.
        model, info = load(
            None,
            config=config,
            state_dict=kept,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are named below, as an error
            dtype=torch.float32,
            attn_implementation=attention,
        )
    missing = {key for key in info["missing_keys"] if not (plan.new and key in plan.keys)}
    unexpected = {key for key in info["unexpected_keys"] if not plan.may_be_spare(key)}
    for kind, keys in (
        ("missing", missing),
        ("unexpected", unexpected),
        ("of another shape", {key[0] for key in info["mismatched_keys"]}),
    ):
        if keys:
            raise ModelError(
                misfit,
                expected="each weight of the architecture, once, in its shape",
                actual=f"{len(keys)} weights {kind}: {', '.join(sorted(keys)[:5])}",
                remedy=SAVE_AGAIN,
            )
    classifier: PreTrainedModel = model.eval()
    return classifier


def _key_in_clip(key: str) -> str:
    """Return the name in a CLIP model of a weight of its vision tower, saved alone."""
    # Older releases of transformers wrote the prefix themselves.
    return key if key.startswith(("vision_model.", "visual_projection.")) else f"vision_model.{key}"
