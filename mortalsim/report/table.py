"""The table of a run: cells as text, and the whole as a rich table for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mortalsim.report.results import Column, Results
from mortalsim.texts import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PREFIXES = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
SYMBOLS = {"count": "", "joules": "J", "seconds": "s"}


def engineering(value: float, symbol: str = "") -> str:
    """Return ``value`` with three digits and a metric prefix: 12345 s is ``12.3 ks``."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {symbol}".rstrip()
    power = math.floor(math.log10(abs(float(f"{value:.3g}"))) / 3) * 3
    power = min(max(power, min(PREFIXES)), max(PREFIXES))
    return f"{float(f'{value:.3g}') / 10**power:.4g} {PREFIXES[power]}{symbol}".rstrip()


def cell(column: Column, row: dict[str, Any]) -> str:
    """Return what stands in ``row`` under ``column``; a dash where there is nothing."""
    value = row.get(column.key)
    if value is None:
        return "-"
    if column.unit == "text":
        return printable(str(value))
    spread = row.get(column.spread) if column.spread else None
    if column.unit == "percent":
        return f"{100 * value:.2f}" + (f" ± {100 * spread:.2f}" if spread is not None else "") + " %"
    if column.unit == "number":
        return f"{value:.3g}" + (f" ± {spread:.2g}" if spread is not None else "")
    if column.unit == "count" and abs(value) < 1000:
        return f"{value:.3g}"
    return engineering(value, SYMBOLS[column.unit])


def rich_table(results: Results, title: str) -> Table:
    """Return the results as a table; `print_table` prints it."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(printable(title)), title_justify="left")
    for column in results.columns:
        table.add_column(escape(column.heading), justify="left" if column.unit == "text" else "right", no_wrap=True)
    previous: Any = None
    for row in results.rows:
        group = row.get(results.columns[0].key)
        if previous is not None and group != previous:
            table.add_section()
        table.add_row(*(escape(cell(column, row)) for column in results.columns))
        previous = group
    return table


def print_table(results: Results, title: str, console: Console) -> None:
    """Print the results on ``console``; where that is too narrow, lines run over its edge, for nothing may be cut off."""
    from rich.console import ConsoleDimensions
    from rich.measure import Measurement

    table = rich_table(results, title)
    size = console.size
    needed = Measurement.get(console, console.options.update(width=10_000), table).maximum
    console.size = ConsoleDimensions(max(size.width, needed), size.height)
    try:
        console.print(table)
    finally:
        console.size = size
