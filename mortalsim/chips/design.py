"""A chip design: everything that chips of one kind share, read from a TOML file that a user can copy and edit."""

from __future__ import annotations

import math
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator

from mortalsim.checks import DesignError, check_name
from mortalsim.circuits.converters import Converters
from mortalsim.circuits.neurons import Neurons
from mortalsim.circuits.normaliser import Normaliser
from mortalsim.circuits.nudges import NudgePorts
from mortalsim.devices import AnyDevice
from mortalsim.hardware import ArraySpec, Datasheet, Port
from mortalsim.settings import explain


class Costs(BaseModel):
    """Time and energy of a read; those of a pulse belong to the device."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    read_seconds: float = Field(100e-9, gt=0, description="one array answering one sample, seconds (assumption)")
    dac_joules: float = Field(0.1e-12, ge=0, description="one input conversion, joules (assumption)")
    adc_joules: float = Field(1e-12, ge=0, description="one output conversion, joules (assumption)")


class Design(BaseModel):
    """A chip design. Each group of fields can be switched off by its zeros; see the groups for units and meanings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(description="how tables and messages call the design")
    summary: str = Field("", description="one line for lists")
    sizes: tuple[int, ...] = Field((64, 64, 64, 10), description="inputs, hidden neurons of each array, outputs")
    ports: frozenset[Port] = Field(frozenset(Port), description="what the chip can do beyond giving its output")
    weight_range: float = Field(1.0, gt=0, description="weight that a pair at its two ends stands for")
    initial_spread: float = Field(1.0, ge=0, description="weights as fabricated: standard deviation times sqrt(n_in)")
    normaliser: Normaliser = Field(default_factory=Normaliser)
    device: AnyDevice = Field(description="memory technology: its name and any field of its file")
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

    @field_serializer("ports")
    def _in_order(self, ports: frozenset[Port]) -> list[Port]:
        # A set has no order of its own from one process to the next; what is written down must have one.
        return sorted(ports)

    def with_sizes(self, sizes: tuple[int, ...]) -> Design:
        """Return the same technology with other array sizes: inputs, hidden neurons of each array, outputs."""
        return self.revised(sizes=sizes)

    def revised(self, **fields: Any) -> Design:
        """Return a checked copy with other ``fields``; a group is given as a dictionary of what changes in it.

        Raises
        ------
        DesignError
            A field does not exist or its value is out of range.
        """
        merged = self.model_dump()
        for name, value in fields.items():
            old = merged.get(name)
            # Another technology has other fields: then nothing of the old one is kept.
            if isinstance(old, dict) and isinstance(value, dict) and "technology" not in value:
                value = {**old, **value}
            merged[name] = value
        return build_design(merged, f"design {self.name!r}")

    @property
    def unit(self) -> float:
        """Siemens of G+ minus G- that stand for a weight of 1: the one place where weights meet physics."""
        return (self.device.g_max - self.device.g_min) / self.weight_range

    @property
    def pulses_per_weight(self) -> float:
        """Pulses that each device of a pair takes for a weight change of 1; the pair shares the change equally."""
        return self.unit / (2 * self.device.step) if self.device.step else 0.0

    @property
    def line_variance(self) -> float:
        """Variance at a neuron's input, by constant read noise, for each squared unit of input: both devices of a pair."""
        return 2 * (self.device.read_noise / self.unit) ** 2

    @property
    def pair_joules(self) -> float:
        """Energy of one pair during a read: at a mean squared input of 1 it carries about its mid-range conductance."""
        return 2 * self.device.g_mid * self.device.read_volts**2 * self.costs.read_seconds

    def datasheet(self) -> Datasheet:
        """Return what a learner may know."""
        hidden, last = self.neurons.curve.nominal(), self.neurons.output_curve.nominal()
        curves = [hidden] * (len(self.sizes) - 2) + [last]
        shapes = [(n_in + 1, n_out) for n_in, n_out in zip(self.sizes[:-1], self.sizes[1:], strict=True)]
        pairs = zip(shapes, curves, strict=True)
        lines, array_joules = sum(i for i, _ in shapes), sum(i * j for i, j in shapes) * self.pair_joules
        relative = 2 * (self.device.read_noise_relative * self.device.g_mid / self.unit) ** 2
        return Datasheet(
            design=self.name,
            arrays=tuple(ArraySpec(i, j, self.weight_range, curve) for (i, j), curve in pairs),
            ports=self.ports,
            normalised=self.normaliser.present,
            input_range=self.converters.input_range,
            output_range=self.converters.output_range,
            dac_bits=self.converters.dac_bits,
            adc_bits=self.converters.adc_bits,
            read_noise=math.sqrt(self.neurons.noise**2 + max(self.sizes[:-1]) * (self.line_variance + relative)),
            weight_step=self.device.step / self.unit,
            seconds_per_read=len(shapes) * self.costs.read_seconds,
            joules_per_read=array_joules + lines * self.costs.dac_joules + sum(self.sizes[1:]) * self.costs.adc_joules,
            seconds_per_pulse=self.device.pulse_seconds,
            joules_per_pulse=self.device.pulse_joules,
        )


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
        groups = (Design, Neurons, Converters, NudgePorts, Normaliser, Costs)
        known = {name for group in groups for name in group.model_fields}
        raise DesignError(f"{where}: {explain(error, known)}") from error


def initial_weights(design: Design, n_in: int, n_out: int, rng: np.random.Generator) -> np.ndarray:
    """Return the weights that fabrication happens to leave, shape (n_in, n_out), zero mean."""
    return design.initial_spread / math.sqrt(n_in) * rng.standard_normal((n_in, n_out))
