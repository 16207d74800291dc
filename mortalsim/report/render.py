"""Pictures and page of a run, made from its two JSON files alone; they can be made again at any time."""

from __future__ import annotations

from pathlib import Path

from mortalsim.checks import RunError
from mortalsim.files import write_bytes
from mortalsim.report.page import page
from mortalsim.report.plots import draw
from mortalsim.report.store import asked_in, results_in

REPORT = "report.html"


def render(folder: Path) -> None:
    """Draw the pictures and write the page of a finished run anew.

    Raises
    ------
    RunError
        The folder holds no finished run.
    """
    asked, results = asked_in(folder), results_in(folder)
    if asked is None or results is None:
        raise RunError(f"{folder}: expected a finished run, found none. Finish it: mortalsim resume {folder}")
    pictures = {figure.name: draw(figure) for figure in results.figures}
    for name, picture in pictures.items():
        write_bytes(folder / f"{name}.png", picture)
    html = page(results, asked, pictures)
    write_bytes(folder / REPORT, html.encode("utf-8", "backslashreplace"))
