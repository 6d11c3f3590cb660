"""Signed tags, made by the user's own git: gpg, ssh and x509 keys, agents and all of ``gpg.*`` are
its business.

git signs only while it makes a tag, and moves the tag's ref without compare-and-swap. So it makes
the tag in a scratch repository that has nothing but this one's configuration, and writes the object
into this one's store: what comes out is an object that no ref names yet, as of every other step.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from loragit.errors import LoragitError
from loragit.git import command
from loragit.git.repository import Repository
from loragit.record.values import Identity
from loragit.system import child

TIMEOUT = 60.0
"""Seconds that a signature may take. A key that asks for a passphrase waits for ever where nobody
is there."""


class CannotSign(LoragitError):
    """git could not sign, or did not in time."""


def wanted(choice: bool | None, repository: Repository) -> bool:
    """Whether sealed tags are to be signed: as ``choice`` says, ``None`` for what git's
    ``tag.gpgSign`` says."""
    if choice is not None:
        return choice
    reply = command.call("config", "--type=bool", "--get", "tag.gpgSign", cwd=repository.top)
    return reply.out.strip() == b"true"


def signed_tag(
    repository: Repository, name: str, commit: str, message: str, tagger: Identity
) -> str:
    """Id of a signed tag object in the repository's store. ``name`` is without ``refs/tags/``.

    The signing program gets no terminal, so that it fails instead of waiting for somebody. Raises
    :class:`CannotSign`.
    """
    try:
        return _signed_in_scratch(repository, name, commit, message, tagger)
    except OSError as error:  # the disk of temporary files is full, and the repository's may not be
        raise CannotSign(
            f"the tag could not be signed in a folder for temporary files: {error.strerror}",
            hint="make room there, or name another in TMPDIR",
        ) from error


def _signed_in_scratch(
    repository: Repository, name: str, commit: str, message: str, tagger: Identity
) -> str:
    """As :func:`signed_tag`. Raises OSError besides."""
    with tempfile.TemporaryDirectory(prefix="loragit-") as scratch:
        folder = Path(scratch)
        _make_repository(folder, repository)
        variables = _variables(scratch, repository, tagger)
        argv = [
            "git",
            *command.DURABLE,
            "tag",
            "--sign",
            "--no-column",
            "--cleanup=verbatim",
            "--file=-",
            name,
            commit,
        ]
        question = child.ask(
            argv,
            cwd=repository.top,
            env={**os.environ, **variables},
            input=message.encode(),
            detached=True,
        )
        try:
            answer = question.answer(TIMEOUT)
        except child.TimedOut as error:
            raise CannotSign(
                f"signing the tag took longer than {TIMEOUT:g} s", hint=_HINT
            ) from error
        tag = (
            (folder / "refs/tags" / name).read_text("ascii").strip() if answer.status == 0 else None
        )
        if tag is None or not _is_signed(tag, repository):
            said = " ".join(answer.err.decode("utf-8", "replace").split())
            raise CannotSign(f"the tag could not be signed: {said[:300]}", hint=_HINT)
        return tag


def _variables(scratch: str, repository: Repository, tagger: Identity) -> dict[str, str]:
    """Return what makes git write a tag of ``tagger`` in ``scratch``, and its object into the
    repository's store."""
    objects = command.run(
        "rev-parse", "--path-format=absolute", "--git-path", "objects", cwd=repository.top
    )
    sign = "-" if tagger.offset < 0 else "+"
    hours, minutes = divmod(abs(tagger.offset), 60)
    return {
        "GIT_DIR": scratch,
        "GIT_OBJECT_DIRECTORY": objects,
        "GIT_COMMITTER_NAME": tagger.name,
        "GIT_COMMITTER_EMAIL": tagger.email,
        "GIT_COMMITTER_DATE": f"@{tagger.time} {sign}{hours:02}{minutes:02}",
        "LC_ALL": "C",
        "TMPDIR": scratch,  # git leaves its draft behind where the signing program fails
    }


def _is_signed(tag: str, repository: Repository) -> bool:
    """Whether the tag object has a signature: where ssh-keygen fails, git 2.39 says so, makes a tag
    without one, and exits with 0."""
    return b"\n-----BEGIN " in command.call("cat-file", "tag", tag, cwd=repository.top).out


_HINT = (
    "see that git can sign: git tag -s -m test TEST; a key with a passphrase has to be in an "
    "agent (ssh-add); "
    "or leave it: record.sign = false"
)


def _make_repository(folder: Path, repository: Repository) -> None:
    """The least that git takes for a repository; it reads the configuration of the real one."""
    for name in ("objects", "refs/tags"):
        (folder / name).mkdir(parents=True)
    (folder / "HEAD").write_text("ref: refs/heads/none\n", "ascii")
    own = [repository.common_dir / "config", repository.git_dir / "config.worktree"]
    included = "".join(f"\tpath = {_quoted(path)}\n" for path in own)
    text = (
        "[core]\n\trepositoryformatversion = 0\n\tbare = "
        f"true\n[include]\n{included}[core]\n\tbare = true\n"
    )
    (folder / "config").write_text(text, "utf-8", "surrogateescape")


def _quoted(path: Path) -> str:
    """As a value of git's configuration."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'
