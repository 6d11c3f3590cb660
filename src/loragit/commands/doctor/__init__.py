"""``loragit doctor [NAME]``: every check of a run, of the installation and of the record, each with
its fix."""

from __future__ import annotations

from collections.abc import Iterable

from loragit import console, text
from loragit.commands.doctor.check import FAILED, WARNING, Check
from loragit.commands.doctor.examination import DoctorOptions, examine


def doctor(options: DoctorOptions, *, as_json: bool = False) -> int:
    """Print every check. Returns 1 if one of them failed, else 0."""
    checks, left_out = examine(options)
    if as_json:
        import json

        console.write(json.dumps([check._asdict() for check in checks], indent=2) + "\n")
    else:
        _print_checks(checks)
    if left_out:
        console.info(left_out)
    return 1 if any(check.status == FAILED for check in checks) else 0


def _print_checks(checks: Iterable[Check]) -> None:
    """Print a line a check, its fix below it, and at the end how many there are."""
    numbers: dict[str, int] = {}
    for check in checks:
        numbers[check.status] = numbers.get(check.status, 0) + 1
        console.out(f"{check.status}  {check.message}")
        if check.fix:
            console.out(f"    fix: {check.fix}")
    warnings, failed = numbers.get(WARNING, 0), numbers.get(FAILED, 0)
    console.out(
        f"{text.count(sum(numbers.values()), 'check')}, {text.count(warnings, 'warning')}, "
        f"{failed} failed"
    )
