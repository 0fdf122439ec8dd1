"""Small charts as SVG for a page without scripts: histograms and bars, in the page's own colours, light and dark.

Colours are the classes `s0`, `s1`, ... that the page's style sheet gives; text takes the page's colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 480, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 30, 40
_BINS = 24
_TICKS = 5


def histogram(series: Mapping[str, Sequence[float]], label: str, *, whole: bool = False) -> Markup:
    """Histograms of several series over one axis, as shares of each series, drawn side by side.

    Args:
        series: name -> values; those without values are named in the legend and draw nothing.
        label: what the axis shows.
        whole: the values are whole numbers.
    """
    given = [np.asarray(values, np.float64) for values in series.values()]
    every = np.concatenate([np.zeros(0), *given])
    if not len(every):
        return Markup("<p>nothing to show</p>")
    low, high = float(every.min()), float(every.max())
    if whole:
        low, high = np.floor(low), np.ceil(high) + 1
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    shares = [np.histogram(values, edges)[0] / max(len(values), 1) for values in given]
    tallest = max(max(share.max() for share in shares), 1e-9)
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    step = inner_width / _BINS
    bar = (step - 1.5) / len(series)
    parts = []
    for number, (name, share, values) in enumerate(zip(series, shares, given, strict=True)):
        for place, height in enumerate(share):
            if height:
                x, tall = _LEFT + place * step + number * bar, height / tallest * inner_height
                told = (
                    f"{name}: {edges[place]:.4g} to {edges[place + 1]:.4g}, {height * len(values):.0f} of {len(values)}"
                )
                parts.append(
                    f'<rect class="s{number}" x="{x:.1f}" y="{_TOP + inner_height - tall:.1f}" width="{bar:.1f}" '
                    f'height="{tall:.1f}"><title>{escape(told)}</title></rect>'
                )
    return _framed(parts, list(series), [float(edges[0]), float(edges[-1])], tallest, label, whole)


def bars(rows: Mapping[str, tuple[int, int]], label: str) -> Markup:
    """Horizontal bars: name -> (part, whole), with the share in words.

    Args:
        label: what the chart shows, for readers of the screen's text.
    """
    height = 34 * len(rows) + 6
    parts = []
    for number, (name, (part, whole)) in enumerate(rows.items()):
        y = 34 * number + 16
        share = part / whole if whole else 0.0
        parts.append(
            f'<text x="0" y="{y}">{escape(name)}: {part:,} of {whole:,} ({share:.1%})</text>'
            f'<rect class="track" x="0" y="{y + 5}" width="{_WIDTH}" height="9"/>'
            f'<rect class="s0" x="0" y="{y + 5}" width="{share * _WIDTH:.1f}" height="9"/>'
        )
    return _svg(parts, height, label)


def _framed(
    parts: Sequence[str], names: Sequence[str], ends: Sequence[float], tallest: float, label: str, whole: bool
) -> Markup:
    floor = _HEIGHT - _BOTTOM
    frame = [f'<line class="axis" x1="{_LEFT}" y1="{floor}" x2="{_WIDTH - _RIGHT}" y2="{floor}"/>']
    for n in range(_TICKS):
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * n / (_TICKS - 1)
        value = ends[0] + (ends[1] - ends[0]) * n / (_TICKS - 1)
        anchor = "start" if n == 0 else "end" if n == _TICKS - 1 else "middle"
        told = f"{value:.0f}" if whole else f"{value:.2f}"
        frame.append(f'<text class="small" x="{x:.1f}" y="{floor + 16}" text-anchor="{anchor}">{told}</text>')
    frame.append(f'<text class="small" x="{_LEFT - 6}" y="{_TOP + 8}" text-anchor="end">{tallest:.0%}</text>')
    frame.append(f'<text class="small" x="{_LEFT - 6}" y="{floor}" text-anchor="end">0</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    frame.append(f'<text class="small" x="{middle}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(label)}</text>')
    x = _LEFT
    for number, name in enumerate(names):
        frame.append(f'<rect class="s{number}" x="{x}" y="6" width="11" height="11"/>')
        frame.append(f'<text class="small" x="{x + 16}" y="16">{escape(name)}</text>')
        x += 34 + 8 * len(name)
    return _svg([*frame, *parts], _HEIGHT, label)


def _svg(parts: Sequence[str], height: int, label: str) -> Markup:
    head = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">'
    return Markup(f"{head}{''.join(parts)}</svg>")  # noqa: S704  every text in the parts is escaped above
