"""The user's consent to what a dataset's own files start and read: a cloned dataset was written by
somebody else.

The user is not asked if nothing came into the repository from elsewhere. Consent is stored in the
user's own folder under a digest of what it covers, so another launcher asks again, and another
learning rate does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from loragit import git, text
from loragit.errors import Area, Finding, Findings, LoragitError, shell_word
from loragit.run.preflight import needs_trust
from loragit.run.preflight.needs_trust import RiskyValue, named_contents
from loragit.settings.document import SettingsDocument, read_settings_file
from loragit.settings.schema import FILE
from loragit.settings.toml_text import toml_literal
from loragit.settings.values import Settings
from loragit.system import durable

_VERSION = 1
_NAMED = 3
"""Values named in a refusal; the rest are counted."""


class Untrusted(LoragitError):
    """The dataset's own files require consent that nobody has given yet."""


class Subject(NamedTuple):
    """What the user's consent covers; often nothing."""

    folder: Path
    """The dataset's folder."""
    values: tuple[RiskyValue, ...]
    contents: tuple[tuple[str, str], ...] = ()
    """(path as written, hash) of each program among the values that is part of the dataset."""

    @property
    def digest(self) -> str:
        """Digest of the values, of the programs among them that are part of the dataset, and of the
        folder."""
        covered = [
            _VERSION,
            os.path.realpath(self.folder),
            [value[:3] for value in self.values],
            self.contents,
        ]
        return hashlib.sha256(json.dumps(covered).encode("utf-8", "surrogateescape")).hexdigest()


Agree = Callable[[Subject, str], bool]
"""Asks the user, given the subject and how others' commits came here. Returns the answer."""


def require_consent(subject: Subject, agree: Agree | None, findings: Findings) -> bool:
    """Whether the values may be used; if not, a finding says why. Consent given is stored.

    ``agree`` is called if nobody has agreed yet; it is ``None`` if there is nobody to ask.
    """
    if not subject.values or is_agreed(subject):
        return True
    origin = foreign_origin(subject.folder)
    if origin is None:
        return True
    if agree is not None and agree(subject, origin):
        store_consent(subject)
        return True
    findings.add(*_refusal(subject))
    return False


def _refusal(subject: Subject) -> Finding:
    """Return the finding for missing consent."""
    shown = "; ".join(value.to_show for value in subject.values[:_NAMED])
    rest = text.more(len(subject.values), _NAMED)
    more = f"; {rest}" if rest else ""
    return Finding(
        f"these come from the dataset, and nobody has agreed to them here: {shown}{more}",
        f"read {subject.folder / FILE}, then agree: --trust, or loragit trust --dataset "
        f"{shell_word(subject.folder)}",
        Area.SETTINGS,
    )


# ---- what needs consent ----


def subject_of_settings(chosen: Settings) -> Subject:
    """Return what the dataset's ``loragit.toml`` sets, for all models, if any of it takes effect
    here.

    Empty if every such value is set by flags, by variables or by the user's own settings.
    """
    if chosen.written is None:
        return Subject(chosen.dataset_dir, ())
    ours = {origin.key for origin in chosen.from_dataset}
    found = subject_of_document(chosen.dataset_dir, chosen.written, chosen.trainer.repo)
    return (
        found
        if any(value.setting in ours for value in found.values)
        else Subject(chosen.dataset_dir, ())
    )


def subject_of_document(
    folder: Path, document: SettingsDocument, trainer: Path | None = None
) -> Subject:
    """Return what a ``loragit.toml`` in ``folder`` sets. ``trainer``, if known, is the folder that
    paths in arguments are relative to."""
    found = needs_trust.risky_values(document)
    contents = named_contents(folder, work_tree_top(folder), document, found, trainer)
    return Subject(folder, found, tuple(contents) if found else ())


def subject_of_inputs(
    folder: Path, config: Path, named: Iterable[Path], folders: Iterable[Path], read: Iterable[Path]
) -> Subject:
    """Return files and folders outside the dataset's repository that its own files lead to and that
    would be recorded.

    ``named`` and ``folders`` come from the dataset config ``config``; they count if that is the
    dataset's own. Inside the dataset, ``read`` and the files of ``folders`` count if they are links
    that lead outside.
    """
    top = work_tree_top(folder)
    inside = Path(os.path.realpath(config)).is_relative_to(top)
    found: dict[str, None] = {}
    for path in (*named, *folders) if inside else ():
        if not Path(os.path.realpath(path)).is_relative_to(top):
            found[str(path)] = None
    for path in read:
        # Test the path as written: the folder it appears to lie in may itself be such a link.
        lies = path.parent.resolve().is_relative_to(top) or any(
            map(path.is_relative_to, (folder, top))
        )
        if lies and not Path(os.path.realpath(path)).is_relative_to(top):
            found[str(path)] = None
    for each in folders:
        if Path(os.path.realpath(each)).is_relative_to(top):
            found |= dict.fromkeys(_links_leading_out(each, top))
    about = "goes on record, as names and hashes, captions or whole"
    name = (
        config.name
        if re.fullmatch(r"[\w.-]+", config.name, re.ASCII)
        else toml_literal(config.name)
    )
    return Subject(
        folder, tuple(RiskyValue(name, "", toml_literal(path), about) for path in sorted(found))
    )


