"""Coverage of the ``loragit`` children that tests start, without importing coverage into each: see
traced.py.

Where that does not go (no C tracer, a Python whose site-packages cannot be written), coverage does
it its own, slower, way: ``patch = ["subprocess"]`` in pyproject.toml.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from coverage import Coverage

import loragit

VARIABLE = "COVERAGE_CHILDREN"
OWN_WAY = "COVERAGE_PROCESS_CONFIG"
"""What tells a child to let coverage do it."""

PACKAGE = Path(loragit.__file__).parent
HOOK = """\
import os, sys; names = {{}}; \
told = sys.__dict__.setdefault("coverage_of_children", os.environ.get("{variable}", "").split(os.pathsep)); \
told[1:] and exec(__import__("importlib.machinery").machinery.SourceFileLoader("", told[0]).get_code(""), names); \
told[1:] and (names["measure"](*told[1:]), told.clear())
"""  # noqa: E501
"""A .pth file of one line. A folder of packages may be known by two names, and be read twice: told
once is enough."""


def start(folder: Path) -> str | None:
    """What :data:`VARIABLE` has to be in a child, for it to leave what it ran in ``folder``; None:
    no such way here."""
    tracer = importlib.util.find_spec("coverage.tracer")
    if OWN_WAY not in os.environ or tracer is None or tracer.origin is None or not _hooked():
        return None
    traced = Path(__file__).with_name("traced.py")
    return os.pathsep.join((str(traced), tracer.origin, f"{PACKAGE}{os.sep}", str(folder)))


def _hooked() -> bool:
    """Whether each Python of this environment looks at :data:`VARIABLE`. Without it, the file that
    does so is inert."""
    path = Path(sysconfig.get_path("purelib"), "loragit_child_coverage.pth")
    text = HOOK.format(variable=VARIABLE)
    if sys.prefix == sys.base_prefix:
        return False
    try:
        if not path.is_file() or path.read_text() != text:
            fresh = path.with_suffix(f".{os.getpid()}")
            fresh.write_text(text)
            fresh.replace(path)
    except OSError:
        return False
    return True


def read(folder: Path) -> dict[str, list[tuple[int, int]]]:
    """The arcs, by file, that the children which are done have left in ``folder``."""
    found: dict[str, set[int]] = {}
    for path in folder.glob("*.arcs"):
        for name, pairs in marshal.loads(path.read_bytes()).items():
            found.setdefault(name, set()).update(pairs)
    return {name: list(unpacked(pairs)) for name, pairs in found.items()}


def unpacked(pairs: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The tracer's pairs of lines; as coverage.collector.Collector.flush_data."""
    mask = (1 << 28) - 1
    for pair in pairs:
        first, second = pair & mask, pair >> 28 & mask
        yield -first if pair & 1 << 56 else first, -second if pair & 1 << 57 else second


@contextmanager
def measured(folder: Path) -> Iterator[str | None]:
    """Children are measured within; at the end the session's own coverage has their arcs. Yields as
    :func:`start`."""
    value = start(folder)
    yield value
    current = Coverage.current()
    if value and current:
        current.get_data().add_arcs(read(folder))
