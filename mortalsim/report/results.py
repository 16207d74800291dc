"""The data of a finished run: rows of a table, and figures described by their numbers, so that they can be drawn again."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Scale: TypeAlias = Literal["linear", "log", "root"]
Unit: TypeAlias = Literal["text", "number", "percent", "count", "joules", "seconds"]


#: A number of a figure; what is not finite is null in a file, and left out of a picture.
Place: TypeAlias = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Series(_Data):
    """One named set of points; the same name has the same colour throughout a run."""

    name: str = Field(description="what the legend says")
    x: tuple[Place, ...] = Field(
        description="horizontal places; in a panel with categories the values themselves; null: not a finite number"
    )
    y: tuple[Place, ...] = Field(
        description="vertical places; in a panel with categories the index of each value's category"
    )
    spread: tuple[Place, ...] = Field((), description="half height of a band around y; empty: no band")
    style: Literal["line", "thin", "dashed", "dotted", "dots", "rings"] = Field(
        "line", description="how the points are drawn"
    )


class Panel(_Data):
    """One pair of axes."""

    title: str
    x_label: str
    y_label: str = ""
    x_unit: Unit = "number"
    y_unit: Unit = "number"
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    categories: tuple[str, ...] = Field((), description="names down the vertical axis; empty: numbers")
    series: tuple[Series, ...] = ()
    image: tuple[tuple[Place, ...], ...] = Field(
        (),
        description="a picture instead of points: rows of numbers from the top; 0 (white) to 1 (black), or, if some are "
        "negative, -1 (blue) to 1 (red)",
    )


class Figure(_Data):
    """One picture of one or more panels; the file is called after its name."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    caption: str
    panels: tuple[Panel, ...]
    across: int = Field(2, ge=1, description="panels side by side")
    share: bool = Field(True, description="the same range of numbers in all panels")


class Column(_Data):
    """One column of the table: which key of a row it shows, and how."""

    key: str
    heading: str
    unit: Unit = "text"
    spread: str = Field("", description="key of the standard deviation printed behind the value; empty: none")


#: What training a chip took: the end of most tables.
COST_COLUMNS = (
    Column(key="reads", heading="reads", unit="count"),
    Column(key="pulses", heading="pulses", unit="count"),
    Column(key="joules", heading="energy", unit="joules"),
    Column(key="seconds", heading="chip time", unit="seconds"),
)


class Table(_Data):
    """A further table, for the page and for who reads the numbers."""

    name: str = Field(pattern=r"^[a-z0-9-]+$")
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[dict[str, Any], ...]


class Results(_Data):
    """What an experiment found."""

    columns: tuple[Column, ...]
    rows: tuple[dict[str, Any], ...] = Field(description="one table row each; may hold more keys than there are columns")
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = Field((), description="sentences printed under the table")
    warnings: tuple[str, ...] = Field((), description="what looks as if nothing, or the wrong thing, was learned")
