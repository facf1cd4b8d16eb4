"""The table of environment ids."""

import gymnasium as gym

ENTRY_POINT = "prune_env.env:HeadPruningEnv"
VECTOR_ENTRY_POINT = "prune_env.vector:HeadPruningVectorEnv"

ENVIRONMENTS: dict[str, tuple[str, int, dict[str, object]]] = {
    "prune_env/HeadPruning-v0": (
        "Any classifier and clean data: model=folder or name, data=file or name",
        500,
        {},
    ),
    "prune_env/MiniLM-v0": (
        "The backdoored MiniLM of the demo (72 heads) on Rotten Tomatoes, made at first use",
        200,
        {"model": "minilm-demo"},
    ),
    "prune_env/Tiny-v0": (
        "A tiny BERT with a planted backdoor, trained at first use in under a minute",
        50,
        {"model": "tiny"},
    ),
    "prune_env/Landscape-v0": (
        "No transformer: a synthetic accuracy landscape, thousands of steps a second",
        200,
        {"model": "landscape"},
    ),
}
"""Line of help, `max_episode_steps` and default arguments of every id."""


def register_environments() -> None:
    """Register every id with Gymnasium; a second call changes nothing."""
    for id_, (_, max_episode_steps, kwargs) in ENVIRONMENTS.items():
        if id_ not in gym.registry:
            gym.register(
                id_,
                entry_point=ENTRY_POINT,
                vector_entry_point=VECTOR_ENTRY_POINT,
                max_episode_steps=max_episode_steps,
                kwargs=kwargs,
            )
