"""One HTML page that holds a whole run: no script, no style sheet and no picture outside the file itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

from mortalsim.report.results import Results
from mortalsim.report.table import cell

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
dt { font-family: ui-monospace, monospace } dd { margin: 0; overflow-wrap: anywhere }
"""


def page(
    name: str, question: str, expected: str, results: Results, config: Mapping[str, Any], pictures: Mapping[str, bytes]
) -> str:
    """Return the page.

    Parameters
    ----------
    name, question, expected
        The experiment's name, what it asks, and what was expected before it ran.
    results
        What was found.
    config
        What ``config.json`` holds: ``config`` (every field), ``versions``, ``started`` and ``seconds``.
    pictures
        PNG bytes of every figure, by the figure's name.
    """
    figures = "".join(_figure(figure.caption, pictures[figure.name]) for figure in results.figures)
    notes = "".join(f"<p>{escape(note)}</p>\n" for note in results.notes)
    versions = ", ".join(f"{package} {version}" for package, version in config["versions"].items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>mortalsim {escape(name)}</title><style>{STYLE}</style></head><body>
<h1>mortalsim {escape(name)}</h1>
<p class="question">{escape(question)}</p>
<h2>What was found</h2>
<div class="wide">{_table(results)}</div>
{notes}{figures}<h2>What was expected</h2>
<p>{escape(expected)}</p>
<h2>How it was made</h2>
<p>Started {escape(str(config["started"]))}, took {config["seconds"]:.0f} s. Versions: {escape(versions)}.
The same command with the same seed and versions gives the same numbers.</p>
<dl>{"".join(f"<dt>{escape(key)}</dt><dd>{escape(_text(value))}</dd>" for key, value in config["config"].items())}</dl>
</body></html>
"""


def _figure(caption: str, picture: bytes) -> str:
    source = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    return f'<figure><img alt="{escape(caption)}" src="{source}"><figcaption>{escape(caption)}</figcaption></figure>\n'


def _table(results: Results) -> str:
    kinds = ["" if column.unit == "text" else ' class="number"' for column in results.columns]
    head = "".join(f"<th{kind}>{escape(column.heading)}</th>" for column, kind in zip(results.columns, kinds, strict=True))
    body, previous = [], None
    for row in results.rows:
        group = row.get(results.columns[0].key)
        opening = '<tr class="first">' if previous is not None and group != previous else "<tr>"
        cells = (f"<td{kind}>{escape(cell(column, row))}</td>" for column, kind in zip(results.columns, kinds, strict=True))
        body.append(opening + "".join(cells) + "</tr>")
        previous = group
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(body) + "\n</tbody></table>"


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) or "none given" if isinstance(value, list) else str(value)
