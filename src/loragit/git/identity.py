"""The user's identity, as configured in git."""

from __future__ import annotations

import re
from pathlib import Path

from loragit.errors import LoragitError
from loragit.git import command
from loragit.record.values import Identity


class IdentityMissing(LoragitError):
    """git does not know who the user is."""


class IdentityQuestion:
    """Author and committer, both queried at once."""

    def __init__(self, cwd: Path) -> None:
        self._author = command.start("var", "GIT_AUTHOR_IDENT", cwd=cwd)
        self._committer = command.start("var", "GIT_COMMITTER_IDENT", cwd=cwd)

    def answer(self) -> tuple[Identity, Identity]:
        """Return author and committer. Raises :class:`IdentityMissing`."""
        author, committer = self._author.reply(), self._committer.reply()
        for reply in (author, committer):
            # libgit2 accepts neither an empty name nor an empty address.
            if reply.status != 0 or re.match(rb" <|.*<>", reply.out):
                raise IdentityMissing(
                    "git does not know who you are",
                    hint='git config --global user.name "Your Name" && git config --global '
                    "user.email you@example.org",
                )
        return _identity(author), _identity(committer)


def _identity(reply: command.Reply) -> Identity:
    text = reply.out.decode("utf-8", "replace").strip()
    match = re.fullmatch(r"(.*) <(.*)> (\d+) ([+-])(\d\d)(\d\d)", text)
    if match is None:
        raise command.GitFailed(f"git var answered {text!r}")
    minutes = int(match[5]) * 60 + int(match[6])
    return Identity(match[1], match[2], int(match[3]), -minutes if match[4] == "-" else minutes)
