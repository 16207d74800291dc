"""Chips of every structure, small enough for kernels that run as plain Python: fields, tiles, loops, stages, no head."""

from mortalsim.chips import load_design

#: Of each shipped design in the long form: shapes of its populations, and wirings by the array's place.
SHAPES = {
    "boxed": ({"in": (8,), "h1": (6,), "medium": (6,), "h2": (5,), "out": (4,)}, {}),
    "fields": (
        {"pixels": (4, 4), "label": (4,), "h1": (3, 3, 2), "h2": (2, 2, 3), "out": (4,)},
        {0: {"kind": "patches", "size": 2}, 2: {"kind": "patches", "size": 2}},
    ),
    "headless": ({"pixels": (8,), "label": (4,), "h1": (6,), "h2": (5,)}, {}),
    "recurrent": ({"pixels": (8,), "label": (4,), "h1": (6,), "h2": (5,), "out": (4,)}, {}),
    "tiled": (
        {"in": (8,), "h1": (6,), "h2": (5,), "out": (4,)},
        {place: {"kind": "tiles", "rows": 4, "columns": 4} for place in range(3)},
    ),
}

STRUCTURES = tuple(SHAPES)


def structured(name, **fields):
    """Return a shipped design in the long form with the shapes and wirings of `SHAPES`, other fields as given."""
    design = load_design(name)
    shapes, wirings = SHAPES[name]
    whole = design.fields()
    populations = [entry | {"shape": shapes[entry["name"]]} for entry in whole["population"]]
    arrays = [
        entry | {"wiring": wirings.get(place, entry["wiring"])}
        for place, entry in enumerate(whole["array"])
    ]  # fmt: skip
    return design.revised(population=populations, array=arrays, **fields)


#: Nothing is random from read to read, rounded, clipped or drifting; changes are taken exactly. Other mismatch stays.
EXACT = {
    "device": {
        "pulses": 0, "read_noise": 0.0, "read_noise_relative": 0.0, "drift": 0.0, "drift_dtod": 0.0, "stuck": 0.0,
        "conductance_dtod": 0.0, "bound_dtod": 0.0,
    },
    "converters": {"dac_bits": 0, "adc_bits": 0, "input_range": 0.0, "output_range": 0.0},
    "neurons": {"noise": 0.0, "saturation": 0.0},
}  # fmt: skip


def exact(name, **fields):
    """Return `structured` without anything that makes reads or writes inexact; ``fields`` go beside that."""
    return structured(name, **{group: values | fields.pop(group, {}) for group, values in EXACT.items()}, **fields)
