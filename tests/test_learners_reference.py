"""What the learners' docstrings say of their state and of what steps report is what `init` and `step` return."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from batches import RNG, TASK, batch, make
from fakes import IdealChip
from nets import net

from mortalsim.learners import LEARNERS, Learner

#: Settings that change which keys there are, beside the defaults.
FURTHER = {"ff": [{"momentum": 0.0}, {"threshold": "running"}, {"center": 0.0}]}
CHIPS = {"chain": make, "blocks": lambda: IdealChip(net("blocks").datasheet(), 1)}
UNITS = {"nats", "fraction", "number"}


@pytest.fixture
def reference(monkeypatch):
    """The module that makes the reference pages."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "docs")
    return importlib.import_module("make_reference")


def shapes(kind, sheet):
    """The shapes that ``kind`` may stand for on a chip of this data sheet."""
    features = sum(sheet.populations[name].size for name in sheet.hidden) + 1
    sizes = {"size": [spec.size for spec in sheet.populations.values()], "features": [features], "classes": [TASK.classes]}
    words = [word.strip() for word in kind.strip("()").split(",") if word.strip()]
    if words == ["rows"]:
        return {(*spec.shape[:-2], spec.n_in) for spec in sheet.arrays}
    if words == ["array"]:
        return {spec.shape for spec in sheet.arrays}
    found = [()]
    for word in words:
        found = [(*shape, size) for shape in found for size in sizes.get(word) or [int(word)]]
    return set(found)


def matching(entries, key):
    """The one entry that describes a key of the state."""
    names = {"population": r"\w+", "array": r"\d+"}
    found = [entry for entry in entries if re.fullmatch(re.sub(r"\{(\w+)\}", lambda m: names[m[1]], entry[0]), key)]
    assert len(found) == 1, (key, found)
    return found[0]


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", LEARNERS.names())
def test_state_and_info_are_as_described(name, chip, reference):
    kind = LEARNERS.get(name)
    doc = inspect.getdoc(kind)
    state_entries, info_entries = (reference.typed_entries(doc, section) for section in ("State", "Info"))
    met, reported = set(), set()
    for settings in ({}, *FURTHER.get(name, ())):
        learner, own = kind(**settings), CHIPS[chip]()
        state = learner.init(own.datasheet, TASK, RNG(0))
        for _ in range(3):
            for key, value in state.items():
                entry = matching(state_entries, key)
                dtype, _, shape = entry[1].partition(" ")
                assert value.dtype == np.dtype(dtype), key
                assert value.shape in shapes(shape, own.datasheet), key
                met.add(entry[0])
            state, info = learner.step(own, TASK, batch(), state, RNG(1))
            reported |= {matching(info_entries, key)[0] for key in info}
    assert met == {key for key, _, _ in state_entries}
    assert reported == {key for key, _, _ in info_entries} and "loss" in reported
    assert {unit for _, unit, _ in info_entries} <= UNITS


@pytest.mark.parametrize("name", LEARNERS.names())
def test_every_hyper_parameter_is_described(name, reference):
    kind = LEARNERS.get(name)
    meanings = reference._meanings(inspect.getdoc(Learner)) | reference._meanings(inspect.getdoc(kind))
    assert {field.name for field in dataclasses.fields(kind)} <= set(meanings)
