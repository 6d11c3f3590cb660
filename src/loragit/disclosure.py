"""What a record would give away: no secret that loragit knows of is committed."""

from __future__ import annotations

from itertools import islice

from loragit import secrets, text
from loragit.errors import Findings
from loragit.record import Entry, Run

_SHOWN = 3
"""Most findings of one file that are told."""


def look(run: Run, known: tuple[str, ...], findings: Findings) -> None:
    """A finding for each text of the record that holds what looks like a secret, or one of ``known``."""
    captions = [e for e in run.entries if e.path.startswith("captions/")]
    suspects = [e for e in run.entries if not e.path.startswith("captions/") and e.path != "dataset.sha256"]
    together = b"\n".join(e.data for e in captions)
    if secrets.find(together) or secrets.find_known(together, known):
        suspects += captions
    suspects += [text.run_toml(run), Entry("the message", text.message(run).encode())]
    for entry in suspects:
        found = [*secrets.find(entry.data), *secrets.find_known(entry.data, known)]
        if entry.path.startswith(("config.", "sample-prompts.", "inputs/")):
            found += islice(secrets.find_values(entry.data), _SHOWN)
        by_line = {each.line: each for each in reversed(found)}
        for each in sorted(by_line.values(), key=lambda each: each.line or 0)[:_SHOWN]:
            line = f", line {each.line}," if each.line else ""
            findings.add(
                f"{entry.path}{line} holds what looks like a secret ({each.kind})",
                "take it out: give it in the environment or as an argument, which are not recorded",
            )