def _links_leading_out(folder: Path, top: Path) -> Iterator[str]:
    """Yield the links in ``folder`` that lead out of ``top``."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(top):
                yield entry.path


# ---- where a dataset came from ----


def foreign_origin(folder: Path) -> str | None:
    """Describe how others' commits may have come into the repository of ``folder``; ``None`` if
    they cannot have.

    Only files are examined. A folder in no repository counts as the user's own, since nothing came
    by git. A repository that git does not work in counts as foreign.
    """
    if git.is_bare(folder):
        return "it is a repository without a work tree"
    top = _top_of_git(folder)
    if top is None:
        return None
    try:
        git_dir, common = _git_dirs(top / ".git")
        return next(_signs_of_others(git_dir, common), None)
    except (OSError, ValueError):
        return f"{top / '.git'} cannot be read"


def _signs_of_others(git_dir: Path, common: Path) -> Iterator[str]:
    config = _file_bytes(common / "config")
    if re.search(rb"^\s*\[\s*remote\b", config, re.IGNORECASE | re.MULTILINE):
        url = re.search(rb"^\s*url\s*=\s*(\S+)", config, re.IGNORECASE | re.MULTILINE)
        yield f"its repository has a remote{': ' + _shown_url(url[1]) if url else ''}"
    if b"\tclone: from " in _file_bytes(common / "logs" / "HEAD").partition(b"\n")[0]:
        yield "its repository was cloned"
    if any(
        os.path.exists(each / "FETCH_HEAD")
        for each in (git_dir, common, *common.glob("worktrees/*"))
    ):
        yield "something was fetched into its repository"
    remotes = common / "refs" / "remotes"
    if (remotes.is_dir() and any(remotes.iterdir())) or b" refs/remotes/" in _file_bytes(
        common / "packed-refs"
    ):
        yield "its repository has branches of a remote"


def _shown_url(written: bytes) -> str:
    return text.without_credentials(written.decode("utf-8", "replace"))


def _git_dirs(dot_git: Path) -> tuple[Path, Path]:
    """Return git's folder for a work tree, and the one shared by all work trees of the
    repository."""
    git_dir = dot_git
    if dot_git.is_file():
        said = dot_git.read_bytes()
        if not said.startswith(b"gitdir:"):
            raise ValueError(".git is no gitfile")
        git_dir = dot_git.parent / os.fsdecode(said.removeprefix(b"gitdir:").strip())
    common = _file_bytes(git_dir / "commondir").strip()
    return git_dir, git_dir / os.fsdecode(common) if common else git_dir


def _file_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _top_of_git(folder: Path) -> Path | None:
    here = Path(os.path.realpath(folder))
    return next((each for each in (here, *here.parents) if os.path.lexists(each / ".git")), None)


def work_tree_top(folder: Path) -> Path:
    """Return the top of the work tree, links resolved; the folder itself if there is none."""
    return _top_of_git(folder) or Path(os.path.realpath(folder))


# ---- stored consent ----


def consent_folder() -> Path:
    """Return the folder of stored consents: one file each, named by the digest of what it
    covers."""
    import platformdirs

    return platformdirs.user_state_path("loragit") / "trust"


def is_agreed(subject: Subject) -> bool:
    """Whether consent was given on this machine before."""
    return (consent_folder() / subject.digest).is_file()


def store_consent(subject: Subject) -> bool:
    """Store the consent. Return ``False`` if it cannot be written; it then holds for this run
    only."""
    lines = [
        "# Agreed to on this machine; see loragit trust. Delete this file to be asked again.",
        f"dataset = {toml_literal(os.path.realpath(subject.folder))}",
        f"agreed = {toml_literal(text.timestamp(datetime.now(UTC)))}",
        f"claims = [{', '.join(toml_literal(value.redacted) for value in subject.values)}]",
    ]
    place = consent_folder() / subject.digest
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.write(place, "".join(f"{line}\n" for line in lines).encode())
    except OSError:
        return False
    return True


def subject_of_file(folder: Path) -> Subject:
    """Return what the ``loragit.toml`` in ``folder`` sets now. Raises :class:`LoragitError`."""

    return subject_of_document(folder, read_settings_file(folder / FILE))
