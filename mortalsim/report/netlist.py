"""The picture of a design: its populations and arrays, its timetable, and what a read costs."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mortalsim.hardware import Datasheet
from mortalsim.report.layout import GAP, LARGE, LINE, MARGIN, SMALL, Layout, Node, corners, extent, lay_out, ports
from mortalsim.report.plots import COLOURS, DPI

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Suffixes of the files that a picture can be, and what keeps the date out of them.
FORMATS = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
#: Edge and face of the box of each role.
LOOKS = {
    "input": ("#777777", "#f0f0f0"),
    "hidden": (COLOURS[0], "#e5f1f8"),
    "output": (COLOURS[2], "#e2f4ee"),
    "stage": (COLOURS[1], "#fceee5"),
}
FORWARD, BACK = "#666666", "#b0508a"
#: Inches of a population and at most of a wave in the timetable, of a mark with its number, of a picture at least.
ROW, WAVE, MARK, LEAST = 0.27, 2.4, 0.22, 7.0


class Notes(NamedTuple):
    """What a picture says beyond the data sheet.

    Parameters
    ----------
    summary
        One line under the design's name.
    arrays
        The label of each array.
    stages
        The kind of each black-box stage, by the stage's name.
    costs
        Lines at the foot.
    """

    summary: str
    arrays: Sequence[str]
    stages: Mapping[str, str]
    costs: Sequence[str]


def role(sheet: Datasheet, name: str) -> str:
    """Return what a population is: input, hidden, output or stage."""
    groups = {"input": sheet.inputs, "output": (sheet.output,), "stage": sheet.stages}
    return next((role for role, names in groups.items() if name in names), "hidden")


def draw_netlist(sheet: Datasheet, notes: Notes, suffix: str = ".png") -> bytes:
    """Return the picture as the bytes of a file that ends in ``suffix``."""
    content = io.BytesIO()
    netlist_figure(sheet, notes).savefig(content, format=suffix.removeprefix("."), metadata=FORMATS[suffix])
    return content.getvalue()


def netlist_figure(sheet: Datasheet, notes: Notes) -> Figure:
    """Return the picture; the patch of a population's box has its name as gid."""
    from matplotlib.figure import Figure

    layout = _layout(sheet, notes)
    across = max(node.side(1) for node in layout.nodes) + MARGIN
    top, foot = min(node.end(-1) for node in layout.nodes), max(node.end(1) for node in layout.nodes)
    width = max(across, LEAST)
    letters = int(14.5 * (width - 2 * MARGIN))
    summary = textwrap.wrap(notes.summary, letters)
    costs = [part for line in notes.costs for part in textwrap.wrap(line, letters, subsequent_indent="    ")]
    head, net, rows, end = 0.5 + LINE * len(summary), foot - top + 2 * GAP, ROW * len(layout.boxes), 0.2 + LINE * len(costs)
    height = head + net + 0.4 + rows + 0.5 + end
    canvas = Figure(figsize=(width, height), dpi=min(DPI, 30_000 / max(width, height)))
    canvas.text(MARGIN / width, 1 - 0.32 / height, sheet.design, size=LARGE + 3, weight="bold", parse_math=False)
    canvas.text(
        MARGIN / width, 1 - 0.42 / height, "\n".join(summary), size=SMALL, color="#555555", va="top", parse_math=False
    )
    canvas.text(MARGIN / width, (end - 0.05) / height, "\n".join(costs), size=SMALL, color="#333333", va="top")
    axis = canvas.add_axes((0, 1 - (head + net) / height, 1, net / height))
    axis.set(xlim=((across - width) / 2, (across + width) / 2), ylim=(foot + GAP, top - GAP))
    axis.set_axis_off()
    _draw_net(axis, sheet, layout)
    left, waves = MARGIN + 0.1 + max(extent(name, SMALL)[0] for name in layout.boxes), 1 + sheet.timetable[-1].wave
    chart = min(width - MARGIN - left, waves * WAVE)
    axis = canvas.add_axes((left / width, (end + 0.5) / height, chart / width, rows / height))
    _draw_timetable(axis, sheet, waves, chart / waves > MARK)
    return canvas


def _layout(sheet: Datasheet, notes: Notes) -> Layout:
    first = dict.fromkeys(sheet.inputs, -1)
    for answer in sheet.timetable:
        first.setdefault(answer.population, answer.wave)
    texts = {}
    for name, spec in sheet.populations.items():
        what = f"black box:\n{notes.stages[name]}" if name in notes.stages else role(sheet, name)
        texts[name] = f"{name}\n{' × '.join(map(str, spec.shape))}\n{what}"
    arrows = [(spec.source, spec.target, label) for spec, label in zip(sheet.arrays, notes.arrays, strict=True)]
    stood_on = {answer.population: answer.via[0][0] for answer in sheet.timetable if answer.population in sheet.stages}
    return lay_out(texts, first, [*arrows, *((str(source), name, "") for name, source in stood_on.items())])


