"""Small designs that are no chains of dense arrays: one for each thing that a netlist can have."""

from __future__ import annotations

from mortalsim.chips import load_design
from mortalsim.chips.design import Design, build_design

#: Twelve inputs, of which the last four are a label's.
CLASSES = 4

_IN, _LABEL, _OUT = {"name": "in", "shape": [2, 4]}, {"name": "label", "shape": [4]}, {"name": "out", "shape": [4]}
_H1, _H2 = {"name": "h1", "shape": [7]}, {"name": "h2", "shape": [6]}


def _array(source, target, **more):
    return {"source": source, "target": target, **more}


_PATCHES = {"kind": "patches", "size": 2, "stride": 1}
_TILES = {"kind": "tiles", "rows": 3, "columns": 4}
_STAGE = {"name": "box", "shape": [7], "source": "h1", "stage": "mixing"}

NETS = {
    # Two arrays into the output, one of them past a hidden population, and two into the first hidden one.
    "forked": {
        "population": [_IN, _LABEL, _H1, _H2, _OUT],
        "array": [
            _array("in", "h1"),
            _array("label", "h1"),
            _array("h1", "h2"),
            _array("h2", "out"),
            _array("h1", "out"),
        ],
        "output": "out",
    },
    # A block a location, then tiles of which several feed a neuron; the last ones have ground and unused columns.
    "blocks": {
        "population": [_IN, _LABEL, {"name": "h1", "shape": [1, 3, 3]}, _H2, _OUT],
        "array": [
            _array("in", "h1", wiring=_PATCHES),
            _array("label", "h1"),
            _array("h1", "h2", wiring=_TILES),
            _array("h2", "out", wiring=_TILES),
        ],
        "output": "out",
    },
    # The same, each block with a normaliser of its own.
    "block_normaliser": {
        "population": [_IN, _LABEL, {"name": "h1", "shape": [1, 3, 3]}, _H2, _OUT],
        "array": [
            _array("in", "h1", wiring=_PATCHES, normaliser="block"),
            _array("label", "h1"),
            _array("h1", "h2", wiring=_TILES, normaliser="block"),
            _array("h2", "out", normaliser="none"),
        ],
        "output": "out",
    },
    # Two hidden populations that settle between clamped inputs; the output answers at every tick as well.
    "recurrent": {
        "population": [_IN, _LABEL, _H1, _H2, _OUT],
        "array": [
            _array("in", "h1"),
            _array("h2", "h1"),
            _array("h1", "h2"),
            _array("label", "h2"),
            _array("h2", "out"),
        ],
        "output": "out",
        "dynamics": {"kind": "recurrent", "ticks": 3, "keep": 0.3},
    },
    # A black box stands between two arrays.
    "staged": {
        "population": [_IN, _LABEL, _H1, _STAGE, _H2, _OUT],
        "array": [
            _array("in", "h1"),
            _array("label", "h1"),
            _array("box", "h2"),
            _array("h2", "out"),
        ],
        "output": "out",
    },
    # Nothing but hidden populations.
    "headless": {
        "population": [_IN, _LABEL, _H1, _H2],
        "array": [_array("in", "h1"), _array("label", "h1"), _array("h1", "h2")],
    },
}


def net(name: str, technology: str = "ideal", **fields) -> Design:
    """Return the net called ``name`` in the technology of a shipped chain."""
    base = load_design(technology).fields()
    for field in ("sizes", "dynamics", "name", "summary"):
        base.pop(field, None)
    return build_design({**base, "name": name, **NETS[name], **fields}, f"net {name}")
