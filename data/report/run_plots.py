"""Plots of a run's report as HTML and SVG without scripts. They scale with the page; their text does not.

Colours are the classes `c0`, `c1`, ... of the style sheet. Lines are in an SVG that is stretched to its box with
non-scaling strokes; tick labels are HTML beside it, so they stay legible on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from data.report.run_facts import Figure, Interval, Series

COLOURS = 6
_LABELLED = 12  # up to this many x values, each has a tick label
_Y_TICKS = 5


def interval_plot(rows: Sequence[tuple[str, Interval, int]], label: str, *, zero: bool = False) -> Markup:
    """One row a score: a dot with its interval, over one axis that includes 0.

    Args:
        rows: name, score and colour number.
        zero: draw a line at 0, for differences.
    """
    if not rows:
        return Markup("")
    ends = [end for _, score, _ in rows for end in (score.low, score.value, score.high)]
    step = _step(max(*ends, 0.0) - min(*ends, 0.0))
    low = math.floor(min(*ends, 0.0) / step) * step
    high = max(math.ceil(max(*ends, 0.0) / step) * step, low + step)
    ticks = [low + step * n for n in range(round((high - low) / step) + 1)]

    def at(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.2f}%"

    grid = "".join(f'<line class="grid" x1="{at(tick)}" x2="{at(tick)}" y1="0" y2="100%"/>' for tick in ticks)
    if zero:
        grid += f'<line class="zero" x1="{at(0)}" x2="{at(0)}" y1="0" y2="100%"/>'
    parts = []
    for name, score, colour in rows:
        parts.append(
            f'<div class="dot-row"><span class="dot-name">{escape(name)}</span>'
            f'<svg aria-hidden="true">{grid}<line class="whisker c{colour % COLOURS}" x1="{at(score.low)}" '
            f'x2="{at(score.high)}" y1="50%" y2="50%"/><circle class="c{colour % COLOURS}" cx="{at(score.value)}" '
            f'cy="50%" r="5"/></svg><span class="dot-value">{escape(score)}</span></div>'
        )
    numbers = "".join(f'<span style="left:{at(tick)}">{tick:g}</span>' for tick in ticks)
    axis = f'<div class="dot-row"><span></span><div class="ticks">{numbers}</div><span></span></div>'
    head = f'<figure class="dots"><figcaption>{escape(label)}</figcaption>'
    return Markup(f"{head}{''.join(parts)}{axis}</figure>")  # noqa: S704  all text in the parts is escaped above


def line_plot(figure: Figure) -> Markup:
    """Lines with bands for their intervals; a line of one point is drawn as a dot."""
    series = [line for line in figure.series if len(line.y)]
    if not series:
        return Markup("")
    positions, names = _positions(series)
    finite = [value for line in series for value in (*line.y, *line.low, *line.high) if math.isfinite(value)]
    highest, lowest = max([*finite, 0.0]), min([*finite, 0.0])
    step = _step(highest - lowest)
    low, high = math.floor(lowest / step) * step, math.ceil(highest / step) * step
    high = high if high > low else low + step
    left, right = min(positions.values()), max(positions.values())
    width = right - left or 1.0
    margin = 3.0 if len(positions) > 1 else 50.0

    def x(value: float | str) -> float:
        return margin + (positions[value] - left) / width * (100 - 2 * margin)

    def y(value: float) -> float:
        return 100 - 100 * (min(max(value, low), high) - low) / (high - low)

    ticks = [high - step * n for n in range(round((high - low) / step) + 1)]
    grid = [f'<path class="grid" d="M0 {y(tick):.2f}H100"/>' for tick in ticks]
    parts = [_line(line, number, x, y) for number, line in enumerate(series)]
    shown = names if len(names) <= _LABELLED else _even(names)
    x_numbers = "".join(f'<span style="left:{x(name):.2f}%">{escape(_number(name))}</span>' for name in shown)
    y_numbers = "".join(f'<span style="top:{y(tick):.2f}%">{tick:.6g}</span>' for tick in ticks)
    described = f"{figure.title}: {figure.y_label} against {figure.x_label}"
    keys = series if len(series) > 1 or series[0].name != figure.title.casefold() else []
    legend = "".join(
        f'<span><svg class="key" aria-hidden="true"><line class="whisker c{n % COLOURS} d{n % COLOURS}" x1="0" '
        f'x2="100%" y1="50%" y2="50%"/></svg>{escape(line.name)}</span>'
        for n, line in enumerate(keys)
    )
    note = f"<p class='quiet'>{escape(figure.note)}</p>" if figure.note else ""
    return Markup(  # noqa: S704  all text in the parts is escaped above
        f'<figure class="lines"><figcaption>{escape(figure.title)} <span class="quiet">{escape(figure.y_label)}</span>'
        f'</figcaption><p class="legend">{legend}</p><div class="frame"><div class="y">{y_numbers}</div>'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{escape(described)}">'
        f'{"".join([*grid, *parts])}</svg><div class="ticks">{x_numbers}</div></div>'
        f'<p class="quiet x">{escape(figure.x_label)}</p>{note}</figure>'
    )


def _line(line: Series, number: int, x, y) -> str:  # type: ignore[no-untyped-def]
    colour = f"c{number % COLOURS}"
    measured = [(a, b) for a, b in zip(line.x, line.y, strict=True) if math.isfinite(b)]
    points = [(x(a), y(b)) for a, b in measured]
    parts = []
    if line.low and line.high and len(line.x) > 1:
        upper = [f"{x(a):.2f} {y(b):.2f}" for a, b in zip(line.x, line.high, strict=True)]
        lower = [f"{x(a):.2f} {y(b):.2f}" for a, b in zip(line.x, line.low, strict=True)]
        parts.append(f'<path class="band {colour}" d="M{"L".join([*upper, *reversed(lower)])}Z"/>')
    path = "L".join(f"{a:.2f} {b:.2f}" for a, b in points)
    if len(points) > 1:
        parts.append(f'<path class="line {colour} d{number % COLOURS}" d="M{path}"/>')
    if len(points) <= 2 * _LABELLED:  # a zero-length line with round caps is a dot that stretching keeps round
        for (a, b), (name, value) in zip(points, measured, strict=True):
            title = escape(f"{line.name}, {_number(name)}: {value:.4g}")
            parts.append(f'<path class="dot {colour}" d="M{a:.2f} {b:.2f}h0.01"><title>{title}</title></path>')
    return "".join(parts)


def _positions(series: Sequence[Series]) -> tuple[dict[float | str, float], list[float | str]]:
    """x value -> position (numbers at their value, names evenly spaced), and the x values in order."""
    names = list({value: None for line in series for value in line.x})
    if any(isinstance(name, str) for name in names):
        return {name: float(index) for index, name in enumerate(names)}, names
    names.sort(key=float)
    return {name: float(name) for name in names}, names


def _even(names: list[float | str]) -> list[float | str]:
    last = len(names) - 1
    return [names[round(last * n / (_Y_TICKS - 1))] for n in range(_Y_TICKS)]


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _step(span: float) -> float:
    """A round tick step: about a quarter of the span."""
    if not math.isfinite(span) or span <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(span / 4))
    return next(size * factor for factor in (1, 2, 2.5, 5, 10) if span / (size * factor) <= 5)
