"""Pictures of a recipe that was run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mortalsim.experiments._inside import Inside
from mortalsim.experiments._trial import Outcome
from mortalsim.report.results import Figure, Panel, Series


def errors(title: str, groups: Mapping[str, Sequence[Outcome]]) -> Figure:
    """Return validation errors against reads, a line a chip."""
    series = tuple(
        Series(name=name, x=tuple(p.reads for p in outcome.curve), y=tuple(p.error for p in outcome.curve))
        for name, group in groups.items()
        for outcome in group
        if any(point.reads for point in outcome.curve)  # what was trained in a computer has read nothing
    )
    axes: dict[str, Any] = {"x_unit": "count", "x_scale": "log", "y_unit": "percent", "y_scale": "root"}
    panel = Panel(title=title, x_label="samples read for training", y_label="validation error", series=series, **axes)
    caption = "Validation error against samples read, a line a chip."
    return Figure(name="error-vs-reads", caption=caption, panels=(panel,))


def inner(inside: Inside) -> tuple[Figure, ...]:
    """Return what there is to be seen inside of one chip."""
    found = (_fields(inside), _mixed(inside), _goodness(inside), _settling(inside), _by_population(inside))
    return tuple(figure for figure in found if figure.panels)


def _fields(inside: Inside) -> Figure:
    panels = [Panel(title="", x_label="", image=inside.fields)] * bool(inside.fields)
    return Figure(
        name="first-layer-fields",
        caption="What neurons of the first hidden population weigh, each in units of its largest weight: red is positive.",
        panels=tuple(panels),
    )


def _mixed(inside: Inside) -> Figure:
    panels = [Panel(title="", x_label="", image=inside.mixed)] * bool(inside.mixed)
    return Figure(
        name="hybrid-images", caption="In threes: an image, the next one, and the hybrid of both.", panels=tuple(panels)
    )


def _goodness(inside: Inside) -> Figure:
    """Return the goodness of positive and negative data over epochs, a panel a population."""
    panels = []
    for name in [name for name in inside.known if f"positive {name}" in inside.told]:
        series = []
        for kind in ("positive", "negative"):
            points = [(k, value) for k, value in enumerate(inside.told[f"{kind} {name}"], 1) if value is not None]
            series.append(Series(name=kind, x=tuple(k for k, _ in points), y=tuple(value for _, value in points)))
        panels.append(
            Panel(title=name, x_label="epoch", y_label="goodness / threshold", x_unit="count", series=tuple(series))
        )
    caption = "Goodness of positive and negative data in units of the threshold, mean over each epoch's steps."
    return Figure(name="goodness", caption=caption, panels=tuple(panels))


def _settling(inside: Inside) -> Figure:
    panels = tuple(
        Panel(
            title=name,
            x_label="tick",
            y_label="goodness / threshold",
            x_unit="count",
            series=tuple(
                Series(name=label, x=tuple(range(len(values))), y=values)
                for label, values in (("right label", inside.right[name]), ("best wrong label", inside.wrong[name]))
            ),
        )
        for name in inside.right
    )
    caption = "How states settle: mean goodness, in units of the threshold, at every tick of a read."
    return Figure(name="settling", caption=caption, panels=panels)


def _by_population(inside: Inside) -> Figure:
    names = tuple(inside.known)
    series = []
    for label, values, style in (("linear head", inside.known, "dots"), ("goodness", inside.judged, "rings")):
        if values:
            own = tuple(values[name] for name in names)
            series.append(Series(name=label, x=own, y=tuple(map(float, range(len(names)))), style=style))
    panel = Panel(
        title="", x_label="validation error", x_unit="percent", x_scale="root", categories=names, series=tuple(series)
    )
    caption = "Validation error of each hidden population alone: by a linear head on its activities, and by its goodness."
    return Figure(name="error-by-population", caption=caption, panels=(panel,) * bool(names))
