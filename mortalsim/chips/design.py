"""A chip design: everything that chips of one kind share, read from a TOML file that a user can copy and edit."""

from __future__ import annotations

import hashlib
import json
import tomllib
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from mortalsim.checks import DesignError, check_name
from mortalsim.chips.netlist import Netlist, build_netlist
from mortalsim.chips.technology import Technology
from mortalsim.circuits.converters import Converters
from mortalsim.circuits.neurons import Neurons
from mortalsim.circuits.normaliser import Normaliser
from mortalsim.circuits.nudges import NudgePorts
from mortalsim.circuits.stages import AnyStage
from mortalsim.devices import AnyDevice
from mortalsim.devices.pairs import AnyPair
from mortalsim.devices.pairs.two_sided import TwoSided
from mortalsim.hardware import Datasheet, Port
from mortalsim.settings import Chosen, explain

#: Groups of fields of which an array or a population may overrule some.
Overruled = dict[str, Any]


class Costs(BaseModel):
    """Time and energy of a read; those of a pulse belong to the device."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    read_seconds: float = Field(100e-9, gt=0, description="one wave of answers to one sample, seconds (assumption)")
    dac_joules: float = Field(0.1e-12, ge=0, description="one input conversion, joules (assumption)")
    adc_joules: float = Field(1e-12, ge=0, description="one output conversion, joules (assumption)")


class PopulationEntry(BaseModel):
    """A population in the long form of a design file. One that no array feeds, and that is no stage, is an input."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=r"^[A-Za-z]\w*$", description="what arrays call it")
    shape: tuple[int, ...] = Field(
        min_length=1, max_length=3, description="neurons: [n], [height, width] or [height, width, channels]"
    )
    source: str | None = Field(None, description="of a stage alone: the population that it stands on")
    stage: AnyStage | None = Field(None, description="black box that stands here instead of neurons: its kind and settings")
    neurons: Overruled = Field(
        default_factory=dict, description="fields of the group neurons that differ here; curve is its own"
    )
    converters: Overruled = Field(default_factory=dict, description="fields of the group converters that differ here (adc)")
    nudges: Overruled = Field(default_factory=dict, description="fields of the group nudges that differ here (current)")

    @field_validator("shape", mode="before")
    @classmethod
    def _of_one_number(cls, shape: Any) -> Any:
        return (shape,) if isinstance(shape, int) else shape

    @field_validator("shape")
    @classmethod
    def _check_shape(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if min(shape) < 1:
            raise ValueError(f"expected sizes of at least 1, found {shape}")
        return shape


class ArrayEntry(BaseModel):
    """An array in the long form of a design file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    source: str = Field(description="population whose outputs drive its rows")
    target: str = Field(description="population whose neurons its columns feed")
    wiring: Chosen = Field(Chosen(kind="dense"), description="which rows and columns there are: a kind and its settings")
    bias: bool | None = Field(None, description="has it a bias line; left out: only the first from below into its target")
    weight_range: float | None = Field(None, gt=0, description="of this array alone")
    initial_spread: float | None = Field(None, ge=0, description="of this array alone")
    partial_sums: Literal["analog", "digital"] = Field(
        "analog",
        description="how blocks that feed one neuron add up: as currents, or each through ADCs of its own, digitally",
    )
    device: Overruled = Field(default_factory=dict, description="fields of the group device that differ here")
    pair: AnyPair | None = Field(None, description="of this array alone")
    converters: Overruled = Field(
        default_factory=dict,
        description="fields of the group converters that differ here (dac; adc of digital partial sums)",
    )
    normaliser: Overruled = Field(
        default_factory=dict, description="fields of the group normaliser that differ here, or its place"
    )
    nudges: Overruled = Field(default_factory=dict, description="fields of the group nudges that differ here (weights)")

    @field_validator("normaliser", mode="before")
    @classmethod
    def _of_a_place(cls, normaliser: Any) -> Any:
        return {"place": normaliser} if isinstance(normaliser, str) else normaliser


class Design(BaseModel):
    """A chip design. Each group of fields can be switched off by its zeros; see the groups for units and meanings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(description="how tables and messages call the design")
    summary: str = Field("", description="one line for lists")
    sizes: tuple[int, ...] = Field(
        (64, 64, 64, 10),
        description="short form, a chain of dense arrays: inputs, neurons of each hidden population, outputs",
    )
    population: tuple[PopulationEntry, ...] = Field((), description="long form: populations, inputs first")
    array: tuple[ArrayEntry, ...] = Field((), description="long form: arrays between populations")
    output: str | None = Field(
        None, description="long form: the population whose last state is the output; left out: there is none"
    )
    dynamics: Chosen = Field(Chosen(kind="feedforward"), description="who answers when: a kind and its settings")
    ports: frozenset[Port] = Field(frozenset(Port), description="what the chip can do beyond giving its output")
    weight_range: float = Field(
        1.0, gt=0, description="weight of a nominal pair with one device at g_max and the other at g_min; bounds are spread"
    )
    initial_spread: float = Field(
        1.0, ge=0, description="weights as fabricated: standard deviation times sqrt(lines to a neuron)"
    )
    normaliser: Normaliser = Field(default_factory=Normaliser)
    device: AnyDevice = Field(description="memory technology: its name and any field of its file")
    pair: AnyPair = Field(default_factory=TwoSided, description="how two devices make a weight: a kind and its settings")
    neurons: Neurons = Field(default_factory=Neurons)
    converters: Converters = Field(default_factory=Converters)
    nudges: NudgePorts = Field(default_factory=NudgePorts)
    costs: Costs = Field(default_factory=Costs)

    @field_validator("sizes")
    @classmethod
    def _check_sizes(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"expected at least an input and an output size, each at least 1, found {sizes}")
        return sizes

    @model_validator(mode="after")
    def _wire(self) -> Design:
        if self.long and ("sizes" in self.model_fields_set or not self.array or not self.population):
            raise ValueError(
                "expected either sizes, or both [[population]] and [[array]], found a mixture; leave one form out"
            )
        if not self.long and self.output is not None:
            raise ValueError(
                "output: the last of the sizes is the output; leave it out, or write [[population]] and [[array]]"
            )
        _ = self.netlist  # what cannot be wired is refused when the design is made
        return self

    @field_serializer("ports")
    def _in_order(self, ports: frozenset[Port]) -> list[Port]:
        # A set has no order of its own from one process to the next; what is written down must have one.
        return sorted(ports)

    @property
    def long(self) -> bool:
        """Whether the design lists its populations and arrays."""
        return bool(self.population or self.array)

    @cached_property
    def netlist(self) -> Netlist:
        """Populations, arrays and timetable, and what each is made of."""
        return build_netlist(self)

    @property
    def technology(self) -> Technology:
        """The devices of arrays that overrule nothing, and what they stand for."""
        spread = self.initial_spread
        return Technology(self.device, self.pair, self.weight_range, spread, self.costs.read_seconds)

    def datasheet(self) -> Datasheet:
        """Return what a learner may know."""
        return self.netlist.sheet

    def digest(self) -> str:
        """Return 64 hexadecimal digits that stand for all fields of the design but its summary."""
        fields = {name: value for name, value in self.fields().items() if name != "summary"}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    def fields(self) -> dict[str, Any]:
        """Return all fields as plain data, from which `build_design` makes the design again."""
        fields = self.model_dump(mode="json")
        for name in ("sizes",) if self.long else ("population", "array", "output"):
            del fields[name]
        return fields

    def with_sizes(self, sizes: tuple[int, ...]) -> Design:
        """Return the same technology as a chain of dense arrays: inputs, neurons of each hidden population, outputs."""
        return self.revised(sizes=sizes)

    def revised(self, **fields: Any) -> Design:
        """Return a checked copy with other ``fields``; a group is given as a dictionary of what changes in it.

        Raises
        ------
        DesignError
            A field does not exist or its value is out of range.
        """
        merged = self.fields()
        if "sizes" in fields and self.long:
            for name in ("population", "array", "output", "dynamics"):
                merged.pop(name, None)
        for name, value in fields.items():
            merged[name] = merged_group(merged.get(name), value)
        return build_design(merged, f"design {self.name!r}")


def merged_group(old: Any, new: Any) -> Any:
    """Return what a group becomes if ``new`` changes some of its fields; another technology keeps nothing of the old one."""
    both = isinstance(old, dict) and isinstance(new, dict) and "technology" not in new and "kind" not in new
    return {**old, **new} if both else new


def design_names() -> list[str]:
    """Return the names of the shipped designs, mildest first."""
    files = (resources.files("mortalsim.chips") / "designs").iterdir()
    found = {Path(str(file)).stem for file in files if str(file).endswith(".toml")}
    order = {name: place for place, name in enumerate(("ideal", "mild", "harsh", "wild"))}
    return sorted(found, key=lambda name: (order.get(name, len(order)), name))


def load_design(name: str | Path) -> Design:
    """Read a design by its shipped name or from a TOML file.

    Raises
    ------
    UnknownName
        ``name`` is neither a shipped design nor a path that ends in ``.toml``.
    DesignError
        The file cannot be read, is not TOML, or a field in it is unknown or out of range.
    """
    if str(name).endswith(".toml"):
        path, where = Path(name), f"design file {name}"
    else:
        check_name("design", str(name), design_names())
        path, where = Path(str(resources.files("mortalsim.chips") / "designs" / f"{name}.toml")), f"design {name!r}"
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        advice = f"Write a shipped name ({', '.join(design_names())}) or a path."
        raise DesignError(f"{where}: cannot be read ({error.strerror}). {advice}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DesignError(f"{where}: not valid TOML: {error}") from error
    return build_design(fields, where)


def build_design(fields: dict[str, Any], where: str) -> Design:
    """Check ``fields`` and build a design; ``where`` says in messages what is being read."""
    try:
        return Design(**fields)
    except ValidationError as error:
        groups = (Design, PopulationEntry, ArrayEntry, Neurons, Converters, NudgePorts, Normaliser, Costs)
        known = {name for group in groups for name in group.model_fields}
        raise DesignError(f"{where}: {explain(error, known)}") from error
