"""Bars as SVG, readable on light and dark pages."""

from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _BAR, _GAP, _LEFT, _RIGHT = 720, 18, 6, 230, 90
_STYLE = (
    "text{font:12px sans-serif;fill:#24292f}.title{font-weight:bold}.ours{fill:#2f7d4f}"
    ".peer{fill:#8a94a0}@media(prefers-color-scheme:dark){text{fill:#d5dbe1}}"
)


@dataclass(frozen=True)
class Bar:
    label: str
    value: float
    text: str
    is_ours: bool


def bars(title: str, groups: list[list[Bar]]) -> str:
    """Horizontal bars; each group has its own scale, its longest bar as wide as there is room."""
    y, parts = 28, []
    for group in groups:
        most = max(bar.value for bar in group)
        for bar in group:
            width = (_WIDTH - _LEFT - _RIGHT) * bar.value / most
            kind = "ours" if bar.is_ours else "peer"
            parts += [
                f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(bar.label)}</text>',
                f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}"/>',
                f'<text x="{_LEFT + width + 6:.1f}" y="{y + 13}">{escape(bar.text)}</text>',
            ]
            y += _BAR + _GAP
        y += 2 * _GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" role="img">'
    named = f'<text class="title" x="8" y="16">{escape(title)}</text>'
    return "\n".join([head, f"<style>{_STYLE}</style>", named, *parts, "</svg>", ""])


@dataclass(frozen=True)
class Line:
    """Points from left to right; the first is the smallest `x`."""

    label: str
    points: list[tuple[float, float]]


def lines(title: str, drawn: list[Line], *, limit: float, unit: str) -> str:
    """Curves over a common time, and a limit that they are to stay below."""
    width, height, left, top = _WIDTH - 90, 220, 56, 34
    last = max(x for line in drawn for x, _ in line.points)
    most = 1.1 * max(limit, *(y for line in drawn for _, y in line.points))

    def place(x: float, y: float) -> str:
        return f"{left + width * x / last:.1f},{top + height * (1 - y / most):.1f}"

    ends = place(0, limit), place(last, limit)
    parts = [
        f'<polyline class="limit" points="{" ".join(ends)}"/>',
        f'<text x="{left}" y="{top + height * (1 - limit / most) - 5:.1f}">'
        f"{limit:g} {escape(unit)}</text>",
        f'<polyline class="axis" points="{place(0, most)} {place(0, 0)} {place(last, 0)}"/>',
        f'<text x="{left + width}" y="{top + height + 16}" text-anchor="end">{last:.0f} s</text>',
    ]
    for number, line in enumerate(drawn):
        shown = " ".join(place(x, y) for x, y in line.points)
        peak = max(y for _, y in line.points)
        parts += [
            f'<polyline class="line{number}" points="{shown}"/>',
            f'<text class="name{number}" x="{left + 8 + 200 * number}" y="{top + height + 34}">'
            f"{escape(line.label)}: at most {peak:.0f} {escape(unit)}</text>",
        ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + height + 48}" '
        'role="img">'
    )
    named = f'<text class="title" x="8" y="16">{escape(title)}</text>'
    return "\n".join([head, f"<style>{_STYLE}{_LINES}</style>", named, *parts, "</svg>", ""])


_COLOURS = ("#2f7d4f", "#3565b5", "#b5652f")
_LINES = (
    "polyline{fill:none;stroke-width:1.5;stroke:#8a94a0}.limit{stroke-dasharray:4 4}"
    + "".join(
        f".line{number}{{stroke:{colour}}}.name{number}{{fill:{colour}}}"
        for number, colour in enumerate(_COLOURS)
    )
)
