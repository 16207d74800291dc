"""Show a design: print its netlist as tables and draw it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mortalsim import build
from mortalsim.checks import OutputError
from mortalsim.chips import Design
from mortalsim.chips.netlist import ArrayParts, PopulationParts
from mortalsim.hardware import Datasheet, Port
from mortalsim.report.netlist import FORMATS, Notes, draw_netlist, role
from mortalsim.report.table import engineering

if TYPE_CHECKING:
    from rich.console import Console


class Listing(NamedTuple):
    """A table of text."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Costs(NamedTuple):
    """What one read of one sample takes: seconds a wave, joules of the devices, and conversions."""

    waves: int
    wave_seconds: float
    device_joules: float
    adcs: int
    adc_joules: float
    dacs: int
    dac_joules: float


def show(name: str, out: str | None, force: bool, console: Console) -> None:
    """Print the netlist of a design and draw it into the file ``out``; None: ``NAME.png`` in the current folder.

    Raises
    ------
    UnknownName, DesignError
        There is no such design, or its file cannot be read.
    OutputError
        The picture exists already and ``force`` is false, its kind is unknown, or it cannot be written.
    """
    from rich.markup import escape
    from rich.table import Table

    design = build.find_design(name)
    path = _checked(Path(out or f"{Path(name).stem}.png"), force)
    for listing in (populations(design), arrays(design), timetable(design.datasheet()), costs(design)):
        table = Table(title=listing.title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for heading in listing.headings:
            table.add_column(heading, header_style="dim")
        for row in listing.rows:
            table.add_row(*map(escape, row))
        console.print(table, "")
    for line in sentences(design.datasheet()):
        console.print(line, markup=False, highlight=False)
    content = draw_netlist(design.datasheet(), notes(design), path.suffix.lower())
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(content)
    except OSError as error:
        raise OutputError(f"out: {path} cannot be written ({error.strerror}); choose another file.") from error
    console.print(f"The picture is in {path}", markup=False, highlight=False, soft_wrap=True)


def _checked(path: Path, force: bool) -> Path:
    if path.suffix.lower() not in FORMATS:
        raise OutputError(f"out: expected a file that ends in {', '.join(FORMATS)}, found {path}.")
    if path.exists() and not force:
        raise OutputError(f"out: {path} exists already; choose another file with --out, or write over it with --force.")
    return path


def populations(design: Design) -> Listing:
    """Return one row a population, in the order of the design file."""
    sheet, rows = design.datasheet(), []
    for name, parts in design.netlist.populations.items():
        spec, fed = parts.spec, name in sheet.fed
        adc = _converter(spec.adc_bits, spec.output_range, spec.unipolar) if fed else "-"
        noise = f"{spec.read_noise:.3g}" if fed else "-"
        ticks = "clamped" if name in sheet.inputs else str(sheet.ticks(name))
        rows.append((name, role(sheet, name), _times(spec.shape), str(spec.size), _curve(parts, fed), adc, noise, ticks))
    return Listing("Populations", ("name", "role", "shape", "size", "curve", "ADC", "read noise", "ticks"), rows)


def arrays(design: Design) -> Listing:
    """Return one row an array, in the order of their places."""
    rows = []
    for place, parts in enumerate(design.netlist.arrays):
        spec = parts.spec
        wired = int(parts.lines.sum(axis=1) @ parts.feeding.sum(axis=1))
        step = f"{spec.weight_step:.3g}" if spec.weight_step else "continuous"
        rows.append((
            str(place), f"{spec.source} -> {spec.target}", _wiring(design, place), str(len(parts.lines)),
            _times(spec.shape[-2:]), str(wired), str(_bias_lines(parts)), spec.normaliser,
            _converter(spec.dac_bits, spec.input_range, spec.unipolar), _kind(parts.technology.device),
            f"±{spec.target_range:g}", step, "digital" if parts.digital else "analog",
        ))  # fmt: skip
    headings = (
        "place", "arrow", "wiring", "blocks", "rows x columns", "weights wired", "bias lines", "normaliser", "DAC",
        "technology", "weights", "step", "partial sums",
    )  # fmt: skip
    return Listing("Arrays", headings, rows)


def timetable(sheet: Datasheet) -> Listing:
    """Return one row an answer, from the first wave to the last."""
    rows = []
    for answer in sheet.timetable:
        via = ", ".join(f"{'' if isinstance(key, str) else 'array '}{key} at tick {at}" for key, at in answer.via)
        keep = f"{answer.keep:g} of tick {answer.old}" if answer.keep else "-"
        rows.append((str(answer.wave), answer.population, str(answer.tick), via, keep))
    return Listing("Timetable", ("wave", "population", "tick", "via", "keep"), rows)


def costs(design: Design) -> Listing:
    """Return what a read of one sample takes, and how that comes about."""
    sheet, parts = design.datasheet(), counted(design)
    rows = [
        ("time", engineering(sheet.seconds_per_read, "s"), f"{parts.waves} waves x {engineering(parts.wave_seconds, 's')}"),
        ("energy", engineering(sheet.joules_per_read, "J"), "the sum of the three lines below"),
        ("  devices", engineering(parts.device_joules, "J"), "all pairs of every array that is read, each time"),
    ]
    for name, count, each in (("ADCs", parts.adcs, parts.adc_joules), ("DACs", parts.dacs, parts.dac_joules)):
        rows.append((f"  {name}", engineering(count * each, "J"), f"{count} conversions x {engineering(each, 'J')}"))
    return Listing("Costs of reading one sample", ("", "", "how it comes about"), rows)


def counted(design: Design) -> Costs:
    """Return the parts of a read's costs, from data sheets of the design on which only one of them costs anything."""
    own, sheet = design.costs, design.datasheet()

    def joules(adc: float, dac: float) -> float:
        return design.revised(costs={"adc_joules": adc, "dac_joules": dac}).datasheet().joules_per_read

    devices = joules(0.0, 0.0)
    adcs, dacs = round(joules(1.0, 0.0) - devices), round(joules(0.0, 1.0) - devices)
    waves = 1 + max(answer.wave for answer in sheet.timetable)
    return Costs(waves, own.read_seconds, devices, adcs, own.adc_joules, dacs, own.dac_joules)


def sentences(sheet: Datasheet) -> list[str]:
    """Return what a sample holds and what the chip can do."""
    spans = (f"{name} at {first} to {last - 1}" for name in sheet.inputs for first, last in [sheet.span(name)])
    ports = ", ".join(sorted(port.value for port in sheet.ports)) or "none"
    patterns = f" Weight nudges may be {', '.join(sorted(sheet.patterns))}." if Port.WEIGHT_NUDGE in sheet.ports else ""
    return [f"A sample holds {', '.join(spans)}.", f"Ports: {ports}.{patterns}"]


def notes(design: Design) -> Notes:
    """Return what the picture says beyond the data sheet."""
    labels = []
    for place, array in enumerate(design.netlist.arrays):
        shape = " × ".join(map(str, (len(array.lines), *array.spec.shape[-2:])))
        bias = "bias" if _bias_lines(array) else "no bias"
        normaliser = "no normaliser" if array.spec.normaliser == "none" else f"normaliser: {array.spec.normaliser}"
        labels.append(f"{place}: {_wiring(design, place)}\n{shape}, {bias}\n{normaliser}")
    stages = {name: _kind(own.stage) for name, own in design.netlist.populations.items() if own.stage is not None}
    sheet, parts = design.datasheet(), counted(design)
    shares = {"devices": parts.device_joules, "ADCs": parts.adcs * parts.adc_joules, "DACs": parts.dacs * parts.dac_joules}
    energy = " + ".join(f"{name} {engineering(share, 'J')}" for name, share in shares.items())
    lines = [
        f"Time of a read: {parts.waves} waves × {engineering(parts.wave_seconds, 's')} = "
        f"{engineering(sheet.seconds_per_read, 's')}",
        f"Energy of a read: {energy} = {engineering(sheet.joules_per_read, 'J')}",
    ]
    return Notes(design.summary, labels, stages, lines)


def _bias_lines(parts: ArrayParts) -> int:
    return int((parts.lines.sum(axis=1) - parts.driven).sum())


def _wiring(design: Design, place: int) -> str:
    return design.array[place].wiring.kind if design.long else "dense"


def _curve(parts: PopulationParts, fed: bool) -> str:
    if parts.stage is not None:
        return f"{'black box' if parts.spec.curve is None else 'nominal curve'} ({_kind(parts.stage)})"
    return _kind(parts.curve) if fed else "-"


def _kind(thing: Any) -> str:
    return type(thing).__module__.rpartition(".")[2]


def _converter(bits: int, limit: float, unipolar: bool) -> str:
    ends = f"0 to {limit:g}" if unipolar else f"±{limit:g}"
    return ", ".join([f"{bits} bit{'s' * (bits > 1)}"] * bool(bits) + [ends] * bool(limit)) or "none"


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
