"""Reads the files, outcomes and notes of runs from their repository, through one git child.

What the bytes mean is ``record_parser``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loragit import git
from loragit.errors import LoragitError, shell_word
from loragit.git.catfile import Reader
from loragit.git.command import PARTIAL_CLONE, GitFailed
from loragit.git.repository import Repository, TreeItem
from loragit.history.cache import HistoryCache
from loragit.history.runs import NoSuchFile, RecordedRun
from loragit.record import message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from loragit.history.record_parser import Record, RecordedOutcome
    from loragit.record.values import DatasetFile

NOTES = "refs/notes/commits"
_MOST_FILE = 1 << 28
"""Bytes of a file of a record that are read at most: captions, configs and lists of hashes are far
smaller."""
_MOST_PATHS = 500_000
_OWN_FOLDERS = ("captions", "inputs", "patches")
"""Folders that belong to a record even if a ``run.toml`` lies in them."""
_MOST_TAGS = 1 << 26
"""Bytes of tags that are kept in memory; 10,000 runs have a tenth of that."""


class RecordReader:
    """Reads the objects that the records of one repository consist of. Its git child ends with
    it."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.tags: tuple[str, ...] = ()
        """Tag objects that are likely to be read together."""
        self._cache: HistoryCache | None = None
        self._reader = Reader(repository.top)
        self._messages: dict[str, str] = {}
        self._noted: dict[str, str] | None = None
        self._records: dict[str, Record] = {}

    @property
    def cache(self) -> HistoryCache:
        """What was read before, loaded when it is first needed."""
        if self._cache is None:
            self._cache = HistoryCache(self.repository.common_dir)
        return self._cache

    def close(self) -> None:
        """End the git child; a later read starts another."""
        self._reader.close()

    def __del__(self) -> None:
        self._reader.close()

    @property
    def _partial(self) -> bool:
        """Whether what is missing may be missing by design."""
        return git.is_partial(self.repository.common_dir)

    def revision(self, run: RecordedRun, path: str = "") -> str:
        """Return git's name of ``path`` in the run's record: ``COMMIT:FOLDER/PATH``."""
        place = run.path
        # The trailer holds the folder's name with line ends and control characters replaced; for
        # the current folder the true name is known.
        if place == message.dataset_path(self.repository.prefix):
            place = self.repository.prefix
        return f"{run.commit}:{'/'.join(part for part in (place, path) if part)}"

    def outcome(self, tag: str, name: str) -> RecordedOutcome:
        """Return the outcome that the tag object ``tag`` holds. Raises :class:`GitFailed` if it
        cannot be read."""

        from loragit.history.record_parser import parse_outcome

        if tag not in self._messages:
            self._read_messages(tag)
        return parse_outcome(self._messages[tag], name)

    def _read_messages(self, wanted: str) -> None:
        """Read the tag ``wanted``; from the second call on also all of :attr:`tags`, since whoever
        reads two goes through them all."""
        others = (
            [tag for tag in self.tags if tag != wanted and tag not in self._messages]
            if self._messages
            else []
        )
        total = 0
        for tag, found in zip(
            (wanted, *others), self._reader.read_all((wanted, *others)), strict=True
        ):
            if found is not None and found.data is not None:
                self._messages[tag] = tag_message(found.data)
                total += found.size
            if total > _MOST_TAGS:
                break
        if wanted not in self._messages:
            hint = PARTIAL_CLONE if self._partial else "git fsck tells more"
            raise GitFailed(f"the tag object {wanted} cannot be read", hint=hint)

    def notes(self, commit: str) -> tuple[str, ...]:
        """Return the lines of the note on ``commit`` that are not blank."""
        if self._noted is None:
            self._noted = dict(self._read_notes())
        blob = self._noted.get(commit)
        found = self._reader.read(blob) if blob else None
        data = found.data if found else None
        return tuple(
            line for line in (data or b"").decode("utf-8", "replace").splitlines() if line.strip()
        )

    def _read_notes(self) -> Iterator[tuple[str, str]]:
        """Yield (commit, blob). With many notes git spreads them over folders of two hex digits:
        ``ab/cdef...`` stands for ``abcdef...``."""
        reply = git.call("ls-tree", "-r", "-z", NOTES, cwd=self.repository.top)
        for row in reply.out.decode("utf-8", "replace").split("\0") if reply.status == 0 else ():
            about, tab, path = row.partition("\t")
            if tab:
                yield path.replace("/", ""), about.split(" ")[2]

    def record(self, run: RecordedRun) -> Record:
        """Return the parsed ``run.toml``, read only once. Raises
        :class:`~loragit.history.CannotReadRecord`."""
        if run.commit not in self._records:
            self._records[run.commit] = self.read_record(run)
        return self._records[run.commit]

    def read_record(self, run: RecordedRun) -> Record:
        """Return the same without keeping it in memory, for callers that go through thousands."""
        from loragit.history.record_parser import CannotReadRecord, parse_record

        found = self._reader.read(self.revision(run, "run.toml"))
        if found is None or found.data is None:
            why = "is missing" if found is None else f"is {found.size} bytes long"
            hint = f"see: git show --stat {run.commit[:8]}"
            if found is None and self._partial:
                why, hint = "is not here", PARTIAL_CLONE
            raise CannotReadRecord(f"run.toml of {run.name} {why}", hint=hint)
        return parse_record(found.data, run.name)

    def tree(self, run: RecordedRun) -> dict[str, TreeItem]:
        """Return files and folders of the run's record by path, without those of another dataset in
        a subfolder of this one.

        Raises :class:`TooManyFiles`.
        """
        return self.with_subfolders(run, self.top_entries(run))

    def top_entries(self, run: RecordedRun) -> dict[str, TreeItem]:
        """Return what lies directly in the run's record, by name."""
        return self._tree_entries(self.revision(run))

    def with_subfolders(self, run: RecordedRun, items: dict[str, TreeItem]) -> dict[str, TreeItem]:
        """Return ``items`` of the run's record with all that lies in them. Raises
        :class:`TooManyFiles`."""
        found: dict[str, TreeItem] = {}
        for name, item in items.items():
            inside = dict(self._walk(run, name, item)) if item.folder else {}
            # A record in a subfolder is that of another dataset.
            if name in _OWN_FOLDERS or not any(path.endswith("/run.toml") for path in inside):
                found |= {name: item, **inside}
            if len(found) > _MOST_PATHS:
                raise _too_many_files(run)
        return found

    def _walk(
        self, run: RecordedRun, folder: str, item: TreeItem
    ) -> Iterator[tuple[str, TreeItem]]:
        """Yield all that lies in ``folder``, up to a limit: 40 forged trees, each of which holds
        the next one twice, stand for 2**40 paths."""
        waiting = [(folder, item)]
        seen = 0
        while waiting:
            path, tree = waiting.pop()
            for name, below in self._tree_entries(tree.id).items():
                seen += 1
                if seen > _MOST_PATHS:
                    raise _too_many_files(run)
                yield f"{path}/{name}", below
                if below.folder:
                    waiting.append((f"{path}/{name}", below))

    def _tree_entries(self, tree: str) -> dict[str, TreeItem]:
        """Return what lies directly in the tree that ``tree`` names; nothing if there is no such
        tree."""
        found = self._reader.read(tree, _MOST_FILE)
        if found is not None and found.kind == "commit":
            found = self._reader.read(f"{found.id}^{{tree}}", _MOST_FILE)
        if found is None or found.data is None or found.kind != "tree":
            return {}
        return dict(_parse_tree(found.data, len(found.id) // 2))

    def read(self, run: RecordedRun, path: str) -> bytes:
        """Return the file at ``path`` of the run's record. Raises :class:`NoSuchFile`."""
        clean = path.removeprefix("./")
        found = self._reader.read(self.revision(run, clean), _MOST_FILE) if clean else None
        if found is None and self._partial and clean in self.tree(run):
            raise NoSuchFile(f"{path} of {run.name} is not here", hint=PARTIAL_CLONE)
        if found is None or found.kind != "blob":
            raise NoSuchFile(
                f"the record of {run.name} holds no file {path}",
                hint=f"see what it holds: loragit show {shell_word(run.name)}",
            )
        if found.data is None:
            raise NoSuchFile(
                f"{path} of {run.name} is {found.size} bytes long, too much to read at once",
                hint=f"git -C {shell_word(self.repository.top)} show "
                f"{shell_word(self.revision(run, clean))}",
            )
        return found.data

    def read_blobs(self, ids: Iterable[str], most: int = _MOST_FILE) -> Iterator[bytes | None]:
        """Yield the bytes of each of ``ids``, in their order; ``None`` for one that is missing or
        longer than ``most``."""
        for found in self._reader.read_all(ids, most):
            yield found.data if found is not None and found.kind == "blob" else None

    def dataset_files(self, run: RecordedRun) -> tuple[DatasetFile, ...]:
        """``dataset.sha256``. Raises :class:`NoSuchFile`,
        :class:`~loragit.dataset.digests.BadDigests`."""

        from loragit.dataset.digests import parse_digest_lines  # `log` does without

        return parse_digest_lines(self.read(run, "dataset.sha256"))


class TooManyFiles(LoragitError):
    """The record holds more paths than any dataset has files."""


def _too_many_files(run: RecordedRun) -> TooManyFiles:
    return TooManyFiles(
        f"the record of {run.name} holds more than {_MOST_PATHS:,} files",
        hint=f"see: git show {run.commit[:8]}:",
    )


def _parse_tree(data: bytes, length: int) -> Iterator[tuple[str, TreeItem]]:
    """Yield the entries of a tree object, whose ids have ``length`` bytes.

    An entry is mode, blank, name, NUL, id, as in ``100644 run.toml\\0`` and 20 bytes.
    """
    at = 0
    while at < len(data):
        end = data.find(b"\0", at)
        if end < 0 or end + length >= len(data):
            raise GitFailed("a tree of the record is damaged", hint="git fsck tells more")
        mode, _, name = data[at:end].partition(b" ")
        at = end + 1 + length
        yield (
            name.decode("utf-8", "surrogateescape"),
            TreeItem(mode == b"40000", data[end + 1 : at].hex()),
        )


def tag_message(data: bytes) -> str:
    """Return the message of a tag object, with its signature."""
    return data.partition(b"\n\n")[2].decode("utf-8", "replace")


def absolute_folder(path: str | Path) -> Path:
    """Return ``path`` as an absolute path; a relative one counts from the current folder."""
    return Path(path).expanduser().absolute()
