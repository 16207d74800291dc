"""The netlist: populations, arrays and timetable of a design, with the circuits that each is made of, and its data sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from mortalsim.checks import DesignError, ShapeError, UnknownName, check_name
from mortalsim.chips.dynamics import DYNAMICS, check_timetable
from mortalsim.chips.footprint import MOST_GROUPS, Footprint, check_shape
from mortalsim.chips.technology import Technology
from mortalsim.chips.wiring import WIRINGS, check_tables
from mortalsim.circuits.converters import Converters
from mortalsim.circuits.curves import Curve
from mortalsim.circuits.neurons import Neurons
from mortalsim.circuits.normaliser import Normaliser
from mortalsim.circuits.nudges import NudgePorts
from mortalsim.circuits.patterns import PATTERNS, families
from mortalsim.circuits.stages import Stage
from mortalsim.devices import DEVICES, Device
from mortalsim.hardware import Answer, ArraySpec, Datasheet, PopulationSpec
from mortalsim.kernels.counters import OCCASIONS, PLACES
from mortalsim.settings import Chosen, explain

if TYPE_CHECKING:
    from mortalsim.chips.design import ArrayEntry, Design, PopulationEntry

G = TypeVar("G", bound=BaseModel)


@dataclass(frozen=True, eq=False)
class PopulationParts:
    """What a population is made of.

    Parameters
    ----------
    spec
        Its entry on the data sheet.
    neurons, curve, converters, nudges
        Neurons and their curve, output converters, current ports; of no meaning for inputs and stages.
    stage, source
        The black box that stands here instead, and the population that it stands on.
    """

    spec: PopulationSpec
    neurons: Neurons
    curve: Curve
    converters: Converters
    nudges: NudgePorts
    stage: Stage | None
    source: str | None


@dataclass(frozen=True, eq=False)
class ArrayParts:
    """What an array is made of.

    Parameters
    ----------
    spec
        Its entry on the data sheet.
    technology, normaliser, converters, nudges
        Devices, normaliser, input converters, weight ports.
    digital
        Whether each block's columns go through converters of their own and are added digitally.
    driven
        (blocks,): rows that carry an output of the source.
    lines
        (blocks, n_in), true for rows that carry an output of the source or the bias, not ground.
    feeding
        (blocks, n_out), true for columns that feed a neuron.
    fan_in
        (blocks, n_out): lines that reach the neuron behind each column, over all arrays into its population.
    """

    spec: ArraySpec
    technology: Technology
    normaliser: Normaliser
    converters: Converters
    nudges: NudgePorts
    digital: bool
    driven: np.ndarray
    lines: np.ndarray
    feeding: np.ndarray
    fan_in: np.ndarray


class Netlist(NamedTuple):
    """A design taken apart."""

    sheet: Datasheet
    populations: Mapping[str, PopulationParts]
    arrays: tuple[ArrayParts, ...]


class _Wires(NamedTuple):
    """An array's wiring and what follows from it; fields as in `ArrayParts`."""

    entry: ArrayEntry
    shape: tuple[int, ...]
    rows: np.ndarray | None
    columns: np.ndarray | None
    driven: np.ndarray
    lines: np.ndarray
    feeding: np.ndarray


def build_netlist(design: Design) -> Netlist:
    """Return populations, arrays and timetable of a design.

    Raises
    ------
    DesignError, ShapeError, UnknownName
        Something is called what does not exist, or does not fit together; the message says which and what to write.
    """
    entries, wires_of, output = _long_form(design)
    shapes = {entry.name: entry for entry in entries}
    _check_names(entries, wires_of, output)
    wires = _wires(shapes, wires_of)
    populations = {entry.name: _population(design, entry, wires, output) for entry in entries}
    timetable, inputs = _timetable(design.dynamics, populations, wires)
    fan_in = {name: _lines_into(name, parts.spec.size, wires) for name, parts in populations.items()}
    arrays = tuple(_array(design, wire, populations[wire.entry.target].spec.size, fan_in) for wire in wires)
    specs = {name: _with_noise(design, parts, arrays) for name, parts in populations.items()}
    populations = {name: _replaced(parts, specs[name]) for name, parts in populations.items()}
    seconds = (1 + max(answer.wave for answer in timetable)) * design.costs.read_seconds
    joules = _joules(design, timetable, populations, arrays)
    sheet = Datasheet(
        design.name, specs, tuple(parts.spec for parts in arrays), timetable, inputs, output, design.ports,
        frozenset(PATTERNS.readable()), seconds, joules, families(),
    )  # fmt: skip
    return Netlist(sheet, populations, arrays)


