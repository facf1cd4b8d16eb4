"""The set network in the shape that Stable-Baselines3 expects of a `MultiInputPolicy`."""

from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor, nn

from prune_env.agents.sb3.network import SetNetwork
from prune_env.env.observation import DEFAULT_OBSERVATION, flat_parts, require_parts
from prune_env.errors import SettingsError


class SetFeatures(BaseFeaturesExtractor):
    """The whole set network as a features extractor: its features are the logits and the value.

    Args:
        observation_space: The environment's `Dict`.
        width: Size of a token.

    Raises:
        SettingsError: It lacks a part that the network reads, or the parts are flat or stacked.
    """

    def __init__(self, observation_space: spaces.Dict, width: int = 64) -> None:
        require_parts(type(self).__name__, DEFAULT_OBSERVATION, observation_space)
        shape = observation_space["importance"].shape or ()
        if len(shape) != 3:
            raise flat_parts()
        layers, heads, metrics = shape
        if observation_space["mask"].shape != (layers, heads):
            raise SettingsError(
                "This policy reads one observation, and several are stacked",
                expected=f"mask ({layers}, {heads})",
                actual=f"mask {observation_space['mask'].shape}",
                remedy="leave VecFrameStack out: an observation tells all, or use MultiInputPolicy",
            )
        super().__init__(observation_space, features_dim=layers * heads + 2)
        self.network = SetNetwork(metrics, width)

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        """Return (N, L * H + 2): a logit per action, then the value of the state."""
        logits, value = self.network(observation)
        return torch.cat([logits, value[:, None]], dim=1)


class _Columns(nn.Module):
    """Takes a part of the features: where other policies have a last linear layer."""

    def __init__(self, columns: slice) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, features: Tensor) -> Tensor:
        return features[:, self.columns]


def _build_over_set(policy: Any, lr_schedule: Schedule) -> None:
    """Put logits and value of the set network where an actor-critic policy looks for them."""
    policy._build_mlp_extractor()  # of no layers
    policy.action_net = _Columns(slice(None, -1))
    policy.value_net = _Columns(slice(-1, None))
    policy.optimizer = policy.optimizer_class(
        policy.parameters(), lr=lr_schedule(1), **policy.optimizer_kwargs
    )


def _with_set_features(arguments: dict[str, Any], width: int) -> dict[str, Any]:
    return arguments | {
        "net_arch": [],
        "features_extractor_class": SetFeatures,
        "features_extractor_kwargs": {"width": width},
    }


class _RemembersWidth:
    """Mixed into a policy: what is saved of it by itself is loaded at the width that it has."""

    features_extractor_kwargs: dict[str, Any]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        parameters: dict[str, Any] = super()._get_constructor_parameters()  # type: ignore[misc]
        return parameters | {"width": self.features_extractor_kwargs["width"]}


class SetActorCriticPolicy(_RemembersWidth, MultiInputActorCriticPolicy):
    """`MultiInputPolicy` of PPO and A2C over `SetNetwork`.

    Args:
        *spaces_and_schedule: As Stable-Baselines3 gives them.
        width: Size of a token.
        **arguments: As Stable-Baselines3 gives them.
    """

    def __init__(self, *spaces_and_schedule: Any, width: int = 64, **arguments: Any) -> None:
        super().__init__(*spaces_and_schedule, **_with_set_features(arguments, width))

    def _build(self, lr_schedule: Schedule) -> None:
        _build_over_set(self, lr_schedule)


class MaskableSetPolicy(_RemembersWidth, MaskableMultiInputActorCriticPolicy):
    """`MultiInputPolicy` of MaskablePPO over `SetNetwork`; arguments as `SetActorCriticPolicy`."""

    def __init__(self, *spaces_and_schedule: Any, width: int = 64, **arguments: Any) -> None:
        super().__init__(*spaces_and_schedule, **_with_set_features(arguments, width))

    def _build(self, lr_schedule: Schedule) -> None:
        _build_over_set(self, lr_schedule)


class SetQNetwork(QNetwork):
    """Action values as the state's value plus each action's advantage.

    Source: Wang et al., Dueling Network Architectures, 2016, without the subtracted mean.
    """

    def forward(self, obs: PyTorchObs) -> Tensor:
        """Return the action values, (N, L * H + 1)."""
        features = self.extract_features(obs, self.features_extractor)
        return features[:, :-1] + features[:, -1:]


class SetQPolicy(_RemembersWidth, DQNPolicy):
    """`MultiInputPolicy` of DQN over `SetNetwork`; arguments as `SetActorCriticPolicy`."""

    def __init__(self, *spaces_and_schedule: Any, width: int = 64, **arguments: Any) -> None:
        super().__init__(*spaces_and_schedule, **_with_set_features(arguments, width))

    def make_q_net(self) -> SetQNetwork:
        """Return a network for the values or for their slow copy."""
        network = SetQNetwork(**self._update_features_extractor(self.net_args))
        network.q_net = nn.Sequential()  # the set network has no layer after it
        return network.to(self.device)
