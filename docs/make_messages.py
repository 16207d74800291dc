"""The list of all messages: every error that the package raises on purpose, read from its sources.

`make_reference` writes the page. A message is shown as the template that it is made from; what stands in angle brackets is
put in when it is raised.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import mortalsim
from mortalsim import checks

#: Whoever lives there, in the words of a user.
ROOMS = {
    "checks": "Arrays, numbers and names", "fields": "Fields", "settings": "Fields", "files": "Kept files",
    "report": "Runs and reports",
    "experiments": "Runs and reports", "runs": "Runs and reports", "training": "Training", "learners": "Learners",
    "distill": "Training", "objectives": "Training", "models": "Learners", "chips": "Chips and designs",
    "circuits": "Chips and designs", "devices": "Chips and designs", "boards": "Boards", "hardware": "The seam",
    "data": "Data", "build": "Building", "streams": "Building", "registry": "Building", "showing": "Building",
    "testing": "Conformance checks",
    "kernels": "Chips and designs", "parallel": "Building", "cli": "Command line",
}  # fmt: skip

FAMILY = {
    name for name, kind in vars(checks).items() if isinstance(kind, type) and issubclass(kind, checks.MortalsimError)
} | {"CutOff", "WireFault"}

#: What to do where the message itself does not say it.
ADVICE = {
    "ShapeError": "Hand in an array of the shape that the message names.",
    "RangeError": "Hand in a value within the range that the message names.",
    "UnknownName": "Take one of the names in the message.",
    "DesignError": "Mend the field of the design that the message names; see [design file](design-file.md).",
    "MissingPort": "Choose a learner or a design that fits; see `mortalsim list` and `mortalsim show DESIGN`.",
    "ChipFault": "Lower the step size; look at what the chip or board was given last.",
    "RunError": "See [when a run was cut off](../how-to/when-a-run-was-cut-off.md).",
    "DataError": "See [use MNIST](../how-to/use-mnist.md).",
    "OutputError": "Choose a place that can be written, or make room.",
    "WireFault": "Look at the far side's own messages; see [boards](../how-to/use-a-board-of-your-own.md).",
}

_REMEDY = re.compile(
    r"\b(Write|Choose|Give|Use|Make|Add|Name|Number|Restore|Remove|Delete|Fetch|Put|Change|Mend|Scale|Set|Take|Lower|Divide|Leave|"
    r"Hand|Hold|Wait|Ask|Connect|Start|Limit|Call|Fill|Begin|Finish|Say|Switch|Show|Read|Widen|Install|Look|Keep)\b"
)


def messages() -> str:
    """Return the page's tables, one a room."""
    found: dict[str, list[str]] = {}
    root = Path(mortalsim.__file__).parent
    for path in sorted(root.rglob("*.py")):
        room = path.relative_to(root).parts[0].removesuffix(".py")
        for kind, text in _raised(ast.parse(path.read_text(encoding="utf-8"))):
            advice = "" if _REMEDY.search(text) else f" {ADVICE.get(kind, ADVICE['RangeError'])}"
            line = f"| `{kind}` | {text}{advice} |"
            lines = found.setdefault(ROOMS.get(room, "Others"), [])
            if line not in lines:
                lines.append(line)
    head = "| error | message, and what to do |\n|---|---|\n"
    return "".join(f"## {room}\n\n{head}" + "\n".join(sorted(lines)) + "\n\n" for room, lines in sorted(found.items()))


def _raised(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            kind, given = node.exc.func.id, node.exc.args
            if (kind in FAMILY or kind == "ValueError") and given:
                text = _template(given[0])
                if len(text) > 3:
                    yield (kind if kind != "ValueError" else "DesignError"), text


def _template(node: ast.expr) -> str:
    """Return a message as it stands in the source, what is put in between angle brackets."""
    if isinstance(node, ast.Constant):
        return _cell(str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        name = ast.unparse(node.value)
        return f"⟨{_cell(name)}⟩" if len(name) <= 24 and name.replace(".", "").replace("_", "").isalnum() else "⟨…⟩"
    if isinstance(node, ast.BinOp):
        return _template(node.left) + _template(node.right)
    return "⟨…⟩"


def _cell(text: str) -> str:
    return " ".join(text.split("\n")).replace("|", "\\|").replace("<", "&lt;")