def _long_form(design: Design) -> tuple[Sequence[PopulationEntry], Sequence[ArrayEntry], str | None]:
    """Return the entries of populations and arrays; sizes stand for a chain that ends in the output."""
    if design.long:
        return design.population, design.array, design.output
    from mortalsim.chips.design import ArrayEntry, PopulationEntry

    hidden = [f"h{place}" for place in range(1, len(design.sizes) - 1)]
    names = ["in", *hidden, "out"]
    populations = [PopulationEntry(name=name, shape=(size,)) for name, size in zip(names, design.sizes, strict=True)]
    links = list(pairwise(names))
    if design.into_output != "last":
        links += [(name, "out") for name in hidden[design.into_output == "later" : -1]]
    if design.feedback:
        links += [(above, below) for below, above in pairwise(hidden)]
    if design.label:
        populations.insert(1, PopulationEntry(name="label", shape=(design.label,)))
        links += [("label", name) for name in (hidden[-1:] if design.feedback else hidden)]
    if design.heads:
        shape, curve = (design.sizes[-1],), {"curve": design.neurons.output_curve}
        populations[-1:-1] = [PopulationEntry(name=f"head_{name}", shape=shape, neurons=curve) for name in hidden]
        links += [(name, f"head_{name}") for name in hidden]
    if (design.label or design.heads or design.feedback) and not hidden:
        raise DesignError(
            "label, heads, feedback: expected a hidden population, found none in sizes; give sizes a third number"
        )
    order = [entry.name for entry in populations]
    links.sort(key=lambda link: order.index(link[1]))  # stable: of a population's arrays the chain's comes first
    return populations, [ArrayEntry(source=a, target=b) for a, b in links], "out"


def _check_names(entries: Sequence[PopulationEntry], arrays: Sequence[ArrayEntry], output: str | None) -> None:
    names = [entry.name for entry in entries]
    most = min(MOST_GROUPS, PLACES)
    if len(names) > most or len(arrays) > most:
        raise DesignError(f"population, array: expected at most {most} of each, found {len(names)} and {len(arrays)}")
    for entry in entries:
        check_shape(entry.name, entry.shape)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DesignError(f"population: expected every name once, found {twice[0]!r} {names.count(twice[0])} times")
    fed = {array.target for array in arrays}
    for place, array in enumerate(arrays):
        for end in (array.source, array.target):
            check_name(f"array {place}: population", end, names)
    for entry in entries:
        if (entry.stage is None) != (entry.source is None):
            raise DesignError(f"population {entry.name!r}: a stage and its source belong together; give both or neither")
        if entry.source is not None:
            check_name(f"population {entry.name!r}: source", entry.source, names)
            if entry.name in fed:
                raise DesignError(f"population {entry.name!r}: a stage is fed by its source alone; remove the array into it")
    if output is not None:
        check_name("output", output, names)
        if output not in fed:
            raise DesignError(f"output: expected a population that an array feeds, found {output!r}")


def _wires(shapes: Mapping[str, PopulationEntry], entries: Sequence[ArrayEntry]) -> list[_Wires]:
    """Return the wiring of every array; one bias line a population, unless an entry says otherwise."""
    found: list[_Wires] = []
    order, footprint = list(shapes), Footprint()
    for place, entry in enumerate(entries):
        # An array from below rather than one from above, which may carry nothing in the first pass.
        rivals = [k for k, other in enumerate(entries) if other.target == entry.target]
        below = [k for k in rivals if order.index(entries[k].source) < order.index(entry.target)]
        bias = place == (below or rivals)[0] if entry.bias is None else entry.bias
        source, target = shapes[entry.source].shape, shapes[entry.target].shape
        n, m = prod(source), prod(target)
        where = f"array {place} ({entry.source} to {entry.target})"
        try:
            made = entry.wiring.call(WIRINGS, source, target, bias=bias)
            rows, columns = check_tables(entry.wiring.kind, made, n, m)
        except (ShapeError, DesignError, UnknownName) as error:
            raise DesignError(f"{where}: {error}") from error
        if rows is None and entry.partial_sums == "digital":  # its one partial sum has converters of its own
            rows, columns = np.arange(n + bias)[None], np.arange(m)[None]
        shape: tuple[int, ...] = (n + bias, m)
        if rows is not None and columns is not None:
            shape = (len(rows), rows.shape[1], columns.shape[1])
        footprint.add(shape)
        if rows is None or columns is None:
            driven, lines, feeding = np.array([n]), np.ones((1, n + bias), bool), np.ones((1, m), bool)
        else:
            driven, lines, feeding = (rows < n).sum(axis=1), rows <= n, columns < m
        found.append(_Wires(entry, shape, rows, columns, driven, lines, feeding))
    return found


