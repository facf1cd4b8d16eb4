"""The columns of importance that say what kind of unit it is, and where."""

import numpy as np
import numpy.typing as npt

from prune_env.models.units import KINDS, Units


def unit_features(units: Units) -> dict[str, npt.NDArray[np.float64]]:
    """Return the `UNIT_FEATURES` of every unit by name, float64 (L, W) each."""
    layers, columns = units.shape
    kinds = units.kinds()
    steps = np.zeros(columns)
    steps[kinds == KINDS.index("map")] = np.tile(np.arange(1, units.steps + 1), units.maps)
    rows = {
        "is_neurons": kinds == KINDS.index("neurons"),
        "is_map": kinds == KINDS.index("map"),
        "step": steps,
    }
    depth = np.arange(layers, dtype=np.float64)[:, None]
    return {
        **{name: np.tile(np.asarray(row, np.float64), (layers, 1)) for name, row in rows.items()},
        "depth": np.repeat(depth, columns, 1),
    }
