"""Tables, pictures and pages: numbers are readable, every kind of panel draws, a page needs nothing outside itself."""

from __future__ import annotations

import html.parser
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import image
from matplotlib.figure import Figure as Canvas
from rich.console import Console

from mortalsim.report.asked import Asked
from mortalsim.report.page import page
from mortalsim.report.plots import draw
from mortalsim.report.results import Column, Figure, Panel, Results, Series, Table
from mortalsim.report.table import PREFIXES, cell, engineering, rich_table

COLUMNS = (
    Column(key="who", heading="who <is> it"),
    Column(key="error", heading="error", unit="percent", spread="sd"),
    Column(key="reads", heading="reads", unit="count"),
    Column(key="joules", heading="energy", unit="joules"),
)
ROWS = (
    {"who": "a & b", "error": 0.0312, "sd": 0.004, "reads": 12345, "joules": 2.5e-6},
    {"who": "c", "error": 0.5, "sd": None, "reads": 0, "joules": None},
)
CHIPS = {"x": [{"number": 3, "design": "d1", "seed": 0, "streams": ["chip", "3"]}]}
ASKED = Asked(
    "name", "why?", "<nothing>", "mortalsim <x>", {"seed": 0, "designs": ["x", "y"]}, {"x": {"device": {"pulses": 7}}},
    {"ff": {"rate": 0.25}}, {"name": "d", "digest": "abc"}, CHIPS, 0, {"numpy": "2"}, {"processor": "p<q"}, "today",
    ({"at": "tomorrow", "anyway": ["numpy is 2 there and 3 here"]},),
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 s"), (1, "1 s"), (999.6, "1 ks"), (12345, "12.3 ks"), (2.5e-6, "2.5 µs"), (-0.02, "-20 ms"), (3e20, "3e+08 Ts")],
)
def test_engineering(value: float, text: str):
    assert engineering(value, "s") == text


@given(st.floats(1e-11, 1e13))
def test_engineering_keeps_three_digits(value: float):
    number, _, unit = engineering(value, "J").partition(" ")
    power = {prefix: power for power, prefix in PREFIXES.items()}[unit.removesuffix("J")]
    assert float(number) * 10.0**power == pytest.approx(value, rel=0.0051)


def test_cells():
    assert [cell(column, ROWS[0]) for column in COLUMNS] == ["a & b", "3.12 ± 0.40 %", "12.3 k", "2.5 µJ"]
    assert [cell(column, ROWS[1]) for column in COLUMNS] == ["c", "50.00 %", "0", "-"]


def test_rich_table_fits_in_a_pipe():
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(rich_table(Results(columns=COLUMNS, rows=ROWS), "title"))
    text = console.export_text()
    for row in ROWS:
        (line,) = [line for line in text.splitlines() if line.strip("│ ").startswith(row["who"] + " ")]
        assert all(cell(column, row) in line for column in COLUMNS)
    assert "who <is> it" in text


def panel(**axes) -> Panel:
    styles = ("line", "thin", "dashed", "dots", "rings")
    heights = [(0.2 + 0.1 * k, 1.0, 0.2 + 0.1 * k) for k in range(len(styles))]
    series = [
        Series(name=style, x=(0.01, 0.1, 0.9), y=y, spread=(0.05,) * 3, style=style)
        for style, y in zip(styles, heights, strict=True)
    ]
    return Panel(**{"title": "t", "x_label": "x", "series": tuple(series)} | axes)


@pytest.fixture
def canvases(monkeypatch: pytest.MonkeyPatch) -> list[Canvas]:
    """Everything that is saved as a picture, as matplotlib has it."""
    seen, real = [], Canvas.savefig
    monkeypatch.setattr(Canvas, "savefig", lambda self, *args, **kw: (seen.append(self), real(self, *args, **kw))[1])
    return seen


AXES = [
    {},
    {"x_scale": "log", "x_unit": "count", "y_scale": "root", "y_unit": "percent"},
    {"x_unit": "seconds", "y_unit": "joules"},
]


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_every_kind_of_panel_shows_every_point(axes: dict, canvases: list[Canvas]):
    panels = 1 if axes else 3  # the place of a fourth one is left empty
    figure = Figure(name="f", caption="c", panels=(panel(**axes),) * panels, across=2)
    picture = image.imread(io.BytesIO(draw(figure)))
    assert min(picture.shape[:2]) > 100 and len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 20
    (canvas,) = canvases
    shown = [axis for axis in canvas.axes if axis.get_visible()]
    assert len(shown) == panels
    for axis in shown:
        assert axis.get_title(loc="left") == "t" and axis.get_xscale() == axes.get("x_scale", "linear")
        drawn = [np.array(line.get_xydata()).tolist() for line in axis.get_lines()]
        for series in panel().series:
            assert np.column_stack([series.x, series.y]).tolist() in drawn, series.style
    (legend,) = canvas.legends
    assert [text.get_text() for text in legend.get_texts()] == [series.name for series in panel().series]