def _draw_net(axis: Axes, sheet: Datasheet, layout: Layout) -> None:
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    leaving, entering = ports(layout.chains, 0, 1), ports(layout.chains, -1, -2)
    drawn = [(chain, _curved(chain, leaving[k], entering[k]), FORWARD) for k, chain in enumerate(layout.chains)]
    drawn += [(back, _rounded(corners(back, layout)), BACK) for back in layout.backs]
    for chain, path, colour in drawn:
        arrow = FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=11, color=colour, linewidth=1.2, zorder=1)
        axis.add_patch(arrow)
        for node in (node for node in chain[1:-1] if node.text):
            frame = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": colour, "linewidth": 0.7}
            look: dict[str, Any] = {"ha": "center", "va": "center", "linespacing": 1.25, "zorder": 2, "bbox": frame}
            axis.text(node.x, node.y, node.text, size=SMALL, color="#222222", **look)
    for name, node in layout.boxes.items():
        what = role(sheet, name)
        edge, face = LOOKS[what]
        look = {"edgecolor": edge, "facecolor": face, "linestyle": "--" if what == "stage" else "-", "gid": name}
        style = "round,pad=0,rounding_size=0.08"
        corner = node.side(-1), node.end(-1)
        axis.add_patch(FancyBboxPatch(corner, node.width, node.height, style, linewidth=1.4, zorder=3, **look))
        first, _, rest = node.text.partition("\n")
        middle: dict[str, Any] = {"ha": "center", "va": "center", "linespacing": 1.3, "zorder": 4}
        axis.text(node.x, node.y - LINE / 2 * (1 + rest.count("\n")), first, size=SMALL, weight="bold", **middle)
        axis.text(node.x, node.y + LINE / 2, rest, size=SMALL, **middle)


def _curved(chain: Sequence[Node], leaving: float, entering: float) -> Any:
    from matplotlib.path import Path

    points, codes = [(chain[0].side(1), leaving)], [Path.MOVETO]
    for node in chain[1:]:
        (x0, y0), x1, y1 = points[-1], node.side(-1), entering if node is chain[-1] else node.y
        points += [((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1), (x1, y1), (node.side(1), y1)]
        codes += [*3 * [Path.CURVE4], Path.LINETO]
    return Path(points[:-1], codes[:-1])


def _rounded(bends: Sequence[tuple[float, float]]) -> Any:
    """Return a way along lines, each upright or level, with rounded corners."""
    from matplotlib.path import Path

    points, codes = [bends[0]], [Path.MOVETO]
    for before, bend, after in zip(bends, bends[1:], bends[2:], strict=False):
        points += [_towards(bend, before), bend, _towards(bend, after)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*points, bends[-1]], [*codes, Path.LINETO])


def _towards(bend: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    apart = abs(other[0] - bend[0]) + abs(other[1] - bend[1])
    part = min(0.12, apart / 2) / apart if apart else 0.0
    return bend[0] + part * (other[0] - bend[0]), bend[1] + part * (other[1] - bend[1])


def _draw_timetable(axis: Axes, sheet: Datasheet, waves: int, numbered: bool) -> None:
    names = list(sheet.populations)
    kept = ", ".join(sorted({f"{answer.keep:g}" for answer in sheet.timetable if answer.keep}))
    title = "Timetable: a mark is an answer, its number the tick of the new state"
    axis.set_title(title + (f"; open marks keep {kept} of an old state" if kept else ""), size=SMALL, loc="left")
    axis.set(xlim=(-0.5, waves - 0.5), ylim=(len(names) - 0.5, -0.5))
    axis.set_yticks(range(len(names)), names, size=SMALL)
    axis.set_xticks(range(0, waves, -(-waves // 20)))
    axis.tick_params(length=0, labelsize=SMALL)
    axis.set_xlabel("wave", size=SMALL, labelpad=1)
    axis.spines[:].set_visible(False)
    axis.hlines(range(len(names)), -0.5, waves - 0.5, color="#e4e4e4", linewidth=0.7, zorder=1)
    clamped = [names.index(name) for name in sheet.inputs]
    axis.hlines(clamped, -0.5, waves - 0.5, color=LOOKS["input"][0], linewidth=3, zorder=2)
    for answer in sheet.timetable:
        place = answer.wave, names.index(answer.population)
        edge = LOOKS[role(sheet, answer.population)][0]
        face, ink = ("white", edge) if answer.keep else (edge, "white")
        axis.scatter(*place, s=150 if numbered else 9, facecolors=face, edgecolors=edge, linewidths=1.3, zorder=3)
        if numbered:
            axis.text(*place, str(answer.tick), size=7.5, color=ink, ha="center", va="center_baseline", zorder=4)
