"""Search what a commit would add for secrets: the staged bytes, whatever the work tree holds.

This runs at every commit, so it needs no typer, pygit2 or dulwich. Staged bytes that the work tree
has too are read from there: git takes a second for ten thousand captions.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from loragit import git
from loragit.commands.hook.trainer_clean import SHOWN, CommitCheck
from loragit.errors import Area, Finding, LoragitError
from loragit.git.repository import Repository
from loragit.secrets import find, redact
from loragit.secrets.files import as_utf8, secrets_in
from loragit.secrets.rules import FoundSecret
from loragit.text import more

SETTING = "loragit.secrets"
"""The key of git's configuration that turns the search on."""

MAX_BYTES = 8 * 1024 * 1024
"""Largest file that is searched."""

_NO_TEXT = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".avif", ".jxl", ".gif", ".mp4", ".webm"),
    *(".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".npz", ".gguf", ".onnx", ".zip", ".gz"),
)
_TABLES = (".toml", ".json", ".jsonl")
_AT_ONCE = 1024 * 1024
"""Bytes of small files that are first searched together, as one text."""
_REGULAR, _LINK, _NONE = ("100644", "100755"), "120000", "0"


class SecretsStaged(LoragitError):
    """What would be committed holds what looks like a secret."""


class _StagedFile(NamedTuple):
    """A file that a commit would change."""

    path: str
    """Relative to the top of the work tree."""
    mode: str
    """``0…`` if it would be deleted."""
    old: str
    """Its blob in ``HEAD``; zeros if there is none."""
    new: str
    """The staged blob."""


class _Text(NamedTuple):
    """A file that is searched."""

    path: str
    data: bytes


class _Leak(NamedTuple):
    text: _Text
    found: FoundSecret


def is_wanted(setting: git.Question) -> bool:
    """The reply to ``git config --bool --get`` :data:`SETTING`. Raises :class:`LoragitError` if it
    is neither true nor false."""
    reply = setting.reply()
    if reply.status > 1:
        raise LoragitError(
            f"{SETTING} in git's configuration is neither true nor false",
            hint=f"git config {SETTING} true",
        )
    return reply.out.strip() == b"true"


def check(cwd: Path, environ: Mapping[str, str], index: str | None) -> CommitCheck:
    """Whether what is staged in ``index`` (``None``: the repository's own) adds secrets to
    ``HEAD``.

    A secret in a line that ``HEAD`` already has, in the same file or in one that the commit
    deletes, is not new. Raises :class:`~loragit.git.GitFailed`.
    """
    try:
        repository = git.discover(cwd)
    except git.NotARepository as error:
        return CommitCheck(notes=(f"what is staged was not searched for secrets: {error.message}",))
    changes = _changes(repository, index)
    notes: list[str] = []
    added = [
        c for c in changes if c.mode in (*_REGULAR, _LINK) and not c.path.lower().endswith(_NO_TEXT)
    ]
    known = find.distinctive(find.trainer_secrets((), (), environ))
    leaks = list(_search(_staged_texts(added, repository, notes), known))
    if leaks:
        before = _lines_before(changes, {leak.text.path for leak in leaks}, repository)
        leaks = [
            leak for leak in leaks if leak.found.line is None or _leaking_line(leak) not in before
        ]
    names = [c.path for c in changes if not c.old.strip(_NONE)]
    return _verdict([*_secret_names(names, known), *_leak_lines(leaks)], notes)


