"""Write the tables of the reference pages from the code: everything between the two generated marks is replaced.

Run it as ``python docs/make_reference.py`` after a field was added or changed; the tests say when that was forgotten.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any, get_type_hints

from make_messages import messages
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mortalsim.chips.design import ArrayEntry, Costs, Design, PopulationEntry
from mortalsim.chips.dynamics import DYNAMICS
from mortalsim.chips.wiring import WIRINGS
from mortalsim.circuits.converters import Converters
from mortalsim.circuits.curves import CURVES
from mortalsim.circuits.neurons import Neurons
from mortalsim.circuits.normaliser import Normaliser
from mortalsim.circuits.nudges import NudgePorts
from mortalsim.circuits.stages import STAGES, Stage
from mortalsim.cli import written
from mortalsim.devices import DEVICES, Device
from mortalsim.devices.pairs import PAIRS
from mortalsim.experiments import EXPERIMENTS, Experiment
from mortalsim.fields import Allowed, kind_of
from mortalsim.learners import LEARNERS, Learner
from mortalsim.registry import Functions
from mortalsim.settings import FINITE, Chosen

BEGIN, END = "<!-- generated: begin -->\n", "<!-- generated: end -->\n"
REFERENCE = Path(__file__).parent / "reference"
GROUPS = {"neurons": Neurons, "converters": Converters, "normaliser": Normaliser, "nudges": NudgePorts, "costs": Costs}
ENTRIES = {"population": PopulationEntry, "array": ArrayEntry}
#: What each function of a family is given by the netlist; all its other arguments are settings.
GIVEN = {"wiring": {"below", "above", "bias"}, "dynamics": {"order", "feeds", "inputs"}}
SYMBOLS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
LENGTHS = {"min_length": "at least", "max_length": "at most"}


def main() -> None:
    """Write all pages anew."""
    for name in PAGES:
        path = REFERENCE / name
        path.write_text(renewed(name, path.read_text(encoding="utf-8")), encoding="utf-8")


def renewed(name: str, text: str) -> str:
    """Return page ``name``, whose text is ``text``, with fresh tables."""
    head, _, rest = text.partition(BEGIN)
    return head + BEGIN + PAGES[name]() + END + rest.partition(END)[2]


def design_tables() -> str:
    """Return a table for every group of a design file and for every variant that a field may name."""
    own = {name: field for name, field in Design.model_fields.items() if name not in (*GROUPS, *ENTRIES, "device")}
    parts = [_section("At the top", "", own.items(), "field")]
    for name, entry in ENTRIES.items():
        parts.append(_section(f"`[[{name}]]`, long form", _law(entry), entry.model_fields.items(), "field"))
    parts += _functions("wiring", WIRINGS) + _functions("dynamics", DYNAMICS)
    for name in STAGES.names():
        kind = STAGES.get(name)
        parts.append(_section(f'`stage` with `kind = "{name}"`', _law(kind), _own(kind, Stage), "field"))
    parts.append(_section("`[device]`, every technology", "", Device.model_fields.items(), "field"))
    for name in DEVICES.names():
        kind = DEVICES.get(name)
        parts.append(_section(f'`[device]` with `technology = "{name}"`', _law(kind), _own(kind, Device), "field"))
    for name in PAIRS.names():
        kind = PAIRS.get(name)
        parts.append(_section(f'`pair` with `kind = "{name}"`', _law(kind), kind.model_fields.items(), "field"))
    parts += [_section(f"`[{name}]`", "", group.model_fields.items(), "field") for name, group in GROUPS.items()]
    for name in CURVES.names():
        kind = CURVES.get(name)
        parts.append(_section(f'Curve with `family = "{name}"`', _law(kind), kind.model_fields.items(), "field"))
    return "".join(parts)


def command_tables() -> str:
    """Return a table for every experiment's options."""
    parts = []
    for name in EXPERIMENTS.names():
        kind = EXPERIMENTS.get(name)
        options = ((written(kind, field), info) for field, info in _own(kind, Experiment))
        parts.append(_section(f"`mortalsim {name}`", kind.question(), options, "option"))
    common = ((f"--{field}", info) for field, info in Experiment.model_fields.items())
    parts.append(_section("Every experiment", "", common, "option"))
    return "".join(parts)