def test_a_panel_may_be_a_picture_grey_or_red_for_what_is_positive(canvases: list[Canvas]):
    signed, plain = ((-1.0, 0.0), (0.5, 1.0)), ((0.0, 0.2), (0.5, 1.0))
    panels = tuple(Panel(title="", x_label="", image=rows) for rows in (signed, plain))
    draw(Figure(name="f", caption="c", panels=panels))
    first, second = (axis.get_images()[0] for axis in canvases[0].axes)
    assert np.asarray(first.get_array()).tolist() == [list(row) for row in signed]
    red, _, blue, _ = first.cmap(first.norm(1.0))
    assert red > 2 * blue and first.norm(0.0) == 0.5
    light, dark = (second.cmap(second.norm(value))[:3] for value in (0.0, 1.0))
    assert min(light) > 0.95 and max(dark) < 0.05
    assert not canvases[0].legends


def test_errors_are_read_against_zero_in_per_cent(canvases: list[Canvas]):
    draw(Figure(name="f", caption="c", panels=(panel(y_scale="root", y_unit="percent"),)))
    (axis,) = canvases[0].axes
    assert axis.get_ylim()[0] == 0
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels[0] == "0 %" and all(label.endswith(" %") for label in labels) and len(labels) > 3


def test_categories_get_a_dot_a_value_and_a_bar_at_their_mean(canvases: list[Canvas]):
    series = Series(name="own", x=(0.1, 0.3, 0.2), y=(0.0, 0.0, 1.0), style="dots")
    axes = {"x_scale": "root", "x_unit": "percent", "categories": ("one", "two")}
    draw(Figure(name="f", caption="c", panels=(Panel(title="t", x_label="x", series=(series,), **axes),)))
    (axis,) = canvases[0].axes
    places = axis.collections[0].get_offsets()
    assert places[:, 0].tolist() == [0.1, 0.3, 0.2] and np.round(places[:, 1]).tolist() == [0, 0, 1]
    assert [line.get_xdata()[0] for line in axis.get_lines()] == pytest.approx([0.2, 0.2])
    assert [label.get_text() for label in axis.get_yticklabels()] == ["one", "two"]


def test_pictures_are_the_same_each_time():
    figure = Figure(name="f", caption="c", panels=(panel(),))
    assert draw(figure) == draw(figure)
    assert draw(figure) != draw(Figure(name="f", caption="c", panels=(panel(title="other"),)))


class Links(html.parser.HTMLParser):
    """Collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        assert tag not in ("script", "link", "iframe")


def test_page_is_self_contained_and_escapes():
    figure = Figure(name="f", caption="a < b", panels=(panel(),))
    more = Table(name="t", caption="more & more", columns=COLUMNS, rows=ROWS[1:])
    results = Results(columns=COLUMNS, rows=ROWS, figures=(figure,), notes=("x > y",), warnings=("<hm>",), tables=(more,))
    text = page(results, ASKED, {"f": draw(figure)})
    links = Links()
    links.feed(text)
    assert [link[:22] for link in links.found] == ["data:image/png;base64,"]
    assert "url(" not in text and "@import" not in text
    for shown in (
        "who &lt;is&gt; it",
        "a &amp; b",
        "x &gt; y",
        "&lt;nothing&gt;",
        "a &lt; b",
        "why?",
        "3.12 ± 0.40 %",
        "x, y",
        "Warning: &lt;hm&gt;",
        "more &amp; more",
        "mortalsim &lt;x&gt;",
        "<dt>device.pulses</dt><dd>7</dd>",
        "<dt>rate</dt><dd>0.25</dd>",
        "<dt>digest</dt><dd>abc</dd>",
        "<dt>chip 3</dt><dd>seed 0, chip/3; design d1</dd>",
        "<dt>numpy</dt><dd>2</dd>",
        "p&lt;q",
        "Gone on with at tomorrow. By --anyway, though numpy is 2 there and 3 here.",
    ):
        assert shown in text
