"""Charts as inline SVG: shapes stretch with the page, labels are text beside them."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

import numpy as np

from serving.report.wording import number
from streamgauge.arrays import Floats

__all__ = ["bars", "course", "histogram", "lines"]

WIDTH, HEIGHT = 400.0, 100.0
GAP = 0.12
"""Of a bar's place that stays free."""


def _figure(title: str, inner: str, labels: Sequence[str], label: str) -> str:
    even = " even" if len(labels) > 3 else ""
    ticks = "".join(f"<span>{escape(one)}</span>" for one in labels)
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" '
        f'preserveAspectRatio="none" role="img" aria-label="{escape(label)}">{inner}</svg>'
        f'<div class="ticks{even}">{ticks}</div></figure>'
    )


def _nothing(title: str, why: str) -> str:
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<p class="nothing">{escape(why)}</p></figure>'
    )


def bars(
    title: str, values: Floats, labels: Sequence[str], names: Sequence[str], why: str = ""
) -> str:
    """A bar for each value, from the line of zero up or down; `names` are shown on hovering, `why`
    instead of a chart where there is no value."""
    known = values[np.isfinite(values)]
    if not len(known) or why:
        return _nothing(title, why or "too few values to tell")
    high, low = max(0.0, float(known.max())), min(0.0, float(known.min()))
    scale = HEIGHT / ((high - low) or 1.0)
    zero, place = high * scale, WIDTH / len(values)
    drawn = "".join(
        f'<rect x="{(k + GAP / 2) * place:.2f}" y="{min(zero, zero - value * scale):.2f}" '
        f'width="{place * (1 - GAP):.2f}" height="{abs(value) * scale:.2f}">'
        f"<title>{escape(names[k])}: {number(value)}</title></rect>"
        for k, value in enumerate(values.tolist())
        if value == value
    )
    line = f'<line class="zero" x1="0" x2="{WIDTH:g}" y1="{zero:.2f}" y2="{zero:.2f}"/>'
    said = f"{title}: {len(known)} bars from {number(low)} to {number(high)}"
    return _figure(title, drawn + line, labels, said)


def histogram(title: str, edges: Floats, counts: Floats, below: int, above: int) -> str:
    """Bars between edges; what lies beyond them is said below."""
    if not len(counts):
        return _nothing(title, "no value")
    spans = [f"{number(a)} to {number(b)}" for a, b in pairwise(edges.tolist())]
    first = f"{number(edges[0])}{f' ({below:,} below)' if below else ''}"
    last = f"{number(edges[-1])}{f' ({above:,} above)' if above else ''}"
    if len(counts) == 1:
        return _nothing(title, f"all values are {number(edges[0])}")
    return bars(title, counts, (first, last), spans)


def _runs(values: Floats) -> list[list[tuple[int, str]]]:
    """Places of the values that are there, each stretch without a hole by itself, and where they
    stand from left to right; one that is alone has an extent of two points."""
    known = np.flatnonzero(np.isfinite(values))
    step = WIDTH / max(1, len(values))
    return [
        [
            (k, f"{(k + side) * step:.2f}")
            for k in run.tolist()
            for side in ((0.5,) if len(run) > 1 else (0.1, 0.9))
        ]
        for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
        if len(run)
    ]


def lines(title: str, series: Mapping[str, Floats], labels: Sequence[str]) -> str:
    """A line for each of the series, all of one length; NaN leaves a hole."""
    every = np.concatenate(list(series.values()) or [np.zeros(0)])
    known = every[np.isfinite(every)]
    if not len(known):
        return _nothing(title, "too few values to tell")
    low, high = float(known.min()), float(known.max())
    scale = HEIGHT / ((high - low) or 1.0)
    drawn = "".join(
        f'<path class="line line-{k}" d="M'
        + " L".join(f"{x},{HEIGHT - (values[at] - low) * scale:.2f}" for at, x in run)
        + '"/>'
        for k, values in enumerate(series.values())
        for run in _runs(values)
    )
    names = enumerate(series)
    legend = ", ".join(f'<span class="key line-{k}">{escape(one)}</span>' for k, one in names)
    said = f"{title}: {', '.join(series)}, from {number(low)} to {number(high)}"
    drawing = _figure(f"{title}, {number(low)} to {number(high)}", drawn, labels, said)
    return drawing.replace("</figcaption>", f": {legend}</figcaption>", 1)


def course(
    title: str, middle: Floats, lowest: Floats, highest: Floats, labels: Sequence[str]
) -> str:
    """The middle value over time as a line, lowest to highest as an area around it."""
    known = np.isfinite(middle)
    if not known.any():
        return _nothing(title, "no value")
    low, high = float(lowest[known].min()), float(highest[known].max())
    scale = HEIGHT / ((high - low) or 1.0)

    def y(value: float) -> str:
        return f"{HEIGHT - (value - low) * scale:.2f}"

    area, path = [], []
    for places in _runs(middle):
        path.append("M" + " L".join(f"{x},{y(middle[k])}" for k, x in places))
        above = [f"{x},{y(highest[k])}" for k, x in places]
        under = [f"{x},{y(lowest[k])}" for k, x in reversed(places)]
        area.append("M" + " L".join(above + under) + "Z")
    inner = f'<path class="area" d="{" ".join(area)}"/><path class="line" d="{" ".join(path)}"/>'
    said = f"{title}: from {number(low)} to {number(high)}"
    return _figure(f"{title}, {number(low)} to {number(high)}", inner, labels, said)
