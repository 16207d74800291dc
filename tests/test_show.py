"""`mortalsim show`: everything that a design is made of is printed and drawn, and nothing covers anything else."""

from __future__ import annotations

import functools
import itertools
import tomllib
from pathlib import Path

import pytest
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from typer.testing import CliRunner

from mortalsim import cli, showing
from mortalsim.chips import Design, design_names, load_design
from mortalsim.chips.design import build_design
from mortalsim.report.netlist import draw_netlist, netlist_figure
from mortalsim.report.table import engineering

#: Skips over several waves, a stage, two lanes of feedback, a loop, populations above one another, a tiled array.
ODD = """
name = "odd"
output = "out"
dynamics = { kind = "recurrent", ticks = 3, keep = 0.25, groups = 2 }
population = [
    { name = "pixels", shape = [6, 6] }, { name = "context", shape = [7] }, { name = "label", shape = [4] },
    { name = "h1", shape = [2, 2, 3] }, { name = "film", shape = [9], source = "h1", stage = "mixing" },
    { name = "h2", shape = [8] },
    { name = "h3", shape = [5], converters = { adc_bits = 3, output_range = 2, adc_unipolar = true } },
    { name = "out", shape = [4] },
]
array = [
    { source = "pixels", target = "h1", wiring = { kind = "patches", size = 4, stride = 2 } },
    { source = "label", target = "out" }, { source = "context", target = "h2", normaliser = "none" },
    { source = "film", target = "h2" }, { source = "h1", target = "h3", wiring = { kind = "tiles", rows = 5, columns = 5 }, \
      partial_sums = "digital", device = { technology = "soft_bounds" } },
    { source = "h2", target = "h2" }, { source = "h2", target = "h3" }, { source = "h3", target = "out" },
    { source = "out", target = "h3" }, { source = "h3", target = "h1" }, { source = "h3", target = "h2" },
]
[device]
technology = "linear"
"""
NAMES = [*design_names(), "odd"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@functools.cache
def design_of(name: str) -> Design:
    return build_design(tomllib.loads(ODD), "odd") if name == "odd" else load_design(name)


def mortalsim_says(*arguments: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(cli.build(list(arguments)), list(arguments))
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.exit_code, found.stdout, found.stderr


@functools.cache
def drawn(name: str):
    """Return the figure of a design after it was laid out, its texts and the boxes of its populations, in pixels."""
    design = design_of(name)
    figure = netlist_figure(design.datasheet(), showing.notes(design))
    figure.draw_without_rendering()
    net, chart = figure.axes
    texts = [text for text in (*figure.texts, *net.texts, *chart.findobj(Text)) if text.get_text() and text.get_visible()]
    boxes = {patch.get_gid(): patch.get_window_extent() for patch in figure.findobj(FancyBboxPatch) if patch.get_gid()}
    return figure, texts, boxes


@pytest.mark.parametrize("name", NAMES)
def test_every_design_is_shown_with_the_costs_of_its_data_sheet(folder: Path, name: str):
    (folder / "odd.toml").write_text(ODD, encoding="utf-8")
    code, out, err = mortalsim_says("show", "odd.toml" if name == "odd" else name)
    assert (code, err) == (0, "")
    sheet = design_of(name).datasheet()
    rows = [line.split() for line in out.splitlines()]
    for population in sheet.populations.values():
        assert any(row[:1] == [population.name] and str(population.size) in row for row in rows)
    for place, spec in enumerate(sheet.arrays):
        assert any(row[:4] == [str(place), spec.source, "->", spec.target] for row in rows)
    for answer in sheet.timetable:
        assert any(row[:3] == [str(answer.wave), answer.population, str(answer.tick)] for row in rows)
    for port in sheet.ports:
        assert port in out
    assert "…" not in out
    assert ["time", *engineering(sheet.seconds_per_read, "s").split()] in [row[:3] for row in rows]
    assert ["energy", *engineering(sheet.joules_per_read, "J").split()] in [row[:3] for row in rows]
    assert f"The picture is in {name}.png" in out
    assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", NAMES)
def test_the_parts_of_the_costs_are_those_of_the_data_sheet(name: str):
    sheet, parts = design_of(name).datasheet(), showing.counted(design_of(name))
    energy = parts.device_joules + parts.adcs * parts.adc_joules + parts.dacs * parts.dac_joules
    assert energy == pytest.approx(sheet.joules_per_read, rel=1e-9)
    assert parts.waves * parts.wave_seconds == pytest.approx(sheet.seconds_per_read, rel=1e-12)
    texts = "\n".join(text.get_text() for text in drawn(name)[1])
    assert engineering(sheet.seconds_per_read, "s") in texts
    assert engineering(sheet.joules_per_read, "J") in texts


def test_conversions_are_counted_as_by_hand():
    parts = showing.counted(load_design("fields"))
    assert parts.adcs == 144 + 96 + 10
    assert parts.dacs == 9 * 17 + 10 + 4 * 65 + 97


def test_what_an_array_or_population_overrules_is_printed():
    design = design_of("odd")
    arrays, populations = showing.arrays(design), showing.populations(design)
    cells = dict(zip(arrays.headings, arrays.rows[4], strict=True))
    assert (cells["wiring"], cells["blocks"], cells["rows x columns"]) == ("tiles", "3", "5 x 5")
    assert (cells["technology"], cells["partial sums"], cells["bias lines"]) == ("soft_bounds", "digital", "1")
    assert cells["weights wired"] == str((12 + 1) * 5)
    assert [dict(zip(arrays.headings, row, strict=True))["normaliser"] for row in arrays.rows[1:4]] == [
        "source",
        "none",
        "source",
    ]
    by_name = {row[0]: dict(zip(populations.headings, row, strict=True)) for row in populations.rows}
    assert (by_name["h3"]["ADC"], by_name["h3"]["ticks"]) == ("3 bits, 0 to 2", "3")
    assert (by_name["film"]["role"], by_name["film"]["curve"], by_name["film"]["ADC"]) == (
        "stage",
        "black box (mixing)",
        "-",
    )
    assert (by_name["pixels"]["ticks"], by_name["pixels"]["shape"]) == ("clamped", "6 x 6")
    assert "pixels at 0 to 35, context at 36 to 42, label at 43 to 46" in showing.sentences(design.datasheet())[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_population_array_and_answer_is_drawn(name: str):
    figure, texts, boxes = drawn(name)
    sheet, shown = design_of(name).datasheet(), [text.get_text() for text in texts]
    assert list(boxes) == list(sheet.populations)
    net, chart = figure.axes
    within = {name: [text.get_text() for text in net.texts if box.contains(*centre(text))] for name, box in boxes.items()}
    for name, spec in sheet.populations.items():
        assert within[name][0] == name
        assert " × ".join(map(str, spec.shape)) in within[name][1]
    for place, spec in enumerate(sheet.arrays):
        shape = " × ".join(map(str, (1, *spec.shape)[-3:]))
        assert any(text.startswith(f"{place}: ") and shape in text for text in shown)
    assert sorted(text.get_text() for text in chart.texts) == sorted(str(answer.tick) for answer in sheet.timetable)


def centre(text: Text) -> tuple[float, float]:
    box = text.get_window_extent()
    return (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2


@pytest.mark.parametrize("name", NAMES)
def test_nothing_covers_anything_else(name: str):
    figure, texts, boxes = drawn(name)
    for one, other in itertools.combinations(boxes.values(), 2):
        assert not one.overlaps(other)
    net = figure.axes[0]
    labels = [text for text in net.texts if text.get_bbox_patch() is not None]
    frames = [text.get_bbox_patch().get_window_extent() for text in labels]
    for frame in frames:
        assert not any(frame.overlaps(box) for box in boxes.values())
    for one, other in itertools.combinations(frames, 2):
        assert not one.overlaps(other)
    extents = [text.get_window_extent() for text in texts]
    for one, other in itertools.combinations(extents, 2):
        assert not one.overlaps(other)
    for extent in (*extents, *frames, *boxes.values()):
        assert extent.x0 >= 0 and extent.y0 >= 0
        assert extent.x1 <= figure.bbox.width and extent.y1 <= figure.bbox.height
    for text in (text for text in net.texts if text.get_bbox_patch() is None):
        own = next(box for box in boxes.values() if box.contains(*centre(text)))
        written = text.get_window_extent()
        assert own.x0 <= written.x0 and written.x1 <= own.x1 and own.y0 <= written.y0 and written.y1 <= own.y1


def test_feedback_goes_back_in_another_colour_under_the_boxes():
    figure, _, boxes = drawn("recurrent")
    label = next(text for text in figure.axes[0].texts if text.get_text().startswith("1: "))
    forward = next(text for text in figure.axes[0].texts if text.get_text().startswith("0: "))
    assert label.get_window_extent().y1 < min(box.y0 for box in boxes.values())
    assert label.get_bbox_patch().get_edgecolor() != forward.get_bbox_patch().get_edgecolor()


def test_boxes_stand_from_left_to_right_by_the_wave_of_their_first_answer():
    _, _, boxes = drawn("recurrent")
    assert boxes["pixels"].x0 == boxes["label"].x0 < boxes["h1"].x0 < boxes["h2"].x0 < boxes["out"].x0


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_suffix_chooses_the_kind_of_picture(folder: Path, suffix: str, start: bytes):
    assert mortalsim_says("show", "mild", "--out", f"net{suffix}")[0] == 0
    assert (folder / f"net{suffix}").read_bytes().startswith(start)


def test_pictures_are_the_same_each_time():
    design = load_design("mild")
    first, second = (draw_netlist(design.datasheet(), showing.notes(design)) for _ in range(2))
    assert first == second


def test_a_picture_that_exists_is_kept_unless_forced(folder: Path):
    (folder / "mild.png").write_text("mine")
    code, out, err = mortalsim_says("show", "mild")
    assert (code, out) == (2, "")
    assert "mild.png exists already" in err and "--force" in err
    assert (folder / "mild.png").read_text() == "mine"
    assert mortalsim_says("show", "mild", "--force")[0] == 0
    assert (folder / "mild.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["feilds"], "Did you mean 'fields'?"),
        (["nix.toml"], "cannot be read"),
        (["mild", "--out", "nowhere/net.png"], "nowhere/net.png cannot be written (No such file or directory)"),
        (["mild", "--out", "net.gif"], "expected a file that ends in .png, .svg, .pdf, found net.gif"),
    ],
)
def test_mistakes_are_one_sentence(folder: Path, arguments: list[str], sentence: str):
    code, _, err = mortalsim_says("show", *arguments)
    assert code == 2
    assert sentence in err and err.count("\n") == 1
    assert not list(folder.iterdir())


def test_a_timetable_of_many_waves_is_drawn_without_numbers():
    design = load_design("recurrent").revised(dynamics={"kind": "recurrent", "ticks": 60})
    figure = netlist_figure(design.datasheet(), showing.notes(design))
    chart = figure.axes[1]
    assert not chart.texts and len(chart.collections) > 3 * 60


def test_a_name_is_taken_as_it_is_written():
    design = load_design("mild").revised(name="costs $5 or $6", summary="a_b $x^$")
    assert draw_netlist(design.datasheet(), showing.notes(design)).startswith(b"\x89PNG")
