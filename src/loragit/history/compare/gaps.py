"""What a record lacks. That is no difference from a record that has it: nobody knows how it was.

An imported run has only what was left of its training. Whatever its record does not hold may have
been there or not.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from loragit.history.compare.changes import ARGUMENT, GAPS, KINDS, Lacks
from loragit.history.record_parser import Record


def lacks(record: Record, missing: Container[str], files: Container[str]) -> Lacks:
    """Return what ``record`` lacks.

    ``missing`` are the values of its trailer ``Missing``, ``files`` those at the top of its tree.
    """
    found = list(_gaps(record, missing, files))
    imported = "imported" in record.table
    partly = frozenset(KINDS) if imported else frozenset[str]()
    kinds = {kind for _, _, kinds in found for kind in kinds}
    names = {missing: name for missing, name, _ in found}
    if ARGUMENT in kinds and record.args and "arguments" in record.table:
        kinds.remove(ARGUMENT)
        partly |= {ARGUMENT}
        names["command"] = "other arguments"
    return Lacks(names, frozenset(kinds), partly, imported)


def _gaps(
    record: Record, missing: Container[str], files: Container[str]
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for gap in GAPS:
        name = gap[0]
        if (
            name in missing
            or (name == "command" and not record.argv)
            or (name == "trainer commit" and not (record.trainer.commit or record.trainer.version))
            or (name in ("dataset.sha256", "environment.txt") and name not in files)
        ):
            yield gap
