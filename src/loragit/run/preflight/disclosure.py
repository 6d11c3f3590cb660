"""Secrets that a record's files and names would disclose: refused, or recorded as ``***``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from loragit.errors import Area, Findings
from loragit.git import checkout
from loragit.record import message, run_toml
from loragit.record.values import Entry, RepoState, Run
from loragit.secrets import find, redact
from loragit.secrets.files import as_utf8, redacted, secrets_in
from loragit.secrets.rules import FoundSecret

_SHOWN = 3
"""Most lines reported per file."""
_TAKE_OUT = (
    "take it out (arguments and the environment are not recorded), or record *** in its "
    "place: --allow-secrets"
)
_MARK = "; if it is none, end the line with the comment # loragit: no secret"
_WITH_COMMENTS = (".toml", ".py", ".sh", ".yaml", ".yml", ".cfg", ".ini")
_BYTES = ("utf-8", "surrogateescape")


class Sources(NamedTuple):
    """The user's own files from which the entries of a record were made."""

    files: Mapping[str, Path]
    """Files, by path in the record."""
    folders: tuple[tuple[str, Path], ...] = ()
    """(folder in the record, folder that its files come from)."""
    patched: tuple[tuple[str, Path], ...] = ()
    """(patch in the record, top of the patched repository)."""

    def of(self, entry: Entry, line: int | None) -> tuple[str, int | None]:
        """Return the user's file and line that ``line`` of ``entry`` comes from, as far as
        known."""
        for patch, top in self.patched:
            if patch == entry.path and line is not None:
                path, there = checkout.patched_line(entry.data, line)
                return (str(top / path), there) if path else (patch, line)
        folder, _, name = entry.path.rpartition("/")
        below = next((real / name for place, real in self.folders if place == folder), None)
        return str(self.files.get(entry.path) or below or entry.path), line


class CheckedRun(NamedTuple):
    """A run whose record discloses no secret, except where a finding reports one."""

    run: Run
    """The run as it may be committed: ``***`` in place of each secret."""
    warnings: tuple[str, ...]


def check_secrets(
    run: Run, known: tuple[str, ...], sources: Sources, *, allow: bool, findings: Findings
) -> CheckedRun:
    """Add a finding for each line of the record that contains an apparent secret or one of
    ``known``.

    With ``allow`` it is a warning instead, and the returned run has ``***`` there; a secret that
    cannot be redacted remains a finding.
    """
    found = {
        entry: leaks
        for entry in _suspect_entries(run.entries, known)
        if (leaks := secrets_in(_suspect_bytes(entry), known))
    }
    of_names = {
        entry: leaks
        for entry in _texts_of_names(run)
        if (leaks := _secrets_in_text(entry.data, known))
    }
    problems = [*_problems(found, sources), *_problems(of_names, sources)]
    for path in _leaking_paths(run, known):
        problem = f"the file name {path} holds what looks like a secret"
        findings.add(problem, "give the file another name", Area.SECRETS)
    if not allow:
        for problem, hint in problems:
            findings.add(problem, hint, Area.SECRETS)
        return CheckedRun(run, ())
    run = _redacted_run(
        run,
        {entry.path: redacted(entry.data, known) for entry in found},
        known,
        names=bool(of_names),
    )
    left = {
        entry: secrets_in(entry.data, known) for entry in run.entries if entry.path in run.redacted
    }
    left |= {entry: _secrets_in_text(entry.data, known) for entry in _texts_of_names(run)}
    for problem, _ in _problems(left, sources):
        findings.add(f"{problem}, and masking it does not help", "take it out", Area.SECRETS)
    return CheckedRun(run, tuple(f"{problem}: recorded as ***" for problem, _ in problems))


def _suspect_bytes(entry: Entry) -> bytes:
    """Return the part of a file that can contain a secret: for ten thousand hashes and names, only
    the names."""
    if entry.path != "dataset.sha256":
        return entry.data
    return b"\n".join(line.partition(b"  ")[2] for line in entry.data.split(b"\n"))


