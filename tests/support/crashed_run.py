"""A run as a loragit that was killed has left it."""

from __future__ import annotations

import os
from pathlib import Path

from loragit.record.values import Entry, Opened
from loragit.run import ending, output
from loragit.store import journal
from loragit.store.journal import JournalEntry, Work
from loragit.store.store import Store
from loragit.system.alive import boot_id
from tests.support import trainer_files
from tests.support.made_up_runs import NAME, a_run, open_store
from tests.support.processes import git

GONE = 2**22 + 1
"""A number that no process has."""
COPIES = (
    Entry("config.toml", b"a = 1\n"),
    Entry("sample-prompts.txt", b"a red thing\n"),
    Entry("repos.git", b""),
)


class Crashed:
    """A run as a loragit that was killed has left it."""

    def __init__(self, dataset: Path, name: str = NAME, **changes: object) -> None:
        self.dataset = dataset
        self.store: Store = open_store(dataset)
        self.folder = Path(os.environ["HOME"], "output_dir", name)
        self.note = JournalEntry(
            run=name,
            started="2026-11-23T17:20:30Z",
            pid=GONE,
            pid_started="1",
            boot=boot_id() or "",
            host=journal.host(),
            output=str(self.folder),
            work=Work(
                files=tuple(output.digests(COPIES).items()),
                output_name=name,
                prompts="sample-prompts.txt",
                log_folder="",
                log_prefix="",
                log_before=(),
                on_empty="revert",
                sign=None,
                home=os.environ["HOME"],
            ),
        )._replace(**changes)  # type: ignore[arg-type]

    @property
    def private(self) -> Path:
        return self.store.repository.private

    def folder_made(self) -> Crashed:
        made = output.make(self.folder, COPIES, ending.LOG)
        self.note = self.note._replace(inode=made.inode)
        return self

    def opened(self) -> Opened:
        head = git(self.dataset, "rev-parse", "HEAD")
        opened = self.store.open(a_run(name=self.note.run, dataset_commit=head))
        self.noted(commit=opened.commit)
        return opened

    def noted(self, **changes: object) -> Crashed:
        self.note = self.note._replace(**changes)  # type: ignore[arg-type]
        journal.write(self.private, self.note)
        return self

    def model(self) -> None:
        path = self.folder / f"{self.note.run}.safetensors"
        trainer_files.write_safetensors(path, {"lora.weight": b"\x01" * 64}, {"ss_steps": "4"})

    def log(self, *lines: str) -> None:
        (self.folder / ending.LOG).write_text("".join(f"{line}\n" for line in lines))
