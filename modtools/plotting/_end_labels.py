"""Names beside the ends of lines, moved apart where they would lie on each other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from modtools._escape import picture_text
from modtools.plotting._display import INK, root_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["EndLabel", "label_ends", "spread"]

_LABEL_INCHES = 0.19  # from one line of text to the next


class EndLabel(NamedTuple):
    """What is written beside the end (x, y) of a line, and the colour of its pointer."""

    text: str
    x: float
    y: float
    color: Any


def label_ends(ax: "Axes", ends: Sequence[EndLabel]) -> None:
    """Name each line right of the panel, at its height or as near as the other names allow.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where the lines are drawn; its limits stay as they are.
    ends : sequence of EndLabel
        Highest end first.
    """
    low, high = ax.get_ylim()
    inches = root_figure(ax).get_figheight() * ax.get_position().height
    heights = spread([end.y for end in ends], gap=(high - low) * _LABEL_INCHES / inches)
    line: dict[str, Any] = {"arrowstyle": "-", "linewidth": 0.8, "alpha": 0.5, "relpos": (0.0, 0.5)}
    for end, height in zip(ends, heights, strict=True):
        ax.annotate(
            picture_text(end.text),
            (end.x, end.y),
            xytext=(1.02, height),
            textcoords=ax.get_yaxis_transform(),
            va="center",
            color=INK,
            fontsize="small",
            annotation_clip=False,
            arrowprops={**line, "color": end.color},
        )
    ax.set_ylim(low, high)


def spread(values: Sequence[float], *, gap: float) -> list[float]:
    """Return the falling values moved apart to at least a gap, their mean kept within each heap.

    >>> spread([5.0, 5.0, 1.0], gap=1.0)
    [5.5, 4.5, 1.0]
    """
    heaps: list[list[float]] = []
    for value in values:
        heaps.append([value])
        # Heaps that touch become one, around the mean of what they hold.
        while len(heaps) > 1 and _lowest(heaps[-2], gap) - _highest(heaps[-1], gap) < gap:
            heaps[-2:] = [heaps[-2] + heaps[-1]]
    return [_highest(heap, gap) - gap * place for heap in heaps for place in range(len(heap))]


def _highest(heap: Sequence[float], gap: float) -> float:
    return float(np.mean(heap)) + gap * (len(heap) - 1) / 2


def _lowest(heap: Sequence[float], gap: float) -> float:
    return float(np.mean(heap)) - gap * (len(heap) - 1) / 2