def learner_tables() -> str:
    """Return for every learner a table of its hyper-parameters, one of its state and one of what its steps report."""
    parts = []
    for name in LEARNERS.names():
        kind = LEARNERS.get(name)
        doc = inspect.getdoc(kind) or ""
        meanings = _meanings(inspect.getdoc(Learner) or "") | _meanings(doc)
        meanings |= {
            field.name: f"{meanings.get(field.name, '')} ({Allowed.of(kind_of(kind, field.name)).words})"
            for field in dataclasses.fields(kind)
        }
        rows = _shared_rows({field.name: f"`{field.default}`" for field in dataclasses.fields(kind)}, meanings)
        parts.append(_table(f"`{name}`", LEARNERS.summary(name), rows, "hyper-parameter"))
        for section, what in (("State", "type and shape"), ("Info", "unit")):
            rows = [f"| `{key}` | {kind} | {text} |" for key, kind, text in typed_entries(doc, section)]
            head = [f"| {section.lower()} | {what} | meaning |", "|---|---|---|"]
            parts.append("\n".join([*(head + rows if rows else [f"{section}: nothing."]), "", ""]))
    return "".join(parts)


def typed_entries(doc: str, section: str) -> list[tuple[str, str, str]]:
    """Return what a section of a docstring lists, ``key : type`` and an indented text each: key, type, text."""
    _, _, rest = doc.partition(f"{section}\n{'-' * len(section)}\n")
    own = re.split(r"^\w+\n-+$", rest, maxsplit=1, flags=re.MULTILINE)[0]
    entries = re.findall(r"^(\S.*?) : (.*)\n((?:    .*\n?)+)", own, re.MULTILINE)
    return [(key, kind, " ".join(text.split())) for key, kind, text in entries]


PAGES = {
    "design-file.md": design_tables,
    "cli.md": command_tables,
    "learners.md": learner_tables,
    "messages.md": messages,
}


def _own(kind: type[BaseModel], base: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return [(name, field) for name, field in kind.model_fields.items() if name not in base.model_fields]


def _functions(field: str, family: Functions) -> list[str]:
    """Return a table for every function of a family, of the settings in its signature."""
    parts = []
    for name in family.names():
        function = family.get(name)
        meanings = _meanings(inspect.getdoc(function) or "")
        settings = [p for p in inspect.signature(function).parameters.values() if p.name not in GIVEN[field]]
        defaults = {p.name: "none" if p.default is inspect.Parameter.empty else f"`{p.default}`" for p in settings}
        hints = get_type_hints(function, include_extras=True)
        meanings = {name: text + _limits(_metadata(hints.get(name)), name) for name, text in meanings.items()}
        lines = _shared_rows(defaults, meanings)
        parts.append(_table(f'`{field}` with `kind = "{name}"`', family.summary(name), lines, "setting"))
    return parts


def _shared_rows(defaults: dict[str, str], meanings: dict[str, str]) -> list[str]:
    """Return a row for each name with its default; neighbours that one entry of the docstring describes share a row."""
    lines = []
    for meaning, several in groupby(defaults, lambda name: meanings.get(name, "")):
        own = list(several)
        lines.append(
            f"| {', '.join(f'`{name}`' for name in own)} | {', '.join(defaults[name] for name in own)} | {meaning} |"
        )
    return lines


def _meanings(doc: str) -> dict[str, str]:
    """Return what a numpydoc text says of each parameter; several named in one entry share its words."""
    _, _, section = doc.partition("Parameters\n----------\n")
    entries = re.findall(r"^(\w[\w, ]*)\n((?:    .*\n?)+)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}


def _law(kind: type[BaseModel]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def _section(title: str, text: str, fields: Iterable[tuple[str, FieldInfo]], what: str) -> str:
    lines = [
        f"| `{name}` | {_default(field)} | {field.description}{_limits(field.metadata, field.annotation)} |"
        for name, field in fields
    ]
    return _table(title, text, lines, what)


def _table(title: str, text: str, lines: list[str], what: str) -> str:
    table = [f"| {what} | default | meaning |", "|---|---|---|", *lines] if lines else [f"No {what}s of its own."]
    return "\n".join([f"### {title}", "", *([text, ""] if text else []), *table, "", ""])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "none"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Chosen):
        return f"`{value.kind}`"
    if isinstance(value, BaseModel):
        return f"`{type(value).__module__.rpartition('.')[2]}`"
    if isinstance(value, frozenset):
        return "all"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`" if value else ""
    return "" if value in (None, "", {}) else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _metadata(hint: Any) -> list[Any]:
    """Return what an annotated type says of its values."""
    return [limit for given in getattr(hint, "__metadata__", ()) for limit in getattr(given, "metadata", [given])]


def _limits(metadata: Iterable[Any], kind: Any) -> str:
    numbers = [(word, getattr(limit, key)) for limit in metadata for key, word in SYMBOLS.items() if hasattr(limit, key)]
    bounds = ["finite" if value == FINITE else f"{word} {_number(value)}" for word, value in numbers]
    unit = "characters" if kind in (str, str | None) else "entries"
    bounds += [
        f"{unit} {word} {getattr(limit, key)}" for limit in metadata for key, word in LENGTHS.items() if hasattr(limit, key)
    ]
    return f" ({', '.join(bounds)})" if bounds else ""


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


if __name__ == "__main__":
    main()