def _lines_into(name: str, size: int, wires: Sequence[_Wires]) -> np.ndarray:
    """Return how many lines reach each neuron of a population, over all arrays and blocks; grounded rows do not count."""
    total = np.zeros(size + 1, np.int64)
    for wire in wires:
        if wire.entry.target == name:
            carried = wire.lines.sum(axis=1)
            columns = np.arange(size)[None] if wire.columns is None else wire.columns
            for block, own in enumerate(columns):
                total[own] += carried[block]
    if not total[:size].all() and any(wire.entry.target == name for wire in wires):
        neuron = int(np.argmin(total[:size]))
        raise ShapeError(
            f"population {name!r}: neuron {neuron} of {size} is reached by no line. Wire it, or make it smaller."
        )
    return total[:size]


def _population(design: Design, entry: PopulationEntry, wires: Sequence[_Wires], output: str | None) -> PopulationParts:
    where = f"population {entry.name!r}"
    fed = any(wire.entry.target == entry.name for wire in wires)
    idle = [group for group in ("neurons", "converters", "nudges") if getattr(entry, group) and not fed]
    if idle:
        raise DesignError(f"{where}: {idle[0]}: an input or a stage has none. Leave the group out.")
    neurons = overruled(where, "neurons", design.neurons, entry.neurons, OF_POPULATIONS)
    own_curve = "curve" in entry.neurons or entry.name != output
    curve = neurons.curve if own_curve else neurons.output_curve
    converters = overruled(where, "converters", design.converters, entry.converters, OF_ARRAYS)
    if fed:
        spec = PopulationSpec(
            entry.name, entry.shape, curve.nominal(), 0.0, converters.output_range, converters.adc_bits,
            converters.adc_unipolar,
        )  # fmt: skip
    else:
        spec = PopulationSpec(entry.name, entry.shape, entry.stage.nominal() if entry.stage else None)
    nudges = overruled(where, "nudges", design.nudges, entry.nudges, OF_ARRAYS)
    return PopulationParts(spec, neurons, curve, converters, nudges, entry.stage, entry.source)


def _timetable(
    dynamics: Chosen, populations: Mapping[str, PopulationParts], wires: Sequence[_Wires]
) -> tuple[tuple[Answer, ...], tuple[str, ...]]:
    fed = {wire.entry.target for wire in wires}
    inputs = tuple(name for name, parts in populations.items() if parts.stage is None and name not in fed)
    order = [name for name in populations if name not in inputs]
    feeds: dict[str, list[tuple[int | str, str]]] = {
        name: [(place, wire.entry.source) for place, wire in enumerate(wires) if wire.entry.target == name] for name in order
    }
    feeds |= {name: [(parts.source, parts.source)] for name, parts in populations.items() if parts.source is not None}
    if not inputs:
        raise DesignError("population: expected at least one that no array feeds, the input, found none")
    made = dynamics.call(DYNAMICS, order, feeds, inputs)
    timetable = check_timetable(dynamics.kind, made, feeds, inputs)
    if max(answer.tick for answer in timetable) >= OCCASIONS:
        raise DesignError(f"dynamics: expected fewer than {OCCASIONS} ticks, found {max(a.tick for a in timetable) + 1}")
    return timetable, inputs


def _array(design: Design, wire: _Wires, size: int, fan_in: Mapping[str, np.ndarray]) -> ArrayParts:
    entry = wire.entry
    where = f"array {entry.source} to {entry.target}"
    device = overruled_device(where, design.device, entry.device)
    spread = design.initial_spread if entry.initial_spread is None else entry.initial_spread
    weight_range, pair = entry.weight_range or design.weight_range, entry.pair or design.pair
    technology = Technology(device, pair, weight_range, spread, design.costs.read_seconds)
    digital = entry.partial_sums == "digital"
    place = {"present": True} if "place" in entry.normaliser else {}
    normaliser = overruled(where, "normaliser", design.normaliser, {**place, **entry.normaliser})
    idle = frozenset[str]() if digital else OF_POPULATIONS
    converters = overruled(where, "converters", design.converters, entry.converters, idle)
    spec = ArraySpec(
        entry.source, entry.target, wire.shape, technology.largest_weight, technology.weight_step, converters.input_range,
        converters.dac_bits, normaliser.where, converters.dac_unipolar, device.pulse_seconds, device.pulse_joules,
        wire.rows, wire.columns, technology.weight_range,
    )  # fmt: skip
    reached = np.append(fan_in[entry.target], 1)[np.arange(size)[None] if wire.columns is None else wire.columns]
    nudges = overruled(where, "nudges", design.nudges, entry.nudges, OF_POPULATIONS)
    wires = wire.driven, wire.lines, wire.feeding
    return ArrayParts(spec, technology, normaliser, converters, nudges, digital, *wires, reached)


