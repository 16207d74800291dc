"""A chip design: everything that chips of one kind share, read from a TOML file that a user can copy and edit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Field, PlainSerializer, ValidationError, field_validator, model_validator

from mortalsim.checks import DesignError
from mortalsim.chips.footprint import MOST_DEVICES, MOST_GROUPS, MOST_NEURONS
from mortalsim.chips.netlist import Netlist, build_netlist
from mortalsim.chips.technology import Technology
from mortalsim.circuits.converters import Converters
from mortalsim.circuits.neurons import Neurons
from mortalsim.circuits.normaliser import Normaliser
from mortalsim.circuits.nudges import NudgePorts
from mortalsim.circuits.stages import AnyStage
from mortalsim.devices import AnyDevice, Device
from mortalsim.devices.pairs import AnyPair, Pair
from mortalsim.devices.pairs.two_sided import TwoSided
from mortalsim.hardware import Datasheet, Port
from mortalsim.settings import FINITE, Chosen, Group, as_data, explain

#: Groups of fields of which an array or a population may overrule some.
Overruled: TypeAlias = Annotated[dict[str, Any], PlainSerializer(as_data)]

#: Size of a population along one axis.
Size: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=MOST_NEURONS)]


#: Fields that add something to a chain of sizes.
SHORT = ("label", "heads", "feedback", "into_output")


class Costs(Group):
    """Time and energy of a read; those of a pulse belong to the device. Each may be any finite number."""

    read_seconds: float = Field(
        100e-9, gt=0, le=FINITE, description="one wave of answers to one sample, seconds (assumption)"
    )
    dac_joules: float = Field(0.1e-12, ge=0, le=FINITE, description="one input conversion, joules (assumption)")
    adc_joules: float = Field(1e-12, ge=0, le=FINITE, description="one output conversion, joules (assumption)")


class PopulationEntry(Group):
    """A population in the long form of a design file. One that no array feeds, and that is no stage, is an input."""

    name: str = Field(pattern=r"^[A-Za-z]\w*$", max_length=100, description="what arrays call it")
    shape: tuple[Size, ...] = Field(
        min_length=1,
        max_length=3,
        description=f"neurons: [n], [height, width] or [height, width, channels]; at most {MOST_NEURONS} in all",
    )
    source: str | None = Field(None, max_length=100, description="of a stage alone: the population that it stands on")
    stage: AnyStage | None = Field(None, description="black box that stands here instead of neurons: its kind and settings")
    neurons: Overruled = Field(
        default_factory=dict, max_length=64, description="fields of the group neurons that differ here; curve is its own"
    )
    converters: Overruled = Field(
        default_factory=dict, max_length=64, description="fields of the group converters that differ here (adc)"
    )
    nudges: Overruled = Field(
        default_factory=dict, max_length=64, description="fields of the group nudges that differ here (current)"
    )

    @field_validator("shape", mode="before")
    @classmethod
    def _of_one_number(cls, shape: Any) -> Any:
        return (shape,) if isinstance(shape, int) else shape


class ArrayEntry(Group):
    """An array in the long form of a design file."""

    source: str = Field(max_length=100, description="population whose outputs drive its rows")
    target: str = Field(max_length=100, description="population whose neurons its columns feed")
    wiring: Chosen = Field(Chosen(kind="dense"), description="which rows and columns there are: a kind and its settings")
    bias: bool | None = Field(None, description="has it a bias line; left out: only the first from below into its target")
    weight_range: float | None = Field(None, ge=1e-6, le=1e6, description="of this array alone")
    initial_spread: float | None = Field(None, ge=0, le=1e6, description="of this array alone")
    partial_sums: Literal["analog", "digital"] = Field(
        "analog",
        description="how blocks that feed one neuron add up: as currents, or each through ADCs of its own, digitally",
    )
    device: Overruled = Field(default_factory=dict, max_length=64, description="fields of the group device that differ here")
    pair: AnyPair | None = Field(None, description="of this array alone")
    converters: Overruled = Field(
        default_factory=dict,
        max_length=64,
        description="fields of the group converters that differ here (dac; adc of digital partial sums)",
    )
    normaliser: Overruled = Field(
        default_factory=dict, max_length=64, description="fields of the group normaliser that differ here, or its place"
    )
    nudges: Overruled = Field(
        default_factory=dict, max_length=64, description="fields of the group nudges that differ here (weights)"
    )

    @field_validator("normaliser", mode="before")
    @classmethod
    def _of_a_place(cls, normaliser: Any) -> Any:
        return {"place": normaliser} if isinstance(normaliser, str) else normaliser


class Design(Group):
    """A chip design. Each group of fields can be switched off by its zeros; see the groups for units and meanings."""

    name: str = Field(max_length=200, description="how tables and messages call the design")
    summary: str = Field("", max_length=1000, description="one line for lists")
    sizes: tuple[Size, ...] = Field(
        (64, 64, 64, 10),
        min_length=2,
        max_length=MOST_GROUPS,
        description="short form, a chain of dense arrays: inputs, neurons of each hidden population, outputs; each from 1 "
        "to "
        f"{MOST_NEURONS}, and at most {MOST_DEVICES} devices in all, two a weight",
    )
    label: int = Field(
        0,
        ge=0,
        le=MOST_NEURONS,
        description="short form: lines of a label beside the inputs that feeds every hidden population; as many as outputs "
        "in a design made to fit data; 0: there is none",
    )
    heads: bool = Field(
        False,
        description="short form: behind every hidden population one of as many neurons as the output, which feeds nothing",
    )
    feedback: bool = Field(
        False,
        description="short form: every hidden population but the first also feeds the one before it, and the label the last "
        "one alone; wants recurrent dynamics",
    )
    into_output: Literal["last", "later", "all"] = Field(
        "last", description="short form: which hidden populations feed the output; later: all but the first"
    )
    population: tuple[PopulationEntry, ...] = Field(
        (), max_length=MOST_GROUPS, description="long form: populations, inputs first"
    )
    array: tuple[ArrayEntry, ...] = Field((), max_length=MOST_GROUPS, description="long form: arrays between populations")
    output: str | None = Field(
        None, max_length=100, description="long form: the population whose last state is the output; left out: there is none"
    )
    dynamics: Chosen = Field(Chosen(kind="feedforward"), description="who answers when: a kind and its settings")
    ports: frozenset[Port] = Field(frozenset(Port), description="what the chip can do beyond giving its output")
    weight_range: float = Field(
        1.0,
        ge=1e-6,
        le=1e6,
        description="weight of a nominal pair with one device at g_max and the other at g_min; bounds are spread, so that a "
        "pair may hold more",
    )
    initial_spread: float = Field(
        1.0, ge=0, le=1e6, description="weights as fabricated: standard deviation times sqrt(lines to a neuron)"
    )
    normaliser: Normaliser = Field(default_factory=Normaliser)
    device: AnyDevice = Field(description="memory technology: its name and any field of its file")
    pair: AnyPair = Field(default_factory=TwoSided, description="how two devices make a weight: a kind and its settings")
    neurons: Neurons = Field(default_factory=Neurons)
    converters: Converters = Field(default_factory=Converters)
    nudges: NudgePorts = Field(default_factory=NudgePorts)
    costs: Costs = Field(default_factory=Costs)

    @field_validator("name", "summary")
    @classmethod
    def _printable(cls, text: str) -> str:
        if not text.isprintable():
            raise ValueError(f"expected one line of printable characters, found {text!r}")
        return text

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
        short = [name for name in SHORT if getattr(self, name) != type(self).model_fields[name].default]
        if self.long and short:
            raise ValueError(f"{short[0]}: it adds to a chain of sizes; leave it out beside [[population]] and [[array]]")
        _ = self.netlist  # what cannot be wired is refused when the design is made
        return self

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
        """Return all fields as what JSON can hold, from which `build_design` makes the design again.

        But a device, pair, curve or stage whose class lies in no file of its family bears that class's name,
        ``module.Class``: such a design is made again by who hands in the object itself.
        """
        fields: dict[str, Any] = as_data(self)
        for name in ("sizes", *SHORT) if self.long else ("population", "array", "output"):
            del fields[name]
        return fields

    def with_sizes(self, sizes: tuple[int, ...]) -> Design:
        """Return the same technology as a chain of dense arrays: inputs, neurons of each hidden population, outputs.

        A short form with a label keeps it, with as many lines as outputs.
        """
        return self.revised(sizes=sizes, **({"label": sizes[-1]} if self.label and sizes else {}))

    def revised(self, **fields: Any) -> Design:
        """Return a checked copy with other ``fields``; a group is given as a dictionary of what changes in it.

        Raises
        ------
        DesignError
            A field does not exist or its value is out of range.
        """
        dropped = ("population", "array", "output", "dynamics") if "sizes" in fields and self.long else ()
        # Objects, not their names: a class may lie where no name leads to.
        kept = {name: getattr(self, name) for name in self.fields() if name not in dropped}
        where = f"design {self.name!r}"
        return build_design(
            kept | {name: _changed(where, name, kept.get(name), value) for name, value in fields.items()}, where
        )


def _changed(where: str, name: str, old: Any, new: Any) -> Any:
    """Return what a group becomes if ``new`` changes some of its fields; another technology keeps nothing of the old one."""
    if not isinstance(old, BaseModel) or not isinstance(new, Mapping) or {"technology", "kind"} & {*new}:
        return new
    fields = {field: getattr(old, field) for field in (*type(old).model_fields, *(old.model_extra or {}))}
    if not isinstance(old, Device | Pair):
        return fields | dict(new)
    try:
        return type(old)(**fields | dict(new))
    except ValidationError as error:
        raise DesignError(f"{where}: {name}: {explain(error, type(old))}") from error


def build_design(fields: dict[str, Any], where: str) -> Design:
    """Check ``fields`` and build a design; ``where`` says in messages what is being read.

    Raises
    ------
    DesignError
        A field is unknown, missing, of another kind or out of range, or what is wired does not fit together.
    """
    try:
        return Design(**fields)
    except ValidationError as error:
        groups = (Design, PopulationEntry, ArrayEntry, Neurons, Converters, NudgePorts, Normaliser, Costs)
        known = {name for group in groups for name in group.model_fields}
        raise DesignError(f"{where}: {explain(error, Design, known)}") from error