def check_files(files: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> CommitCheck:
    """Whether any of ``files`` (relative to ``cwd``) holds a secret as it is on the disk."""
    notes: list[str] = []
    known = find.distinctive(find.trainer_secrets((), (), environ))
    named = (path for path in files if not path.lower().endswith(_NO_TEXT))
    leaks = list(_search(_texts(named, cwd, notes), known))
    return _verdict([*_secret_names(files, known), *_leak_lines(leaks)], notes)


def _texts(paths: Iterable[str], cwd: Path, notes: list[str]) -> Iterator[_Text]:
    for path in paths:
        try:
            data = _read_text(f"{cwd}/{path}" if path[:1] != "/" else path)
        except OSError as error:
            notes.append(f"{path} was not searched for secrets: {error.strerror}")
            continue
        if data is None:
            notes.append(_too_large(path))
        else:
            yield _Text(path, data)


def _read_text(path: str) -> bytes | None:
    """The bytes of a file; of a large one that is no text only the first; ``None`` for a text that
    is too large."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(handle, "rb", buffering=0) as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is not a plain file")
        if status.st_size > MAX_BYTES:
            start = file.read(_SNIFFED)
            return start if _is_binary(start) else None
        return file.readall()


_SNIFFED = 8000
"""First bytes that are searched for a NUL, which means that a file is no text; git does the
same."""


def _is_binary(data: bytes) -> bool:
    start = data[:_SNIFFED]
    return b"\0" in start and as_utf8(data) is data


def _too_large(path: str) -> str:
    return f"{path} was not searched for secrets: it is larger than {MAX_BYTES // 2**20} MiB"


def _changes(repository: Repository, index: str | None) -> list[_StagedFile]:
    head = git.call("rev-parse", "--quiet", "--verify", "HEAD^{tree}", cwd=repository.top)
    base = head.out.decode().strip() or git.run(
        "hash-object", "-t", "tree", os.devnull, cwd=repository.top
    )
    variables = (f"GIT_INDEX_FILE={index}",) if index else ()
    question = git.start(
        "diff-index", "--cached", "--raw", "-r", "-z", base, cwd=repository.top, variables=variables
    )
    reply = question.reply()
    if reply.status != 0:
        raise git.GitFailed(f"git diff-index failed: {git.last_words(reply)}")
    fields = reply.out.decode("utf-8", "surrogateescape").split("\0")[:-1]
    rows = zip((about.split(" ") for about in fields[::2]), fields[1::2], strict=True)
    return [_StagedFile(path, about[1], about[2], about[3]) for about, path in rows]


def _staged_texts(
    changes: Iterable[_StagedFile], repository: Repository, notes: list[str]
) -> Iterator[_Text]:
    """The staged content of each: from the work tree if it is the same there, else from git."""
    wanted: dict[str, str] = {}
    for change in changes:
        data = _bytes_if_staged(f"{repository.top}/{change.path}", change)
        if data is None:
            wanted[change.path] = change.new
        else:
            yield _Text(change.path, data)
    sizes = {}
    for row in git.run(
        "cat-file", "--batch-check", cwd=repository.top, data=_rows(wanted.values())
    ).splitlines():
        about = row.split(" ")
        sizes[about[0]] = int(about[2]) if len(about) == 3 else 0
    for path, blob in wanted.items():
        if sizes.get(blob, 0) > MAX_BYTES and not _is_binary_file(f"{repository.top}/{path}"):
            notes.append(_too_large(path))
    small = {blob for blob in wanted.values() if sizes.get(blob, 0) <= MAX_BYTES}
    contents = _blobs(small, repository)
    yield from (_Text(path, contents[blob]) for path, blob in wanted.items() if blob in contents)


def _bytes_if_staged(path: str, change: _StagedFile) -> bytes | None:
    """The bytes of the work tree's file if they are the staged ones, which their hash tells; else
    ``None``."""
    if change.mode == _LINK:
        return None
    try:
        data = _read_text(path)
    except OSError:
        return None
    if data is None:
        return None
    make = hashlib.sha1 if len(change.new) == 40 else hashlib.sha256
    return (
        data
        if make(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == change.new
        else None
    )


def _is_binary_file(path: str) -> bool:
    """Whether the work tree's file is no text: then it is not worth a note that the staged one was
    not searched."""
    try:
        data = _read_text(path)
    except OSError:
        return False
    return data is not None and _is_binary(data)


def _rows(names: Iterable[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")


def _blobs(names: Iterable[str], repository: Repository) -> dict[str, bytes]:
    """Contents of those that exist, by the name asked for."""
    names = list(names)
    out = (
        git.start("cat-file", "--batch", cwd=repository.top, data=_rows(names)).reply().out
        if names
        else b""
    )
    found, at = {}, 0
    for name in names:
        end = out.find(b"\n", at)
        if end < 0:  # git gave up
            break
        about = out[at:end].split(b" ")
        at = end + 1
        if len(about) == 3 and about[2].isdigit():
            found[name] = out[at : at + int(about[2])]
            at += int(about[2]) + 1
    return found


def _search(texts: Iterable[_Text], known: tuple[str, ...]) -> Iterator[_Leak]:
    """Search many files at once: nearly all of them hold no secret."""
    waiting: list[_Text] = []
    size = 0
    for text in texts:
        if _is_binary(text.data):
            continue
        if text.path.lower().endswith(_TABLES) or len(text.data) > _AT_ONCE:
            yield from _search_each([text], known)
            continue
        waiting.append(text)
        size += len(text.data)
        if size > _AT_ONCE:
            yield from _search_joined(waiting, known)
            waiting, size = [], 0
    yield from _search_joined(waiting, known)


def _search_joined(texts: list[_Text], known: tuple[str, ...]) -> Iterator[_Leak]:
    joined = b"\n".join(as_utf8(text.data) for text in texts)
    if find.find_secrets(joined) or find.find_known_secrets(joined, known):
        yield from _search_each(texts, known)


def _search_each(texts: Iterable[_Text], known: tuple[str, ...]) -> Iterator[_Leak]:
    for text in texts:
        yield from (_Leak(text, found) for found in secrets_in(text.data, known))


def _leaking_line(leak: _Leak) -> bytes:
    assert leak.found.line is not None
    return as_utf8(leak.text.data).split(b"\n")[leak.found.line - 1].rstrip()


def _lines_before(
    changes: Sequence[_StagedFile], paths: set[str], repository: Repository
) -> frozenset[bytes]:
    """Lines that exist already: in ``HEAD`` (renamed files too), or in the branch that is being
    merged."""
    there = [
        c for c in changes if c.old.strip(_NONE) and (c.path in paths or not c.mode.strip(_NONE))
    ]
    names = [c.old for c in there] + [f"MERGE_HEAD:{path}" for path in paths if "\n" not in path]
    contents = _blobs(names, repository).values()
    return frozenset(line.rstrip() for data in contents for line in as_utf8(data).split(b"\n"))


def _secret_names(paths: Sequence[str], known: tuple[str, ...]) -> Iterator[str]:
    encoded = [path.encode("utf-8", "surrogateescape") for path in paths]
    if find.find_secrets(b"\n".join(encoded)) or find.find_known_secrets(
        b"\n".join(encoded), known
    ):
        for path in encoded:
            hidden = redact.redact_unmarked(path, known)
            if hidden != path:
                yield f"the file name {hidden.decode('utf-8', 'surrogateescape')}"


def _leak_lines(leaks: Iterable[_Leak]) -> Iterator[str]:
    for text, found in leaks:
        at = f"{text.path}, line {found.line}" if found.line else text.path
        yield f"{at}: {found.kind}"


def _verdict(problems: list[str], notes: list[str]) -> CommitCheck:
    if not problems:
        return CommitCheck(notes=tuple(notes))
    rest = more(len(problems), SHOWN)
    them, it = (
        ("it", "it is none, end its line")
        if len(problems) == 1
        else ("them", "one is none, end its line")
    )
    refusal = SecretsStaged(
        "what would be committed holds what looks like "
        + ("a secret" if len(problems) == 1 else f"{len(problems)} secrets"),
        hint=f"take {them} out and stage the files again; if {it} with the comment # loragit: no "
        "secret",
        findings=tuple(
            Finding(line, None, Area.SECRETS) for line in (*problems[:SHOWN], *filter(None, [rest]))
        ),
    )
    return CommitCheck((refusal,), tuple(notes))
