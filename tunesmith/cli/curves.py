"""A loss curve in letters."""

import math
from collections.abc import Sequence

Points = list[tuple[int, float]]  # step, value

_TRAINING, _VALIDATION = "·", "o"


def curve(training: Points, validation: Points, width: int, height: int) -> list[str]:
    """Lines of at most `width` letters: the training loss in dots, the validation loss in circles.

    Where more steps fall into one column, it is their mean that is drawn. Where the loss falls by
    more than ten times, heights are those of its logarithm.
    """
    values = [value for _, value in (*training, *validation)]
    low, high = min(values), max(values)
    scale = math.log if 0 < low * 10 < high else float
    first, last = training[0][0], max(training[-1][0], training[0][0] + 1)
    labels = [f"{high:.3g} ", *[""] * (height - 2), f"{low:.3g} "]
    margin = max(len(label) for label in labels)
    columns = max(2, width - margin - 1)
    canvas = [[" "] * columns for _ in range(height)]
    for points, letter in ((training, _TRAINING), (validation, _VALIDATION)):
        for column, value in _by_column(points, first, last, columns):
            span = scale(high) - scale(low)
            share = (scale(value) - scale(low)) / span if span > 0 else 0.0
            canvas[round((1 - share) * (height - 1))][column] = letter
    lines = [f"{label:>{margin}}|{''.join(row)}" for label, row in zip(labels, canvas, strict=True)]
    ends = f"{first}{last:>{columns - len(str(first))}}"
    legend = f"  {_TRAINING} training" + (f"  {_VALIDATION} validation" if validation else "")
    axis = "loss by step" + (", logarithmic" if scale is math.log else "")
    return [*lines, f"{'':>{margin}} {ends}", f"{'':>{margin}}{legend} {axis}"]


def _by_column(
    points: Sequence[tuple[int, float]], first: int, last: int, columns: int
) -> list[tuple[int, float]]:
    sums: dict[int, list[float]] = {}
    for step, value in points:
        column = (step - first) * (columns - 1) // (last - first)
        if 0 <= column < columns:
            sums.setdefault(column, []).append(value)
    return [(column, sum(values) / len(values)) for column, values in sums.items()]
