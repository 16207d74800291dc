"""One-line faults of a source file: what could be wrong with each statement of each function, found on the syntax tree.

Only what functions do is changed: defaults of fields and arguments are choices, which no test should hold, and annotations,
docstrings, messages and `__repr__` compute nothing. `NO_FAULT` lists what else is left alone, each with its reason.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

#: Where faults are made, in the package.
ROOMS = (
    "learners", "distill", "experiments", "chips", "devices", "circuits", "models", "training", "objectives.py",
    "build.py",
)  # fmt: skip

#: Patterns of source lines, by why a fault there is none of the kind that tests are for.
NO_FAULT = {
    r"\b(CHUNK|WORTHWHILE|DRIVEN|MEMO_LIMIT|FETCH|AHEAD|EDGE|ALWAYS_ONE_THREAD|ROWS)\b": "decides when work is cut or kept",
    r"\b(column_cuts|chunks)\(": "where work is cut for threads: speed alone; that cuts change no bit has its own tests",
    r"np\.zeros\(1[,)]": "a counter kept in an array: with a second entry, which nobody reads, it counts the same",
    r"Philox\(": "the seed of draws that nobody uses: a rule that is asked whether it would serve, a curve without chance",
    r"\btimes (>|==) 1\b": "whether what stands for all samples is repeated: once is itself",
    r"np\.empty|workspace\(|ascontiguousarray": "room for a result, or its layout",
}

#: Functions that are left alone, by why.
NO_FUNCTION = {
    "__repr__": "for people who look",
    "teller": "tells now and then how far a training is",
    "_kink": "a bend sharper than float32 can tell, wherever in it the two lines meet",
}

#: Keywords that change a type, a layout, a text or how much is asked for (``want``), or that guard (``strict``): none
#: changes what is computed.
NO_KEYWORD = {
    "dtype", "strict", "out", "copy", "flush", "encoding", "indent", "title", "description", "hint", "unit", "label",
    "y_label", "heading", "caption", "want",
}  # fmt: skip

#: Numbers below it only keep something from being 0.
TINY = 1e-5

#: Calls whose two arguments may change places.
SYMMETRIC = {"maximum", "minimum", "max", "min", "add", "multiply", "allclose", "isinstance", "gcd", "union"}

COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.GtE, ast.LtE), ast.LtE: (ast.Gt, ast.Lt), ast.Gt: (ast.LtE, ast.GtE), ast.GtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
WORKED_OUT: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.FloorDiv, ast.FloorDiv: ast.Mod,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
RENAMED = {"min": "max", "max": "min", "maximum": "minimum", "minimum": "maximum", "any": "all", "all": "any",
           "argmax": "argmin", "mean": "sum", "sum": "mean", "zeros": "ones", "ones": "zeros", "zeros_like": "ones_like",
           "var": "std", "std": "var"}  # fmt: skip
#: Functions that a fault leaves out, so that their argument is taken as it is.
LEFT_OUT = {"abs", "sqrt", "square", "exp", "log", "log1p", "clip", "floor", "round", "softmax", "expit", "tanh", "swapaxes"}


@dataclass(frozen=True)
class Fault:
    """One change of one file: bytes ``start`` to ``end`` - 1, which read ``old``, become ``new``."""

    file: str
    line: int
    operator: str
    start: int
    end: int
    old: str
    new: str

    @property
    def name(self) -> str:
        """What tells it from other faults of the same source; texts are cut, so that a number stands for them."""
        mark = crc32(f"{self.start} {self.new}".encode())
        return f"{self.file}:{self.line} {self.operator}: {_short(self.old)} -> {_short(self.new)} [{mark:08x}]"

    def applied(self, source: bytes) -> bytes:
        """Return the source with the fault."""
        return source[: self.start] + self.new.encode() + source[self.end :]


def _short(text: str) -> str:
    return " ".join(text.split())[:90]


def faults_of(package: Path) -> list[Fault]:
    """Return all faults in `ROOMS` of the package, in the order of the files."""
    found: list[Fault] = []
    for room in ROOMS:
        path = package / room
        for file in [path] if path.suffix else sorted(path.rglob("*.py")):
            found += faults_in(file.read_bytes(), str(file.relative_to(package.parent)))
    return found


def faults_in(source: bytes, file: str) -> list[Fault]:
    """Return all faults of one source, each once."""
    unlike = {(fault.start, fault.end, fault.new): fault for fault in _Finder(source, file).faults()}
    return list(unlike.values())


class _Finder(ast.NodeVisitor):
    """Collects the faults of one file."""

    def __init__(self, source: bytes, file: str) -> None:
        self.source, self.file = source, file
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.lines = source.decode().splitlines()
        self.found: list[Fault] = []

    def faults(self) -> list[Fault]:
        """Return them, top to bottom."""
        for node in ast.parse(self.source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.visit(node)
        return self.found

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for inner in node.body:
            if isinstance(inner, ast.FunctionDef | ast.ClassDef):
                self.visit(inner)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name not in NO_FUNCTION:
            for inner in node.body:
                self.visit(inner)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Leave messages alone."""

    def visit_Assert(self, node: ast.Assert) -> None:
        """Leave alone what tells mypy what is known."""

    def visit_Raise(self, node: ast.Raise) -> None:
        self._add(node, "drop", "pass")

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_If(self, node: ast.If) -> None:
        if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            self._add(node.test, "condition", f"not ({ast.unparse(node.test)})")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Leave the -1 of a reshape alone: numpy takes every negative number for it."""
        shaped = isinstance(node.func, ast.Attribute) and node.func.attr == "reshape"
        if shaped and [ast.unparse(argument) for argument in node.args] == ["-1"]:
            self.visit(node.func)
        else:
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        """Leave the values of some keywords alone."""
        if node.arg not in NO_KEYWORD:
            self.visit(node.value)

    def generic_visit(self, node: ast.AST) -> None:
        """Collect the faults of a node, then of what it is made of."""
        for operator, changed in _changes(node):
            new = changed if isinstance(changed, str) else f"({ast.unparse(ast.fix_missing_locations(changed))})"
            self._add(node, operator, new)
        super().generic_visit(node)

    def _add(self, node: ast.AST, operator: str, new: str) -> None:
        line, last = int(node.lineno), int(node.end_lineno)  # type: ignore[attr-defined]
        text = "\n".join(self.lines[line - 1 : last])
        if any(re.search(pattern, text) for pattern in NO_FAULT):
            return
        start = self.starts[line - 1] + int(node.col_offset)  # type: ignore[attr-defined]
        end = self.starts[last - 1] + int(node.end_col_offset)  # type: ignore[attr-defined]
        self.found.append(Fault(self.file, line, operator, start, end, self.source[start:end].decode(), new))


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.AST | str]]:
    """Yield (operator, what the node becomes) for everything that could be wrong with one node itself."""
    match node:
        case ast.Compare(ops=[op]):
            for other in COMPARED[type(op)]:
                yield "compare", _with(node, ops=[other()])
        case ast.BinOp(op=op) if type(op) in WORKED_OUT and not _of_text(node) and not _of_either_sign(node):
            yield "arithmetic", _with(node, op=WORKED_OUT[type(op)]())
        case ast.BoolOp(op=op):
            yield "and/or", _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand) if not isinstance(operand, ast.Constant):
            yield "unary", operand
        case ast.Constant(value=bool() | int() | float() as value) if not 0 < abs(value) < TINY:
            yield "constant", ast.Constant(_other(value))
        case ast.Slice():
            yield from _slices(node)
        case ast.Call():
            yield from _calls(node)
        case ast.IfExp(test=test) if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield "condition", _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.AugAssign() | ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Subscript()]) | ast.Continue():
            yield "drop", "pass"
        case ast.Return(value=value) if value is not None and not isinstance(value, ast.Constant):
            yield "return", "return None"


def _with(node: ast.AST, **fields: object) -> ast.AST:
    """Return a copy of a node with other fields."""
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _other(value: float) -> float:
    """Return another constant of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return 2 * value if value else 1.0


