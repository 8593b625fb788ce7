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
