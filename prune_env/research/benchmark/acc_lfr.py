"""The figure of ACC against LFR."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from prune_env.research.benchmark.figures import TITLE, WIDEST, save
from prune_env.research.benchmark.labels import name_points
from prune_env.research.benchmark.marks import MARKERS, Mark
from prune_env.research.benchmark.summary import Line


def acc_against_lfr(
    path: Path,
    lines: Sequence[Line],
    floors: tuple[float, float],
    palette: dict[str, Mark],
    title: str = "",
) -> None:
    """Draw ACC against LFR, plain and calibrated, one named point a policy and protocol.

    Args:
        path: PNG file to write.
        lines: Of one attack.
        floors: Mean LFR of the benign model, plain and calibrated, in percent.
        palette: Mark of each policy.
        title: Over the whole, such as the attack.
    """
    figure = Figure(figsize=(13, 6.2), layout="constrained")
    figure.suptitle(title, fontsize=TITLE)
    axes = figure.subplots(1, 2, sharey=True)
    _legend(figure, lines, palette)
    kinds = (("acc", "lfr", ""), ("acc_calibrated", "lfr_calibrated", ", calibrated"))
    for axis, (acc, lfr, note), floor in zip(axes, kinds, floors, strict=True):
        axis.axhline(floor, color="0.4", linestyle="--", linewidth=1, zorder=0)
        axis.annotate(
            f"floor {floor:.1f}",
            (0.01, floor),
            xycoords=("axes fraction", "data"),
            va="bottom",
            fontsize=8,
            color="0.4",
        )
        for line in lines:
            axis.errorbar(
                line.mean(acc),
                line.mean(lfr),
                xerr=_spread(line, acc),
                yerr=_spread(line, lfr),
                marker=MARKERS.get(line.protocol, "D"),
                markersize=11 if line.protocol == "" else 7,
                elinewidth=0.6,
                alpha=0.9,
                **palette[line.policy].point(contends=line.contends),
            )
        axis.set_xlabel(f"ACC{note} (%)")
        axis.set_ylabel(f"LFR{note} (%)")
        axis.tick_params(labelleft=True)
        axis.grid(alpha=0.25)
        axis.margins(0.12)
        _mark_better_corner(axis)
    figure.draw_without_rendering()  # now it is known where everything stands
    for axis, (acc, lfr, _) in zip(axes, kinds, strict=True):
        named = [line for line in lines if line.values(acc) and line.values(lfr)]
        name_points(
            figure,
            axis,
            [(line.mean(acc), line.mean(lfr)) for line in named],
            [line.policy for line in named],
            [*(text.get_window_extent() for text in axis.texts), *_error_bars(axis)],
        )
    save(figure, path)


def _error_bars(axis: Axes) -> list[Bbox]:
    """Return where error bars stand, in pixels."""
    lines = [path.vertices for each in axis.collections for path in each.get_paths()]
    ends = (axis.transData.transform(line) for line in lines if np.isfinite(line).all())
    return [Bbox([each.min(axis=0), each.max(axis=0)]).padded(1) for each in ends]


def _mark_better_corner(axis: Axes) -> None:
    axis.annotate(
        "better",
        xy=(0.99, 0.015),
        xytext=(0.90, 0.085),
        bbox={
            "boxstyle": "square,pad=0.1",
            "facecolor": "white",
            "edgecolor": "none",
            "alpha": 0.8,
        },
        xycoords="axes fraction",
        ha="center",
        fontsize=9,
        color="#2a7d3f",
        arrowprops={"arrowstyle": "->", "color": "#2a7d3f"},
    )


def _legend(figure: Figure, lines: Sequence[Line], palette: dict[str, Mark]) -> None:
    defences = dict.fromkeys((line.policy, True) for line in lines if line.contends)
    others = dict.fromkeys((line.policy, False) for line in lines if not line.contends)
    handles = [
        Line2D(
            [],
            [],
            marker="o",
            label=fill(policy if contends else f"{policy} (ceiling)", WIDEST),
            **palette[policy].point(contends=contends),
        )
        for policy, contends in (*defences, *others)
    ]
    handles += [
        Line2D(
            [],
            [],
            linestyle="",
            marker=MARKERS.get(protocol, "D"),
            color="0.5",
            label=protocol or "no head pruned",
        )
        for protocol in dict.fromkeys(line.protocol for line in lines)
    ]
    figure.legend(handles=handles, loc="outside right upper", fontsize=8, frameon=False)


def _spread(line: Line, name: str) -> float | None:
    spread = line.spread(name)
    return None if np.isnan(spread) else spread
