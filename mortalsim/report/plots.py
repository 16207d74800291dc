"""Pictures drawn from the numbers of a run; matplotlib is imported only when one is drawn."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mortalsim.report.results import Figure, Panel, Series
from mortalsim.report.table import engineering
from mortalsim.texts import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Distinguishable also with colour-blind eyes (Okabe and Ito 2008); repeated if there are more names.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222", "#8C6BB1", "#999999")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
ROOT_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
LINES = {
    "line": (1.8, "-", 1.0),
    "thin": (0.9, "-", 0.55),
    "dashed": (1.6, "--", 1.0),
    "dotted": (1.8, ":", 1.0),
}  #: width, dash and opacity by style
DPI = 110
LONGEST = 48  #: letters of a name in a picture


def draw(figure: Figure) -> bytes:
    """Return the picture as a PNG file's bytes; points for which an axis has no place are left out."""
    with _plain_text():
        return _draw(figure.model_copy(update={"panels": tuple(map(_drawable, figure.panels))}))


@contextmanager
def _plain_text() -> Iterator[None]:
    """Let names stand as they are: a dollar begins no formula, and a letter that the font lacks is no reason to warn."""
    import warnings

    import matplotlib as mpl

    with mpl.rc_context({"text.parse_math": False, "text.usetex": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        # A picture crowded by long names is drawn as it is.
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        yield


def _drawable(panel: Panel) -> Panel:
    """Return a panel with printable names and none but points that its axes can show."""

    def fits(value: float, scale: str) -> bool:
        return math.isfinite(value) and abs(value) < 1e300 and (scale != "log" or value > 0)

    series = []
    for one in panel.series:
        spread = one.spread or (0.0,) * len(one.x)
        points = [
            (x, y, s if math.isfinite(s) else 0.0)
            for x, y, s in zip(one.x, one.y, spread, strict=True)
            if fits(x, panel.x_scale) and fits(y, panel.y_scale)
        ]
        x, y, kept = zip(*points, strict=True) if points else ((), (), ())
        series.append(
            one.model_copy(update={"name": _short(one.name), "x": x, "y": y, "spread": kept if one.spread else ()})
        )
    texts = {"title": panel.title, "x_label": panel.x_label, "y_label": panel.y_label}
    shown: dict[str, Any] = {key: _short(text) if text else text for key, text in texts.items()}
    shown |= {"series": tuple(series), "categories": tuple(map(_short, panel.categories))}
    return panel.model_copy(update=shown)


def _family(name: str) -> str:
    """Return what series of one colour have in common: a name up to its first comma, as in ``ap, started``."""
    return name.partition(",")[0]


def _short(name: str) -> str:
    """Return a name that can be drawn and leaves room for the axes; one that is empty becomes a dash."""
    text = printable(name).strip() or "-"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _draw(figure: Figure) -> bytes:
    from matplotlib.figure import Figure as Canvas

    across = max(1, min(figure.across, len(figure.panels)))
    down = max(1, -(-len(figure.panels) // across))
    rows = len(figure.panels[0].categories) if figure.panels else 0
    height = 1.3 + 0.42 * min(rows, 400) if rows else 3.6
    canvas = Canvas(figsize=(1.6 + 4.4 * across, height * down), dpi=DPI, layout="constrained")
    axes = canvas.subplots(down, across, squeeze=False, sharex=figure.share, sharey=figure.share)
    names = list(dict.fromkeys(series.name for panel in figure.panels for series in panel.series))
    families = list(dict.fromkeys(map(_family, names)))
    places = {name: families.index(_family(name)) for name in names}
    look = {name: (COLOURS[k % len(COLOURS)], MARKERS[k % len(MARKERS)]) for name, k in places.items()}
    for axis, panel in zip(axes.flat, figure.panels, strict=False):
        _draw_panel(axis, panel, look)
    for axis, panel in zip(axes.flat, figure.panels, strict=False):
        _floor(axis, panel)  # only now: setting one limit stops axes from growing with what is drawn later
    for axis in axes.flat[len(figure.panels) :]:
        axis.set_visible(False)
    _legend(canvas, axes, names)
    if figure.share:
        for axis in axes.flat:
            axis.label_outer()  # labels and ticks shared by the panels stand once, at the border
    content = io.BytesIO()
    canvas.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _draw_panel(axis: Axes, panel: Panel, look: dict[str, tuple[str, str]]) -> None:
    axis.set_title(panel.title, fontsize=11, loc="left")
    if panel.image:
        signed = min(map(min, panel.image)) < 0
        axis.imshow(panel.image, cmap="RdBu_r" if signed else "Greys", vmin=-1 if signed else 0, vmax=1)
        axis.set_axis_off()
        return
    axis.set_xlabel(panel.x_label)
    axis.set_ylabel(panel.y_label)
    axis.grid(True, color="#e4e4e4", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    _set_scale(axis.xaxis, axis.set_xscale, panel.x_scale, panel.x_unit)
    if panel.categories:
        axis.set_yticks(range(len(panel.categories)), panel.categories)
        axis.set_ylim(len(panel.categories) - 0.5, -0.5)
    else:
        _set_scale(axis.yaxis, axis.set_yscale, panel.y_scale, panel.y_unit)
    for series in panel.series:
        colour, marker = look[series.name]
        if panel.categories:
            _draw_values(axis, series, colour)
        else:
            _draw_points(axis, series, colour, marker)


def _draw_points(axis: Axes, series: Series, colour: str, marker: str) -> None:
    if series.style in ("dots", "rings"):
        face = colour if series.style == "dots" else "none"
        look: dict[str, Any] = {
            "fmt": marker,
            "color": colour,
            "markerfacecolor": face,
            "markersize": 5,
            "capsize": 2,
            "linewidth": 1,
        }
        axis.errorbar(series.x, series.y, yerr=series.spread or None, label=series.name, **look)
        return
    width, dash, alpha = LINES[series.style]
    alone = marker if len(series.x) == 1 else None
    axis.plot(series.x, series.y, dash, color=colour, linewidth=width, alpha=alpha, marker=alone, label=series.name)
    if series.spread:
        low = [y - s for y, s in zip(series.y, series.spread, strict=True)]
        high = [y + s for y, s in zip(series.y, series.spread, strict=True)]
        axis.fill_between(series.x, low, high, color=colour, alpha=0.13, linewidth=0)


def _draw_values(axis: Axes, series: Series, colour: str) -> None:
    # One dot a value beside its category's name, moved up or down a little so that equal ones can be told apart.
    face = colour if series.style == "dots" else "none"
    seen: dict[float, int] = {}
    places = []
    for row in series.y:
        seen[row] = seen.get(row, 0) + 1
        places.append(row + 0.09 * ((seen[row] % 5) - 2))
    axis.scatter(series.x, places, s=26, facecolors=face, edgecolors=colour, linewidths=1.1, alpha=0.85, label=series.name)
    for row in seen:
        values = [x for x, y in zip(series.x, series.y, strict=True) if y == row]
        mean = sum(values) / len(values)
        axis.plot([mean, mean], [row - 0.34, row + 0.34], color=colour, linewidth=1.6)


def _floor(axis: Axes, panel: Panel) -> None:
    # Errors are read against 0, which only the linear and root scales have.
    if panel.x_scale == "root":
        axis.set_xlim(left=0)
        axis.set_xticks(_root_ticks(axis.get_xlim()[1], 0.12))
    if panel.y_scale == "root":
        axis.set_ylim(bottom=0)
        axis.set_yticks(_root_ticks(axis.get_ylim()[1], 0.07))


def _root_ticks(top: float, gap: float) -> list[float]:
    """Return round numbers from 0 to ``top`` that stand at least ``gap`` of the axis apart on a root scale."""
    ticks = [0.0]
    for tick in ROOT_TICKS:
        if tick <= top and (tick / top) ** 0.5 - (ticks[-1] / top) ** 0.5 >= gap:
            ticks.append(tick)
    return ticks


def _set_scale(ticks: Any, set_scale: Any, scale: str, unit: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

    if scale == "root":  # spreads small numbers apart as a logarithm does, and has a place for 0
        set_scale("function", functions=(lambda v: abs(v) ** 0.5, lambda v: v**2))
        ticks.set_minor_locator(NullLocator())
    elif scale == "log":
        set_scale("log")
        ticks.set_minor_formatter(NullFormatter())
    elif unit == "count":
        ticks.set_major_locator(MaxNLocator(integer=True))
    if unit == "percent":
        ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    elif unit in ("count", "joules", "seconds"):
        symbol = {"count": "", "joules": "J", "seconds": "s"}[unit]
        ticks.set_major_formatter(FuncFormatter(lambda value, _: engineering(value, symbol)))


def _legend(canvas: Any, axes: Any, names: list[str]) -> None:
    handles: dict[str, Any] = {}
    for axis in axes.flat:
        # Points come after lines, so that a name with both is shown by its points.
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    if len(handles) > 1:
        canvas.legend([handles[name] for name in names], names, loc="outside right upper", frameon=False)
