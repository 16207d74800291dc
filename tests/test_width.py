"""Error against width: which chips are compared with which, what a gain is, and what is said of it."""

from __future__ import annotations

import pytest
from tiny import load_tiny

from mortalsim import data
from mortalsim.experiments._trial import Outcome
from mortalsim.experiments.width import Entry, Width, _gains, _sentences


def outcome(error):
    return Outcome(error, None, 1, 1, 1.0, 1.0, (0.5,), ())


def group(*errors):
    return {chip: outcome(error) for chip, error in enumerate(errors)}


@pytest.fixture
def found(monkeypatch):
    monkeypatch.setattr(data, "load", load_tiny)
    learners = ("insilico", "mono", "readout")
    return Width(designs=("wild",), learners=learners, widths=(6, 12), chips=2, epochs_scale=0.1, jobs=1).run()


def test_every_width_has_its_own_chips_and_a_head_start_where_a_rule_goes_on(found):
    rows = {(row["width"], row["learner"], row["start"]) for row in found.rows}
    each = {("insilico", "fabricated"), ("mono", "fabricated"), ("mono", "insilico"), ("readout", "fabricated")}
    assert rows == {(width, *own) for width in (6, 12) for own in each}
    (panel,) = found.figures[0].panels
    assert {series.name: series.x for series in panel.series} == dict.fromkeys(
        ("insilico", "mono", "mono, started", "readout"), (6.0, 12.0)
    )
    assert all(len(row["test_errors"]) == 2 for row in found.rows)


def test_hidden_populations_are_as_wide_as_asked_and_samples_as_many(monkeypatch):
    monkeypatch.setattr(data, "load", load_tiny)
    width = Width(designs=("mild",), learners=("mono",), widths=(5,), layers=3, chips=1, images=20, starts=("fabricated",))
    (task,) = width.tasks(width.inputs())
    sheet = task.design.datasheet()
    assert [sheet.populations[name].size for name in sheet.hidden] == [5, 5, 5]
    row = width.model_copy(update={"epochs_scale": 0.1, "jobs": 1}).run().rows[0]
    assert row["reads"] == 20 * 3  # a tenth of 30 epochs


def test_gains_are_taken_chip_by_chip_on_the_same_design_and_width():
    start = "fabricated"
    groups = {
        Entry("wild", 16, "insilico", start): group(0.30, 0.20, 0.25),
        Entry("wild", 16, "mono", start): group(0.10, 0.02, 0.06),
        Entry("wild", 16, "mono", "insilico"): group(0.35, 0.15, 0.25),
        Entry("wild", 64, "insilico", start): group(0.05, 0.05, 0.05),
        Entry("wild", 64, "physics_aware", start): group(0.04, 0.04, 0.04),
        Entry("wild", 64, "physics_aware", "insilico"): group(0.01, 0.01, 0.01),
        Entry("wild", 64, "mono", start): group(0.04, 0.06, 0.05),
    }
    gains = {(row["width"], row["rule"], row["other"]): row for row in _gains(groups)}
    assert set(gains) == {
        (16, "mono", "insilico"), (16, "mono, started", "insilico"), (64, "mono", "insilico"), (64, "mono", "physics_aware"),
    }  # fmt: skip
    assert gains[16, "mono", "insilico"]["gain"] == pytest.approx((0.20 + 0.18 + 0.19) / 3)
    assert gains[16, "mono", "insilico"]["low"] > 0.15 and gains[64, "mono", "insilico"]["low"] < 0
    said = _sentences(list(gains.values()))
    assert said == [
        "Rules that pay beside insilico on wild. At 16: mono. At 64: none.",
        "Rules that pay beside physics_aware on wild. At 64: none.",
    ]


def test_a_single_chip_says_nothing_about_what_pays():
    groups = {Entry("wild", 16, name, "fabricated"): group(error) for name, error in (("insilico", 0.9), ("ff", 0.1))}
    (row,) = _gains(groups)
    assert row["gain"] == pytest.approx(0.8) and row["low"] is None
    assert _sentences([row]) == ["Rules that pay beside insilico on wild. At 16: none."]
