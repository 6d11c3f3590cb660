"""How much the tests notice: ``mutants.py [ROOM_OR_MODULE...]`` breaks the code in small ways, one
at a time, and lists those that no test of the room notices.

A mutant is the code with one thing changed, in a copy of the checkout::

    if run.tag is not None and run.tag not in known:     the code
    if not (run.tag is not None and ...):                a condition, negated
    if run.tag not in known:                             one operand less
    if run.tag is None and ...:                          another comparison

It is killed when a test fails, or no longer ends. One that lives is either a test that is missing,
or no change at all (``<`` for ``<=`` where the two are never equal): that is for a person to judge.

First the tests run once, measured, without any mutant. Then only those run that reach the line of
the mutant, those of its room first, until one fails. That takes minutes: no part of the gate.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from coverage import CoverageData

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("src/loragit")
CRITICAL = ("history", "run/recovery", "run/train.py", "run/ending.py", "store")
"""What is sampled where nothing is named: reading the record, and what must never lose a run."""

ALSO = {
    "history": (
        "hostile/test_bounds.py",
        "commands/test_log.py",
        "commands/test_diff.py",
        "commands/test_verify.py",
    ),
    "history/compare": ("history/test_history.py", "commands/test_log.py", "commands/test_diff.py"),
    "history/query": ("commands/test_log.py", "commands/test_diff.py"),
    "history/verify": ("commands/test_verify.py",),
    "run": ("commands/test_train.py",),
    "run/recovery": ("commands/test_recover.py", "store"),
    "store": ("run/test_golden.py", "commands/test_recover.py"),
}
"""Tests of other rooms that belong to a room's modules as well, run after its own."""

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}


CHILD_CONTEXTS = "PYTEST_CHILD_CONTEXTS"
"""As in ``tests/support/forked.py``: measured children say for which test they ran."""
_LEFT_OUT = (ast.JoinedStr, ast.Assert, ast.Import)
_OPTIONS = ("-x", "-q", "-n", "0", "--timeout=60")


class Mutant(NamedTuple):
    """One small change to one file."""

    path: Path
    """Relative to the checkout."""
    line: int
    start: int
    """Bytes into the file, as ``end``: what lies between is replaced."""
    end: int
    before: str
    after: str

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.end :]

    def __str__(self) -> str:
        before, after = (" ".join(each.split())[:90] for each in (self.before, self.after))
        return f"{self.path}:{self.line}: {before}  ->  {after}"


