"""The environment for one episode at a time."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from prune_env.data.table_format import Named
from prune_env.env.arguments import unit_settings
from prune_env.env.batch_core import BatchCore, Info
from prune_env.env.episode_settings import EpisodeSettings
from prune_env.env.episode_view import EpisodeView
from prune_env.env.factory import make_core
from prune_env.env.observation import DEFAULT_OBSERVATION
from prune_env.env.policy import Observation
from prune_env.env.render import MODES, check_mode, draw
from prune_env.env.replay import Validation, restore, state_of, validate
from prune_env.env.rewards.reward import Reward, WeightedSum
from prune_env.env.state import State
from prune_env.env.subject import Subject
from prune_env.env.window import Window, can_open
from prune_env.importance import DEFAULT_METRICS
from prune_env.settings import Guard

if TYPE_CHECKING:
    from prune_env.evaluation import Evaluator


class HeadPruningEnv(EpisodeView, gym.Env[Observation, np.int64]):
    """Prune attention heads of a suspicious text classifier while its accuracy holds.

    ## Description

    A defender has a text classifier that may hold a backdoor, and clean labelled sentences, but no
    trigger and no clean reference model. Pruning the right heads can remove a backdoor. An episode
    starts with all; every action prunes one, or stops. Clean accuracy must stay at `tau` or above.

    The paper prunes in groups: with `prune_step=k` the accuracy is looked at after every k heads.
    If it is below `tau`, the heads of the group are restored, the last pruned first, until `tau`
    holds, and the episode ends. Heads that were not looked at yet show in the observation, but
    `info["mask"]` leaves them out: whatever ends an episode, a time limit in the middle of a
    group included, the mask that it leaves satisfies `tau`, if the unpruned model does.

    ## Action Space

    `Discrete(L * H + 1)` for L layers of H heads. Action `layer * H + head` prunes that head,
    `L * H` is STOP. Legal are STOP, always, and kept heads of layers that have more than
    `min_heads_per_layer`. An illegal action (a pruned head, out of range, not a whole number)
    changes nothing, pays 0 less `illegal_penalty` and is reported in `info["illegal"]`; with
    `end_on_illegal` it ends the episode. `info["action_mask"]` and `action_masks()` tell what is
    legal.

    ## Observation Space

    A `Dict` of `Box`es, float32; `observation=` chooses its parts (`prune_env.OBSERVATIONS`), and
    `flat=True` lays each out as one vector, for networks and checkers that expect vectors:

    | key | shape | values |
    |---|---|---|
    | `mask` | (L, H) | 1 = kept, 0 = pruned or no such head |
    | `importance` | (L, H, M) | each metric standardised over the model's heads, in [-10, 10] |
    | `status` | (4,) | accuracy, accuracy - tau, share of heads pruned, share of budget left |
    | `legal` | (L * H + 1,) | 1 = the action is legal (not shown by default) |

    ## Rewards

    A step pays the rise of a score of the mask (`prune_env.REWARDS`), so the return is the score
    of the mask that the episode leaves minus that of the unpruned model, and idling earns
    nothing. Sums are written `"sparsity + 0.5 * accuracy"`; an `oracle` reads triggered texts, so
    it is given as an object only, and refused where a defence is asked for.

    ## Starting State

    All heads are kept. Of a `pool`, `reset(options={"model": name})` chooses the model, or chance.
    Smaller models are padded to the largest, and the padding is illegal.

    ## Episode End

    The episode terminates at STOP, after a group that broke `tau`, when `max_evaluations` is
    spent, and at an illegal action if `end_on_illegal`; `TimeLimit` alone truncates. Of a model
    below `tau` unpruned, only STOP is legal.

    ## Information

    | key | type | meaning |
    |---|---|---|
    | `action_mask` | int8 (L * H + 1,) | 1 = legal |
    | `mask` | bool (L, H) | True = kept; the mask that the episode leaves if it is cut off now |
    | `accuracy` | float | on clean validation data under `mask`, as `guard` counts it |
    | `tau` | float | least accuracy |
    | `heads_pruned` | int | in `mask` |
    | `unchecked` | int | heads pruned since the accuracy was looked at |
    | `evaluations` | int | masks scored in this episode |
    | `illegal` | str | why the action was refused, or empty |
    | `ended` | str | `stop`, `tau`, `budget`, `illegal`, or empty |
    | `is_success` | bool | `mask` satisfies `tau` and prunes `success_share` of all units |
    | `model` | str | name of the model that is played |
    | `reward_terms` | dict | share of every term in the reward, and of the penalty: `illegal` |

    ## Arguments

    Plain values, for `gym.make` and `EnvSpec.to_json`; objects for the constructor.

    | argument | default | meaning |
    |---|---|---|
    | `model` | | folder or name of a classifier, a ready-made name, or a `Subject` |
    | `data` | | file, folder or name of clean data; or that as `name` with a `TableFormat` |
    | `evaluator`, `importance` | | in place of `model`: an `Evaluator` and an array (L, H, M) |
    | `pool` | | in place of `model`: several models, of which each episode draws one |
    | `metrics` | the 4 of `DEFAULT_METRICS` | importance metrics, by name |
    | `tau` | 0.85 | least accuracy; None: that of the unpruned model minus `max_drop` |
    | `max_drop` | 0.03 | accuracy that may be lost where `tau` is None |
    | `reward` | `"sparsity"` | name, sum of names, or a `Reward` |
    | `observation` | `"mask,importance,status"` | parts of the observation |
    | `flat` | False | lay each part of the observation out as one vector |
    | `prune_step` | 1 | heads between two looks at the accuracy (10 in the paper) |
    | `backtrack` | True | restore a failed group head by head, or else all at once |
    | `min_heads_per_layer` | 1 | heads that every layer keeps |
    | `max_evaluations` | None | masks that may be scored in an episode |
    | `guard` | `"auto"` | what counts as accuracy, see `prune_env.evaluation.guard` |
    | `end_on_illegal` | False | an illegal action ends the episode |
    | `illegal_penalty` | 0 | what an illegal action takes from the return |
    | `success_share` | 0.25 | least share of units that a success prunes; random play: 0.22 |
    | `neuron_groups`, `map_steps` | 0, 0 | units beside heads, see docs/hybrid.md |
    | `recorded` | False | play recorded models alone: without the model, without torch |
    | `render_mode` | None | `ansi`, `rgb_array` or `human` (a window, extra `render`) |

    ```python
    >>> import gymnasium as gym, prune_env
    >>> env = gym.make("prune_env/Landscape-v0", tau=0.8)
    >>> observation, info = env.reset(seed=0)
    >>> env.action_space
    Discrete(73)
    >>> observation, reward, terminated, truncated, info = env.step(7)
    >>> info["heads_pruned"], info["illegal"], info["accuracy"] >= 0.8
    (1, '', True)
    >>> env.step(7)[4]["illegal"]
    'already pruned'
    >>> _, _, terminated, _, info = env.step(72)
    >>> terminated, info["ended"]
    (True, 'stop')

    ```

    ## Version History

    * v0: First version.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": [*MODES, "human"],
        "render_fps": 4,
    }

    def __init__(
        self,
        model: str | Subject | None = None,
        data: Named | None = None,
        *,
        evaluator: "Evaluator | None" = None,
        importance: npt.ArrayLike | None = None,
        pool: Sequence[str | Subject] | None = None,
        metrics: str | Sequence[str] = DEFAULT_METRICS,
        tau: float | None = 0.85,
        max_drop: float = 0.03,
        reward: str | Reward | WeightedSum = "sparsity",
        observation: str | Sequence[str] = DEFAULT_OBSERVATION,
        flat: bool = False,
        prune_step: int = 1,
        backtrack: bool = True,
        min_heads_per_layer: int = 1,
        max_evaluations: int | None = None,
        guard: Guard = "auto",
        end_on_illegal: bool = False,
        success_share: float = 0.25,
        illegal_penalty: float = 0.0,
        neuron_groups: int = 0,
        map_steps: int = 0,
        recorded: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self._window = Window(self.metadata["render_fps"]) if render_mode == "human" else None
        if self._window is None:
            check_mode(render_mode)
            if not can_open():  # the class names it all the same, so that Gymnasium asks this class
                self.metadata = {**self.metadata, "render_modes": list(MODES)}  # type: ignore[misc]
        self.render_mode = render_mode
        self.core: BatchCore = make_core(
            model,
            data,
            evaluator=evaluator,
            importance=importance,
            pool=pool,
            metrics=metrics,
            reward=reward,
            observation=observation,
            flat=flat,
            settings=EpisodeSettings(
                tau=tau,
                max_drop=max_drop,
                prune_step=prune_step,
                backtrack=backtrack,
                min_heads_per_layer=min_heads_per_layer,
                max_evaluations=max_evaluations,
                end_on_illegal=end_on_illegal,
                success_share=success_share,
                illegal_penalty=illegal_penalty,
            ),
            guard=guard,
            units=unit_settings(neuron_groups, map_steps),
            recorded=recorded,
        )
        self.observation_space = self.core.observation_space
        self.action_space = self.core.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Begin an episode.

        Args:
            seed: Seeds the generator that draws models from a pool.
            options: `{"model": name or Subject}` plays this model instead.

        Returns:
            Observation and info.
        """
        super().reset(seed=seed)
        self.core.random[0] = self.np_random
        observation, info = self.core.reset(options=options)[0]
        if self._window is not None:
            self.render()
        return observation, info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        """Prune a head, or stop.

        Raises:
            StateError: There is no running episode.
        """
        outcome = self.core.step([action])[0]
        if self._window is not None:
            self.render()
        return outcome

    def render(self) -> Any:
        """Return a picture of the heads, in the mode `render_mode`.

        Returns:
            `ansi`: text with colours for a terminal; `rgb_array`: uint8 (480, 480, 3); None
            where no mode was chosen, and for `human`, which shows it in a window.
        """
        if self.render_mode is None:
            return None
        if self._window is not None:
            self._window.show(draw(self.episode, self.metrics, "rgb_array"))
            return None
        return draw(self.episode, self.metrics, self.render_mode)

    def close(self) -> None:
        """Close the window of `human`, if there is one."""
        if self._window is not None:
            self._window.close()

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return which actions are legal, bool (L * H + 1,), as MaskablePPO asks for it."""
        return self.episode.legal.copy()

    @property
    def state(self) -> State:
        """All that is needed to play this episode again, see `prune_env.env.state`."""
        return state_of(self)

    def validate(self, state: State) -> Validation:
        """Play a state again, in a fork of this environment, and say what differs."""
        return validate(state, self)

    def restore(self, state: State) -> tuple[Observation, Info]:
        """Go on from a state: its actions are played again here, and the next step follows them.

        What the state does not hold is as it was: the generator, and the count of a `TimeLimit`.

        Returns:
            Observation and info, as the last action gave them.

        Raises:
            StateError: Played here, it comes out otherwise; the environment is left as it was.
        """
        return restore(state, self)

    def fork(self) -> "HeadPruningEnv":
        """Return an independent environment in the same state; the model is shared."""
        return copy.deepcopy(self)