def _of_either_sign(node: ast.BinOp) -> bool:
    """Return whether normal draws are added, which are as likely with the other sign: the same law."""
    return isinstance(node.op, ast.Add | ast.Sub) and bool(
        re.search(r"normal|_read_error|\bgains\b", ast.unparse(node.right))
    )


def _of_text(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    return any(isinstance(side, ast.JoinedStr | ast.List | ast.Tuple) or _is_text(side) for side in sides)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _slices(node: ast.Slice) -> Iterator[tuple[str, str]]:
    """Yield a slice with either end off by one."""
    lower, upper = (ast.unparse(end) if end else "" for end in (node.lower, node.upper))
    step = f":{ast.unparse(node.step)}" if node.step else ""
    if node.upper:
        yield "slice", f"{lower}:{upper} - 1{step}"
    if node.lower:
        yield "slice", f"{lower} + 1:{upper}{step}"


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.AST]]:
    """Yield a call of its opposite, none at all, one without a keyword, one with two arguments in each other's place."""
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    if name in RENAMED:
        field = "attr" if isinstance(function, ast.Attribute) else "id"
        yield "opposite", _with(node, func=_with(function, **{field: RENAMED[name]}))
    if name in LEFT_OUT and node.args:
        yield "left out", node.args[0]
    for place, keyword in enumerate(node.keywords):
        if keyword.arg is not None and keyword.arg not in NO_KEYWORD:
            yield f"keyword {keyword.arg}", _with(node, keywords=node.keywords[:place] + node.keywords[place + 1 :])
    plain = [isinstance(argument, ast.Name | ast.Attribute) for argument in node.args]
    if name not in SYMMETRIC:
        for place in range(len(plain) - 1):
            if plain[place] and plain[place + 1]:
                first, second = node.args[place : place + 2]
                yield "swap", _with(node, args=[*node.args[:place], second, first, *node.args[place + 2 :]])
