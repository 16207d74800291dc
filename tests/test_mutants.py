"""The bench of one-line faults: what it changes, that its claims are up to date, and that its verdicts are right."""

import ast
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the benchmarks are not installed with the package

from benchmarks.mutants import __main__ as command  # noqa: E402
from benchmarks.mutants.claims import CLAIMS, Claim, claimed  # noqa: E402
from benchmarks.mutants.faults import Fault, faults_in, faults_of  # noqa: E402
from benchmarks.mutants.judging import Map, Verdict, judge, make_map  # noqa: E402


def changed(source):
    """Return every line that a fault of the source makes of another, without blanks and outer brackets."""
    found = []
    for fault in faults_in(source.encode(), "some.py"):
        after = fault.applied(source.encode()).decode()
        assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(source))
        pairs = zip(source.splitlines(), after.splitlines(), strict=True)
        found += [ast.unparse(ast.parse(new.strip())) for old, new in pairs if old != new and not new.strip().endswith(":")]
    return found


def test_faults_of_a_statement():
    assert set(changed("def f(a, b):\n    return a < b\n")) == {"return a >= b", "return a <= b", "return None"}
    assert set(changed("def f(a, b):\n    a += 2 * b\n")) == {"pass", "a += 3 * b", "a += 2 / b"}
    assert set(changed("def f(a, n):\n    a[1:n] = max(n, 0.5)\n")) == {
        "pass", "a[1:n - 1] = max(n, 0.5)", "a[1 + 1:n] = max(n, 0.5)", "a[2:n] = max(n, 0.5)", "a[1:n] = min(n, 0.5)",
        "a[1:n] = max(n, 1.0)",
    }  # fmt: skip
    assert set(changed("def f(a, b):\n    a = g(a, b, key=not b) and True\n")) == {
        "a = g(b, a, key=not b) and True", "a = g(a, b) and True", "a = g(a, b, key=b) and True",
        "a = g(a, b, key=not b) or True", "a = g(a, b, key=not b) and False",
    }  # fmt: skip
    assert set(changed("def f(a):\n    a = np.sqrt(a) if a else -a\n")) == {
        "a = a if a else -a", "a = np.sqrt(a) if not a else -a", "a = np.sqrt(a) if a else a",
    }  # fmt: skip


def test_what_computes_nothing_is_left_alone():
    source = '''
"""1 < 2"""
LIMIT = 2 * 3


class Some:
    """1 < 2"""

    field: int = 3 + 4

    def told(self, size: int = 3) -> "1 < 2":
        """1 < 2"""
        if size is None:
            raise ValueError(f"{size + 1}" + "2")
        print(f"{size + 1}", flush=True)

    def __repr__(self):
        return f"{1 + 2}"
'''
    assert {fault.operator for fault in faults_in(source.encode(), "some.py")} == {"compare", "drop"}
    assert set(changed(source)) == {"pass"}


def test_there_are_many_faults_to_draw_from_and_each_is_drawn_by_its_seed():
    pool = faults_of(ROOT / "mortalsim")
    assert len(pool) >= 500 and len({fault.name for fault in pool}) == len(pool)
    rooms = {fault.file.split("/")[1] for fault in pool}
    assert rooms >= {"learners", "distill", "experiments", "chips", "devices", "circuits", "training"}
    first, again, other = (command.drawn(seed, 20, 6) for seed in (0, 0, 1))
    assert first == again and first != other and len(first) == 20
    assert [kind.startswith("claim: ") for kind, _ in first] == [True] * 6 + [False] * 14


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.kind} in {claim.place}")
def test_every_claim_stands_in_the_code_once(claim):
    fault = claimed(claim, ROOT)
    source = (ROOT / fault.file).read_bytes()
    assert fault.applied(source).replace(claim.new.encode(), claim.old.encode()).count(claim.old.encode())
    assert ast.dump(ast.parse(fault.applied(source))) != ast.dump(ast.parse(source))
    assert source.splitlines()[fault.line - 1].count(claim.old.encode())


