"""What the record of a run holds, read from its repository when it is asked for: one git for all questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loragit import git, text
from loragit.catfile import Reader
from loragit.git import GitFailed, Repository, TreeItem
from loragit.history.runs import NoSuchFile, RecordedRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loragit.record import DatasetFile
    from loragit.recorded import Record, RecordedOutcome

NOTES = "refs/notes/commits"
_MOST_FILE = 1 << 28
"""Bytes of a record's file that are read on demand: captions, configs and lists of hashes stay far below."""
_MOST_TAGS = 1 << 26
"""Bytes of tags that are held; 10,000 runs have a tenth of it."""


class Contents:
    """The objects of one repository that records are made of. Reads only; closed when nobody holds it any more."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.tags: tuple[str, ...] = ()
        """Tag objects that are likely to be asked for together."""
        self._reader = Reader(repository.top)
        self._messages: dict[str, str] = {}
        self._noted: dict[str, str] | None = None
        self._records: dict[str, Record] = {}

    def close(self) -> None:
        """End the git that answers; a later question starts another."""
        self._reader.close()

    def __del__(self) -> None:
        self._reader.close()

    def revision(self, run: RecordedRun, path: str = "") -> str:
        """``path`` of the run's record, as git names it: ``COMMIT:FOLDER/PATH``."""
        place = run.path
        # The trailer has the folder's name on one line; the folder that was asked about is known better.
        if place == text.dataset_path(self.repository.prefix):
            place = self.repository.prefix
        return f"{run.commit}:{'/'.join(part for part in (place, path) if part)}"

    def outcome(self, tag: str, name: str) -> RecordedOutcome:
        """What the tag object ``tag`` says came out. Raises :class:`GitFailed` where it cannot be read."""
        from loragit.recorded import read_outcome

        if tag not in self._messages:
            self._read_messages(tag)
        return read_outcome(self._messages[tag], name)

    def _read_messages(self, wanted: str) -> None:
        """Read the tag ``wanted``, and with the second question all others too: who asks twice asks for all."""
        others = [tag for tag in self.tags if tag != wanted and tag not in self._messages] if self._messages else []
        total = 0
        for tag, found in zip((wanted, *others), self._reader.read_all((wanted, *others)), strict=True):
            if found is not None and found.data is not None:
                self._messages[tag] = tag_message(found.data)
                total += found.size
            if total > _MOST_TAGS:
                break
        if wanted not in self._messages:
            raise GitFailed(f"the tag object {wanted} cannot be read", hint="git fsck tells more")

    def notes(self, commit: str) -> tuple[str, ...]:
        """Lines of the note on ``commit`` that hold something."""
        if self._noted is None:
            self._noted = dict(self._read_notes())
        blob = self._noted.get(commit)
        found = self._reader.read(blob) if blob else None
        data = found.data if found else None
        return tuple(line for line in (data or b"").decode("utf-8", "replace").splitlines() if line.strip())

    def _read_notes(self) -> Iterator[tuple[str, str]]:
        """(commit, blob): git spreads notes over folders of two hex digits when there are many."""
        reply = git.call("ls-tree", "-r", "-z", NOTES, cwd=self.repository.top)
        for row in reply.out.decode("utf-8", "replace").split("\0") if reply.status == 0 else ():
            about, tab, path = row.partition("\t")
            if tab:
                yield path.replace("/", ""), about.split(" ")[2]

    def record(self, run: RecordedRun) -> Record:
        """``run.toml``. Raises :class:`~loragit.recorded.CannotReadRecord`."""
        if run.commit not in self._records:
            from loragit.recorded import CannotReadRecord, read_record

            found = self._reader.read(self.revision(run, "run.toml"))
            if found is None or found.data is None:
                why = "is missing" if found is None else f"is {found.size} bytes long"
                raise CannotReadRecord(f"run.toml of {run.name} {why}", hint=f"see: git show --stat {run.commit[:8]}")
            self._records[run.commit] = read_record(found.data, run.name)
        return self._records[run.commit]

    def tree(self, run: RecordedRun) -> dict[str, TreeItem]:
        """Files and folders of the run's record, by path."""
        question = git.start("ls-tree", "-r", "-t", "-z", self.revision(run), cwd=self.repository.top)
        return git.read_tree(question)

    def read(self, run: RecordedRun, path: str, most: int = _MOST_FILE) -> bytes:
        """The file at ``path`` of the run's record. Raises :class:`NoSuchFile`."""
        clean = path.removeprefix("./")
        found = self._reader.read(self.revision(run, clean), most) if clean else None
        if found is None or found.kind != "blob":
            raise NoSuchFile(
                f"the record of {run.name} holds no file {path}", hint=f"see what it holds: loragit show {run.name}"
            )
        if found.data is None:
            raise NoSuchFile(
                f"{path} of {run.name} is {found.size} bytes long, too much to read at once",
                hint=f"git -C {self.repository.top} show {self.revision(run, clean)}",
            )
        return found.data

    def dataset_files(self, run: RecordedRun) -> tuple[DatasetFile, ...]:
        """``dataset.sha256``. Raises :class:`NoSuchFile`, :class:`~loragit.fingerprint.BadDigests`."""
        from loragit.fingerprint import parse_digest_lines

        return parse_digest_lines(self.read(run, "dataset.sha256"))


def tag_message(data: bytes) -> str:
    """The message of a tag object, with what signs it."""
    return data.partition(b"\n\n")[2].decode("utf-8", "replace")


def folder_of(path: str | Path) -> Path:
    """``path`` in full; what is relative counts from the current folder."""
    return Path(path).expanduser().absolute()