def _suspect_entries(entries: Iterable[Entry], known: Iterable[str]) -> tuple[Entry, ...]:
    """Return the entries to search one by one: usually none of ten thousand captions."""
    captions = [e for e in entries if e.path.startswith("captions/")]
    others = tuple(e for e in entries if not e.path.startswith("captions/"))
    return (
        (*others, *captions)
        if _secrets_in_text(b"\n".join(as_utf8(e.data) for e in captions), known)
        else others
    )


def _secrets_in_text(data: bytes, known: Iterable[str]) -> tuple[FoundSecret, ...]:
    return (*find.find_secrets(data), *find.find_known_secrets(data, known))


def _texts_of_names(run: Run) -> tuple[Entry, ...]:
    """Return the texts that loragit generates from names (of branches, folders, files) and
    arguments."""
    return run_toml.run_toml(run), Entry("the message", message.run_message(run).encode(*_BYTES))


def _leaking_paths(run: Run, known: tuple[str, ...]) -> Iterator[str]:
    """Yield the paths in the record that contain a secret, redacted. The record itself can only
    hold a path as it is."""
    paths = "\n".join(entry.path for entry in run.entries).encode(*_BYTES)
    if _secrets_in_text(paths, known):
        shown = zip(
            paths.split(b"\n"), redact.redact_unmarked(paths, known).split(b"\n"), strict=True
        )
        yield from (hidden.decode(*_BYTES) for path, hidden in shown if path != hidden)


def _problems(
    found: Mapping[Entry, tuple[FoundSecret, ...]], sources: Sources
) -> Iterator[tuple[str, str]]:
    """Yield (fact, next step) for the lines of each file, at most :data:`_SHOWN` per file."""
    for entry, leaks in found.items():
        hint = _TAKE_OUT
        if PurePosixPath(entry.path).suffix in _WITH_COMMENTS and entry.path != "run.toml":
            hint += _MARK
        for each in leaks[:_SHOWN]:
            where, line = sources.of(entry, each.line)
            at = f"{where}, line {line}," if line else where
            yield f"{at} holds what looks like a secret ({each.kind})", hint
        if len(leaks) > _SHOWN:
            yield f"{sources.of(entry, None)[0]} holds {len(leaks) - _SHOWN} more", hint


def _redacted_run(
    run: Run, files: Mapping[str, bytes], known: tuple[str, ...], *, names: bool
) -> Run:
    """Return ``run`` with ``files`` in place of its own; with ``names``, its message and its table
    are redacted too."""
    entries = tuple(e._replace(data=files[e.path]) if e.path in files else e for e in run.entries)
    run = run._replace(entries=entries, redacted=tuple(sorted(files)))
    if not names:
        return run

    def hide(name: str) -> str:
        return redact.redact_unmarked(name.encode(*_BYTES), known).decode(*_BYTES)

    lycoris = run.lycoris
    return run._replace(
        trainer=_redacted_state(run.trainer, hide),
        trainer_script=hide(run.trainer_script),
        lycoris=lycoris._replace(
            repo=_redacted_state(lycoris.repo, hide) if lycoris.repo else None
        ),
        workdir=hide(run.workdir),
        argv=tuple(map(hide, run.argv)),
        arguments=_redacted_arguments(run.arguments, hide),
        defaults=_redacted_arguments(run.defaults, hide),
    )


def _redacted_arguments(
    arguments: Mapping[str, tuple[str, ...]], hide: Callable[[str], str]
) -> Mapping[str, tuple[str, ...]]:
    return {hide(name): tuple(map(hide, values)) for name, values in arguments.items()}


def _redacted_state(state: RepoState, hide: Callable[[str], str]) -> RepoState:
    branch = state.branch and hide(state.branch)
    return state._replace(branch=branch, dirty=tuple(map(hide, state.dirty)))
