"""How much the tests notice: ``mutants.py [ROOM_OR_MODULE...]`` breaks the code in small ways, one
at a time, and lists those that no test of the room notices.

A mutant is the code with one thing changed, in a copy of the checkout::

    if run.tag is not None and run.tag not in known:     the code
    if not (run.tag is not None and ...):                a condition, negated
    if run.tag not in known:                             one operand less
    if run.tag is None and ...:                          another comparison

It is killed when a test fails, or no longer ends. One that lives is either a test that is missing,
or no change at all (``<`` for ``<=`` where the two are never equal): that is for a person to judge.
Not part of the gate: a sample of 40 takes half an hour.
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
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("src/loragit")
CRITICAL = ("history", "run/recovery", "run/train.py", "run/ending.py", "store")
"""What is sampled where nothing is named: reading the record, and what must never lose a run."""

ALSO = {
    "history": ("commands/test_log.py", "commands/test_verify.py"),
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
            if id(node) in seen or isinstance(node, ast.JoinedStr | ast.Assert | ast.Import):
                continue
            seen.add(id(node))
            yield node
            for name, value in ast.iter_fields(node):
                if name not in ("annotation", "returns", "decorator_list", "args.annotation"):
                    each = value if isinstance(value, list) else [value]
                    inside += [below for below in each if isinstance(below, ast.AST)]


def _of_node(source: _Source, node: ast.AST) -> Iterator[Mutant]:
    if isinstance(node, ast.If | ast.While | ast.IfExp):
        yield source.replaced(node.test, f"(not ({source.text(node.test)}))")
    elif isinstance(node, ast.comprehension):
        yield from (source.replaced(test, f"(not ({source.text(test)}))") for test in node.ifs)
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
        )
        for name in ("loragit", "pre-commit"):
            script = Path(sys.executable).with_name(name)
            if script.exists():
                _, _, rest = script.read_text().partition("\n")
                (self.python.with_name(name)).write_text(f"#!{self.python}\n{rest}")
                self.python.with_name(name).chmod(0o755)

    def passes(self, tests: Sequence[str], seconds: float) -> bool:
        """Whether ``tests`` pass, and end within ``seconds``."""
        words = ["-m", "pytest", "-x", "-q", "--no-cov", "-p", "no:cacheprovider", "--timeout=60"]
        places = [f"--basetemp={self._temporary}", *tests]
        process = subprocess.Popen(
            [self.python, "-B", *words, *places],
            cwd=self.folder,
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


def lives(checkout: Checkout, mutant: Mutant, tests: Sequence[str], seconds: float) -> bool:
    path = checkout.folder / mutant.path
    source = path.read_bytes()
    changed = mutant.applied(source)
    compile(changed, path, "exec")
    path.write_bytes(changed)
    try:
        return all(checkout.passes([each], seconds) for each in tests)
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
    began: dict[str, float] = {}
    living = []
    for number, mutant in enumerate(chosen, 1):
        tests = list(given or tests_of(mutant.path))
        for each in tests:
            if each not in began:
                start = time.monotonic()
                if not checkout.passes([each], 1200):
                    raise SystemExit(f"{each} fails, or takes too long, without any mutant")
                began[each] = time.monotonic() - start
        seconds = 30 + 4 * max((began[each] for each in tests), default=0.0)
        alive = lives(checkout, mutant, tests, seconds)
        living += [mutant] if alive else []
        print(f"{number:3} {'LIVES ' if alive else 'killed'}  {mutant}", flush=True)
    killed = len(chosen) - len(living)
    print(f"{killed} of {len(chosen)} killed")
    for mutant in sorted(living):
        print(f"  {mutant}")
    return 0 if killed * 10 >= len(chosen) * 9 else 1


if __name__ == "__main__":
    sys.exit(main())
