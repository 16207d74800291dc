"""The short form of a design may add a label, heads and feedback to its chain, and feed the output from more places."""

import numpy as np
import pytest

from mortalsim import build, data
from mortalsim.checks import DesignError
from mortalsim.chips import SimulatedChip, load_design
from mortalsim.streams import Streams


def links(**fields):
    sheet = load_design("mild").revised(sizes=(8, 7, 6, 5, 4), **fields).datasheet()
    return [(spec.source, spec.target) for spec in sheet.arrays], sheet


CHAIN = {("in", "h1"), ("h1", "h2"), ("h2", "h3"), ("h3", "out")}


@pytest.mark.parametrize(
    ("fields", "added"),
    [
        ({}, []),
        ({"label": 4}, [("label", "h1"), ("label", "h2"), ("label", "h3")]),
        ({"heads": True}, [("h1", "head_h1"), ("h2", "head_h2"), ("h3", "head_h3")]),
        ({"into_output": "later"}, [("h2", "out")]),
        ({"into_output": "all"}, [("h1", "out"), ("h2", "out")]),
        ({"feedback": True, "dynamics": {"kind": "recurrent"}}, [("h2", "h1"), ("h3", "h2")]),
        (
            {"feedback": True, "label": 4, "dynamics": {"kind": "recurrent", "late": ["label"]}},
            [("h2", "h1"), ("h3", "h2"), ("label", "h3")],
        ),
    ],
    ids=str,
)
def test_what_is_added_to_the_chain(fields, added):
    found, sheet = links(**fields)
    assert set(found) == CHAIN | set(added) and len(found) == len(CHAIN | set(added))
    assert sheet.output == "out" and [sheet.populations[name].size for name in sheet.inputs] == [8] + [4] * (
        "label" in fields
    )
    heads = [name for name in sheet.populations if name.startswith("head_")]
    assert all(sheet.populations[head].size == 4 for head in heads) and len(heads) == 3 * bool(fields.get("heads"))
    # Of a population's arrays the chain's comes first, and has the bias line.
    for source, target in CHAIN:
        first = next(spec for spec in sheet.arrays if spec.target == target)
        assert first.source == source and first.n_in == sheet.populations[source].size + 1


def test_a_late_label_is_not_known_in_the_first_pass():
    """The first states are the same whatever the label; the last ones are not."""
    dynamics = {"kind": "recurrent", "ticks": 3, "late": ["label"]}
    design = load_design("ideal").revised(sizes=(8, 7, 6, 4), label=4, feedback=True, dynamics=dynamics)
    chip = SimulatedChip(design, 3)
    x = np.concatenate([np.full((4, 8), 0.5), np.eye(4)], axis=1).astype(np.float32)
    states = chip.read(x).states
    for name in ("h1", "h2"):
        assert np.ptp(states[name][0], axis=0).max() < 1e-5
        assert np.ptp(states[name][3], axis=0).max() > 1e-2
    with pytest.raises(DesignError, match=r"late: input: expected one of in, label; found 'lable'\. Did you mean 'label'"):
        design.revised(dynamics=dynamics | {"late": ["lable"]})


def test_a_label_follows_the_classes_of_the_data():
    run = Streams(0)
    design, digits = build.fitted("labelled", data.load("digits", run), hidden=(20, 20))
    assert design.label == 10 and digits.label_lines == tuple(range(64, 74))
    assert load_design("labelled").with_sizes((8, 7, 3)).label == 3


def test_additions_are_part_of_a_design_s_identity_and_go_with_it():
    plain, labelled = load_design("mild"), load_design("mild").revised(label=10)
    assert plain.digest() != labelled.digest()
    assert type(plain)(**labelled.fields()) == labelled


@pytest.mark.parametrize("field", [{"label": 4}, {"heads": True}, {"feedback": True}, {"into_output": "all"}], ids=str)
def test_additions_to_a_design_that_lists_its_populations_are_refused(field):
    with pytest.raises(DesignError, match=f"{next(iter(field))}: it adds to a chain of sizes; leave it out beside"):
        load_design("headless").revised(**field)


def test_additions_need_a_hidden_population():
    with pytest.raises(DesignError, match="label, heads, feedback: expected a hidden population, found none in sizes"):
        load_design("mild").revised(sizes=(8, 4), label=4)