def _with_noise(design: Design, parts: PopulationParts, arrays: Sequence[ArrayParts]) -> PopulationSpec:
    """Return the entry on the data sheet with the nominal noise of all arrays that feed the population."""
    spec = parts.spec
    variance = np.zeros(spec.size + 1)
    feeding = [array for array in arrays if array.spec.target == spec.name]
    if not feeding:
        return spec
    for array in feeding:
        columns = np.arange(spec.size)[None] if array.spec.columns is None else array.spec.columns
        for block, own in enumerate(columns):
            variance[own] += array.driven[block] * array.technology.nominal_variance
    noise = sqrt(parts.neurons.noise**2 + float(variance[: spec.size].max()))
    fields = {name: getattr(spec, name) for name in ("name", "shape", "curve", "output_range", "adc_bits", "unipolar")}
    return PopulationSpec(**fields, read_noise=noise)


def _replaced(parts: PopulationParts, spec: PopulationSpec) -> PopulationParts:
    return PopulationParts(spec, parts.neurons, parts.curve, parts.converters, parts.nudges, parts.stage, parts.source)


def _joules(
    design: Design, timetable: Sequence[Answer], populations: Mapping[str, PopulationParts], arrays: Sequence[ArrayParts]
) -> float:
    """Return the energy of one sample: devices and output converters of every answer, each input conversion once."""
    joules = 0.0
    driven: set[tuple[int, int]] = set()
    for answer in timetable:
        parts = populations[answer.population]
        if parts.stage is not None:
            continue
        joules += parts.spec.size * design.costs.adc_joules
        for array, at in ((int(place), at) for place, at in answer.via):
            own = arrays[array]
            pairs = own.lines.sum(axis=1) @ own.feeding.sum(axis=1)
            joules += (
                total(float(pairs), own.technology.pair_joules)
                + own.digital * int(own.feeding.sum()) * design.costs.adc_joules
            )
            driven.add((array, at))
    conversions = sum(int(arrays[array].lines.sum()) for array, _ in driven)
    return joules + conversions * design.costs.dac_joules


def total(count: float, each: float) -> float:
    """Return what so many cost, infinity where that overflows; none cost nothing, even where one costs infinitely much."""
    return count * each if count else 0.0


#: Fields of a group that only an array, or only a population, has a use for.
OF_ARRAYS = frozenset({"dac_bits", "input_range", "dac_unipolar", "weight_gain_dtod"})
OF_POPULATIONS = frozenset({"adc_bits", "output_range", "adc_unipolar", "current_gain_dtod", "output_curve"})


def overruled(where: str, group: str, common: G, own: Mapping[str, Any], useless: frozenset[str] = frozenset()) -> G:
    """Return a group of fields with those that one array or population has for itself; ``useless`` ones are refused."""
    if not own:
        return common
    idle = sorted(useless & set(own))
    if idle:
        raise DesignError(f"{where}: {group}: {idle[0]} has no meaning here. Leave it out.")
    try:
        return type(common)(**{name: getattr(common, name) for name in type(common).model_fields} | dict(own))
    except ValidationError as error:
        raise DesignError(f"{where}: {group}: {explain(error, type(common))}") from error


def overruled_device(where: str, common: Device, own: Mapping[str, Any]) -> Device:
    """Return the memory technology of one array: the design's with other fields, or another one."""
    fields = dict(own)
    name = fields.pop("technology", None)
    if name is None:
        return overruled(where, "device", common, fields)
    check_name(f"{where}: device: technology", str(name), DEVICES.names())
    kind = DEVICES.get(str(name))
    try:
        return kind(**fields)
    except ValidationError as error:
        raise DesignError(f"{where}: device: {explain(error, kind)}") from error