class _Source:
    """A file, and where its nodes lie in it."""

    def __init__(self, path: Path, checkout: Path) -> None:
        self.path = path
        self.bytes = (checkout / path).read_bytes()
        self._offsets = [0]
        for line in self.bytes.splitlines(keepends=True):
            self._offsets.append(self._offsets[-1] + len(line))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return (
            self._offsets[node.lineno - 1] + node.col_offset,
            self._offsets[node.end_lineno - 1] + node.end_col_offset,
        )

    def text(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.bytes[start:end].decode()

    def replaced(self, node: ast.expr | ast.stmt, text: str) -> Mutant:
        start, end = self.span(node)
        return Mutant(self.path, node.lineno, start, end, self.bytes[start:end].decode(), text)


def mutants(path: Path, checkout: Path = ROOT) -> list[Mutant]:
    """Return every mutant of the file at ``path`` in ``checkout``, in order of lines."""
    source = _Source(path, checkout)
    found = {
        mutant
        for node in _code(ast.parse(source.bytes))
        for mutant in _of_node(source, node)
        if mutant.applied(source.bytes) != source.bytes
    }
    return sorted(found)


def _code(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that do something when the program runs: no annotation, docstring or constant of a
    module; nothing in an f-string, whose positions Python 3.11 does not know."""
    waiting = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)]
    seen: set[int] = set()
    while waiting:
        function = waiting.pop()
        inside: list[ast.AST] = [*function.body]
        while inside:
            node = inside.pop()
            # zip(strict=True) is an assertion.
            said = isinstance(node, ast.keyword) and node.arg in ("strict", "usedforsecurity")
            if id(node) in seen or said or isinstance(node, _LEFT_OUT):
                continue
            seen.add(id(node))
            yield node
            for name, value in ast.iter_fields(node):
                if name not in ("annotation", "returns", "decorator_list", "args.annotation"):
                    each = value if isinstance(value, list) else [value]
                    inside += [below for below in each if isinstance(below, ast.AST)]


def _of_node(source: _Source, node: ast.AST) -> Iterator[Mutant]:
    if isinstance(node, ast.If | ast.While | ast.IfExp | ast.comprehension):
        tests = node.ifs if isinstance(node, ast.comprehension) else [node.test]
        for test in tests:
            if not _is_negated_anyway(test):
                yield source.replaced(test, f"(not ({source.text(test)}))")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield source.replaced(node, f"bool({source.text(node.operand)})")
    elif isinstance(node, ast.BoolOp):
        word = " and " if isinstance(node.op, ast.And) else " or "
        for number in range(len(node.values)):
            rest = [f"({source.text(v)})" for n, v in enumerate(node.values) if n != number]
            yield source.replaced(node, f"({word.join(rest)})")
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        left, right = source.text(node.left), source.text(node.comparators[0])
        yield source.replaced(node, f"(({left}) {_COMPARISONS[type(node.ops[0])]} ({right}))")
    elif isinstance(node, ast.Constant):
        yield from _of_constant(source, node)
    elif isinstance(node, ast.stmt):
        yield from _of_statement(source, node)


def _is_negated_anyway(test: ast.expr) -> bool:
    """Whether a mutant of ``test`` itself is its negation: ``!=`` of ``==``, nothing of ``not``."""
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return isinstance(test.ops[0], ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In | ast.NotIn)
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)


def _of_constant(source: _Source, node: ast.Constant) -> Iterator[Mutant]:
    if isinstance(node.value, bool):
        yield source.replaced(node, str(not node.value))
    elif isinstance(node.value, int):
        yield source.replaced(node, str(node.value + 1))


def _of_statement(source: _Source, node: ast.stmt) -> Iterator[Mutant]:
    """The statement left out, or ``None`` returned."""
    if isinstance(node, ast.Return):
        if node.value is not None and source.text(node.value) != "None":
            yield source.replaced(node, "return None")
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Yield | ast.YieldFrom):
        yield source.replaced(node, "yield from ()")
    elif isinstance(node, ast.Raise | ast.Continue | ast.Break | ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield source.replaced(node, "pass")


def tests_of(path: Path) -> list[str]:
    """The tests of a module's room: its own file or, without one, all in the room's folder; then
    those of whole commands."""
    inside = path.relative_to(PACKAGE)
    room = Path("tests", inside.parent)
    own = [room / f"test_{inside.stem}.py"]
    if inside.parts[0] != "commands":
        own += sorted(each.relative_to(ROOT) for each in (ROOT / room).glob("test_*.py"))
    more = [Path("tests", each) for each in ALSO.get(str(inside.parent), ())]
    return [str(each) for each in dict.fromkeys(own + more) if (ROOT / each).exists()]


class Checkout:
    """A copy of the working tree, with an environment in which it, not the original, is loragit."""

    def __init__(self, scratch: Path) -> None:
        """``scratch`` is an empty folder outside of any repository."""
        self.folder = folder = scratch / "checkout"
        self._temporary = scratch / "temporary"
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout.decode()
        for name in listed.split("\0"):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        subprocess.run(["git", "init", "-q", folder], check=True)
        environment = folder / ".venv"
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", environment], cwd=folder, check=True
        )
        self.python = environment / "bin" / "python"
        packages = environment / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
        (packages / "checkout.pth").write_text(
            f"{folder / 'src'}\n{sysconfig.get_path('purelib')}\n"
            "import os; 'COVERAGE_PROCESS_CONFIG' in os.environ and "
            "__import__('coverage').process_startup()\n"
        )
        for name in ("loragit", "pre-commit"):
            script = Path(sys.executable).with_name(name)
            if script.exists():
                _, _, rest = script.read_text().partition("\n")
                (self.python.with_name(name)).write_text(f"#!{self.python}\n{rest}")
                self.python.with_name(name).chmod(0o755)

    def measured(self, tests: Sequence[str]) -> Reached:
        """Run ``tests`` without a mutant, and return which of them reach which line."""
        data = self._temporary.with_name("coverage")
        words = ["--cov=loragit", "--cov-context=test", "--cov-report=", "--cov-fail-under=0"]
        environ = {**os.environ, "COVERAGE_FILE": str(data), CHILD_CONTEXTS: "1"}
        began = time.monotonic()
        if not self._pytest([*words, *tests], 3600, environ):
            raise SystemExit(f"{' '.join(tests)} fails, or takes too long, without any mutant")
        coverage = CoverageData(str(data))
        coverage.read()
        reached = {
            Path(name).relative_to(self.folder): {
                line: frozenset(map(_test_of_context, contexts))
                for line, contexts in coverage.contexts_by_lineno(name).items()
            }
            for name in coverage.measured_files()
        }
        return Reached(time.monotonic() - began, reached)

    def passes(self, tests: Sequence[str], seconds: float) -> bool:
        """Whether ``tests`` pass, and end within ``seconds``."""
        return self._pytest(["--no-cov", "-p", "no:cacheprovider", *tests], seconds, os.environ)

    def _pytest(self, words: Sequence[str], seconds: float, environ: Mapping[str, str]) -> bool:
        process = subprocess.Popen(
            [self.python, "-B", "-m", "pytest", *_OPTIONS, f"--basetemp={self._temporary}", *words],
            cwd=self.folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            # Also what a test left running: a mutant may not end what it started.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Reached(NamedTuple):
    """Which tests reach which lines."""

    seconds: float
    """How long all tests took, measured."""
    lines: Mapping[Path, Mapping[int, frozenset[str]]]
    """Tests by file and line. A whole file of tests stands for its fixtures, which tests share."""

    def tests(self, mutant: Mutant, files: Sequence[str]) -> list[str]:
        """Return the tests in ``files`` that can notice ``mutant``, in the order of ``files``.

        Lines without code of their own count as the one above them. Where no test is seen there,
        all are tried: a child that was not measured may get there.
        """
        lines = self.lines.get(mutant.path, {})
        above = range(mutant.line, max(mutant.line - 12, 0), -1)
        known = next((lines[line] for line in above if lines.get(line)), frozenset())
        chosen: list[str] = []
        for file in files:
            if file in known:
                chosen.append(file)
            else:
                chosen += sorted(test for test in known if test.startswith(f"{file}::"))
        return chosen or list(files)


def _test_of_context(context: str) -> str:
    """``tests/test_x.py::test_y[z]|run`` is ``tests/test_x.py::test_y``; what a fixture did counts
    for the whole file."""
    test, _, phase = context.rpartition("|")
    return test.partition("[")[0] if phase == "run" else test.partition("::")[0]


def lives(checkout: Checkout, mutant: Mutant, tests: Sequence[str], seconds: float) -> bool:
    path = checkout.folder / mutant.path
    source = path.read_bytes()
    changed = mutant.applied(source)
    compile(changed, path, "exec")
    path.write_bytes(changed)
    try:
        return checkout.passes(tests, seconds)
    finally:
        path.write_bytes(source)


def modules(words: Sequence[str]) -> list[Path]:
    """The modules that ``words`` name, each a module or a room, relative to the package."""
    found: dict[Path, None] = {}
    for word in words:
        place = ROOT / PACKAGE / word
        if not place.exists():
            raise SystemExit(f"there is no {PACKAGE / word}")
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        found |= dict.fromkeys(path.relative_to(ROOT) for path in files)
    return list(found)


def main() -> int:
    """Exit status 0 where nine of ten mutants are killed, else 1."""
    parser = argparse.ArgumentParser(description="How many small faults the tests notice.")
    parser.add_argument("modules", nargs="*", default=CRITICAL, metavar="ROOM_OR_MODULE")
    parser.add_argument("-n", "--number", type=int, default=40, help="size of the sample")
    parser.add_argument("--seed", type=int, help="of the sample; a new one where none is given")
    parser.add_argument("--line", help="PATH:LINE, from the list of the living: that line's alone")
    parser.add_argument("--tests", nargs="+", help="instead of those of the room")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else time.time_ns() % 100_000
    os.nice(10)
    # So that the tests of the mutant at hand are ended, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        Path(scratch).chmod(0o755)  # tests of file modes run as another user
        # What is edited in the working tree from now on changes nothing here.
        checkout = Checkout(Path(scratch))
        every = [
            mutant
            for path in modules(options.modules)
            for mutant in mutants(path, checkout.folder)
            if options.line in (None, f"{mutant.path}:{mutant.line}")
        ]
        chosen = random.Random(seed).sample(every, min(options.number, len(every)))
        print(f"seed {seed}: {len(chosen)} of {len(every)} mutants", flush=True)
        return _judge(checkout, chosen, options.tests)


def _judge(checkout: Checkout, chosen: Sequence[Mutant], given: Sequence[str] | None) -> int:
    files = [list(given or tests_of(mutant.path)) for mutant in chosen]
    reached = checkout.measured(list(dict.fromkeys(each for several in files for each in several)))
    living = []
    for number, (mutant, tests) in enumerate(zip(chosen, files, strict=True), 1):
        alive = lives(checkout, mutant, reached.tests(mutant, tests), 30 + 4 * reached.seconds)
        living += [mutant] if alive else []
        print(f"{number:3} {'LIVES ' if alive else 'killed'}  {mutant}", flush=True)
    killed = len(chosen) - len(living)
    print(f"{killed} of {len(chosen)} killed")
    for mutant in sorted(living):
        print(f"  {mutant}")
    return 0 if killed * 10 >= len(chosen) * 9 else 1


if __name__ == "__main__":
    sys.exit(main())
