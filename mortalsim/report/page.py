"""One HTML page that holds a whole run: no script, no style sheet and no picture outside the file itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mortalsim.report.asked import Asked
from mortalsim.report.results import Column, Results
from mortalsim.report.table import cell
from mortalsim.texts import printable

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem; margin-bottom: 0 } h2 { font-size: 1.2rem; margin-top: 2.2rem }
.question { font-size: 1.1rem; color: #555; margin-top: .2rem }
table { border-collapse: collapse; font-size: .9rem } .wide { overflow-x: auto }
th, td { padding: .3rem .8rem; text-align: left; border-bottom: 1px solid #e4e4e4; white-space: nowrap }
th { border-bottom: 2px solid #999 } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
tr.first td { border-top: 2px solid #999 }
figure { margin: 1.5rem 0 } figure img { max-width: 100%; height: auto } figcaption { color: #555; font-size: .9rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; font-size: .9rem }
.warning { color: #8a4b00 } summary { cursor: pointer; margin: .4rem 0 } h3 { font-size: 1rem; margin-bottom: .2rem }
dt { font-family: ui-monospace, monospace } dd { margin: 0; overflow-wrap: anywhere }
"""


def page(results: Results, asked: Asked, pictures: Mapping[str, bytes]) -> str:
    """Return the page.

    Parameters
    ----------
    results
        What was found.
    asked
        What was asked, and of whom.
    pictures
        PNG bytes of every figure, by the figure's name.
    """
    figures = "".join(_figure(figure.caption, pictures[figure.name]) for figure in results.figures)
    warnings = "".join(f'<p class="warning">Warning: {escape(warning)}</p>\n' for warning in results.warnings)
    notes = "".join(f"<p>{escape(note)}</p>\n" for note in results.notes)
    more = "".join(
        f'<details><summary>{escape(table.caption)}</summary><div class="wide">{_table(table.columns, table.rows)}</div>'
        "</details>\n"
        for table in results.tables
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>mortalsim {escape(asked.experiment)}</title><style>{STYLE}</style></head><body>
<h1>mortalsim {escape(asked.experiment)}</h1>
<p class="question">{escape(asked.question)}</p>
<h2>What was found</h2>
<div class="wide">{_table(results.columns, results.rows)}</div>
{warnings}{notes}{more}{figures}<h2>What was expected</h2>
<p>{escape(asked.expected)}</p>
<h2>How it was made</h2>
<p>Started {escape(asked.started)}. {escape(_gone_on(asked))}
The same command with the same seed and versions, on the same kind of processor, gives the same numbers.</p>
{_facts("options", {"command": asked.command, **asked.config})}
{_details("designs, every field", asked.designs)}
{_details("learners, every hyper-parameter", asked.learners)}
{_details("data", {"data": asked.data} if asked.data else {})}
{_details("chips", _chips(asked))}
{_details("versions and processor", {"versions": asked.versions, "processor": asked.machine})}
</body></html>
"""


def _gone_on(asked: Asked) -> str:
    """Return when the run was gone on with, and what was let pass, as sentences."""
    if not asked.resumed:
        return ""
    times = ", ".join(str(entry.get("at")) for entry in asked.resumed)
    passed = [str(phrase) for entry in asked.resumed for phrase in entry.get("anyway", ())]
    return f"Gone on with at {times}. " + (f"By --anyway, though {'; '.join(passed)}. " if passed else "")


def _chips(asked: Asked) -> dict[str, dict[str, str]]:
    return {
        design: {
            f"chip {one['number']}": f"seed {one['seed']}, {'/'.join(one['streams'])}; design {one['design']}"
            for one in chips
        }
        for design, chips in asked.chips.items()
    }


def _details(title: str, groups: Mapping[str, Mapping[str, Any]]) -> str:
    if not groups:
        return ""
    inner = "".join(f"<h3>{escape(str(name))}</h3>{_facts('', flat(fields))}" for name, fields in groups.items())
    return f"<details><summary>{escape(title)}</summary>{inner}</details>"


def flat(fields: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return nested fields as one level, names joined by points."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        inner = isinstance(value, Mapping) and value
        found |= flat(value, f"{before}{name}.") if inner else {f"{before}{name}": value}
    return found


def _facts(title: str, fields: Mapping[str, Any]) -> str:
    lines = "".join(f"<dt>{escape(str(key))}</dt><dd>{escape(_text(value))}</dd>" for key, value in fields.items())
    return f"<dl title={title!r}>{lines}</dl>" if title else f"<dl>{lines}</dl>"


def _figure(caption: str, picture: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    return f'<figure><img alt="{escape(caption)}" src="{source}"><figcaption>{escape(caption)}</figcaption></figure>\n'


def _table(columns: Sequence[Column], rows: Sequence[dict[str, Any]]) -> str:
    kinds = ["" if column.unit == "text" else ' class="number"' for column in columns]
    head = "".join(f"<th{kind}>{escape(column.heading)}</th>" for column, kind in zip(columns, kinds, strict=True))
    body, previous = [], None
    for row in rows:
        group = row.get(columns[0].key)
        opening = '<tr class="first">' if previous is not None and group != previous else "<tr>"
        cells = (f"<td{kind}>{escape(cell(column, row))}</td>" for column, kind in zip(columns, kinds, strict=True))
        body.append(opening + "".join(cells) + "</tr>")
        previous = group
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(body) + "\n</tbody></table>"


def _text(value: Any) -> str:
    return printable(", ".join(map(str, value)) or "none given" if isinstance(value, list | tuple) else str(value))