@pytest.mark.parametrize(
    ("place", "old", "message"),
    [
        ("learners/ff.py::ForwardForward.walk", "x", "there is no ForwardForward.walk in mortalsim/learners/ff.py"),
        ("learners/schedules.py::half_linear", "3.0 * (1", "holds '3.0 [*] [(]1' 0 times, not once"),
        ("learners/schedules.py::half_linear", "1.0", "2 times, not once"),
    ],
)
def test_a_claim_that_the_code_has_left_behind_is_an_error(place, old, message):
    with pytest.raises(LookupError, match=message):
        claimed(Claim("some", place, old, "y"), ROOT)


# --- verdicts ------------------------------------------------------------------------------------------------------------

SOURCE = """
def half(x):
    if x > 1000:
        return 7
    return x / 2


def unseen(x):
    return x + 1
"""
TESTS = """
from mortalsim.some import half


def test_half():
    assert half(4) == 2


def test_that_sees_nothing():
    half(2000)
"""


@pytest.fixture
def tree(tmp_path):
    """A package of two functions, its two tests, and the bench that is to judge them."""
    for name, text in (("mortalsim/__init__.py", ""), ("mortalsim/some.py", SOURCE), ("tests/test_some.py", TESTS)):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(text)
    shutil.copytree(ROOT / "benchmarks" / "mutants", tmp_path / "tree" / "benchmarks" / "mutants")
    (tmp_path / "tree" / "benchmarks" / "__init__.py").touch()
    return tmp_path / "tree"


def test_verdicts_are_those_of_the_tests_that_execute_the_line(tree, tmp_path):
    pytest.importorskip("coverage")
    known = make_map(tmp_path / "map", tree)
    assert set(known.tests_of("mortalsim/some.py", 5)) == {"tests/test_some.py::test_half"}
    assert {name.partition("::")[2] for name in known.tests_of("mortalsim/some.py", 3)} == {
        "test_half",
        "test_that_sees_nothing",
    }
    source, names = (tree / "mortalsim/some.py").read_bytes(), iter(range(9))

    def verdict(old, new):
        start = source.index(old)
        line = source[:start].count(b"\n") + 1
        fault = Fault("mortalsim/some.py", line, f"by hand {next(names)}", start, start + len(old), old.decode(), new)
        found = judge(fault, tree, known)
        assert (tree / "mortalsim/some.py").read_bytes() == source
        return found.verdict, found.by

    assert verdict(b"x / 2", "x * 2") == ("killed", "tests/test_some.py::test_half")
    assert verdict(b"return 7", "return 8") == ("survived", "1 tests")
    assert verdict(b"x + 1", "x - 1") == ("survived", "no test executes the line")
    assert verdict(b"x > 1000", "x >")[0] == "not compiled"


def test_a_file_of_verdicts_is_taken_up_again(tmp_path):
    fault = Fault("mortalsim/some.py", 5, "arithmetic", 60, 65, "x / 2", "x * 2")
    out = tmp_path / "found.tsv"
    assert command.judged(None) == command.judged(out) == {}
    command.write(out, [("drawn", fault, Verdict("killed", "tests/test_some.py::test_half", 2.0))])
    assert command.judged(out) == {fault.name: Verdict("killed", "tests/test_some.py::test_half", 2.0)}


def test_the_quickest_tests_come_first_and_a_file_stands_for_all_of_its_tests():
    seconds = {"tests/a.py::slow": 3.0, "tests/b.py::one": 2.0, "tests/b.py::two": 1.0, "tests/c.py::other": 0.1}
    known = Map()
    lines = {"tests/a.py::slow": {"f.py": [1, 2]}, "tests/b.py": {"f.py": [1]}, "tests/c.py::other": {"f.py": [3]}}
    known.add({"seconds": seconds, "failed": [], "lines": lines})
    assert known.tests_of("f.py", 1) == ["tests/b.py::two", "tests/b.py::one", "tests/a.py::slow"]
    assert known.tests_of("f.py", 2) == ["tests/a.py::slow"] and known.tests_of("f.py", 9) == []
