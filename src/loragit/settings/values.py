"""The settings of a run, merged and checked: values that :mod:`loragit.settings.load` returns."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from loragit.settings.document import SettingsDocument
from loragit.settings.schema import FILE
from loragit.settings.toml_text import ArgValue

AND_FLAG = " and --repo"
"""What the source of ``record.repos`` ends with where a flag added to it."""


class Flags(NamedTuple):
    """What the command line says about settings; ``None`` or ``False`` if it says nothing."""

    dataset: str | None = None
    """A path, or the name of a folder under ``paths.datasets``."""
    steps: int | None = None
    output: str | None = None
    """The run's output folder itself."""
    allow_dirty: bool = False
    allow_secrets: bool = False
    trainer_script: str | None = None
    """Relative to the current folder."""
    on_empty: str | None = None
    debug: bool = False
    repos: tuple[str, ...] = ()
    """Further repositories to record, beside those of ``record.repos``; relative to the current
    folder."""


class SettingOrigin(NamedTuple):
    """Where a value that counts came from."""

    key: str
    """As in ``loragit.toml``: ``trainer.repo``, ``trainer.args.seed``; also ``dataset_dir``,
    ``output_dir``, ``steps`` and ``debug``, which no file can set."""
    value: str
    """As TOML on one line; ``"***"`` if an argument's name says that it is a secret, ``""`` for
    none."""
    source: str
    """``default``, ``name``, ``current folder``, a variable, a flag, or the absolute path of a
    file."""


class TrainerSettings(NamedTuple):
    """The trainer and how it is started."""

    kind: str
    repo: Path
    script: str
    """Absolute, or relative to ``repo``."""
    python: str | None
    """An absolute path (it holds a ``/``) or a command; ``None`` if ``env`` or neither is given."""
    env: str | None
    """``conda:NAME``, ``conda:/prefix``, ``venv:/path`` or the absolute path of a Python."""
    launcher: tuple[str, ...]
    """The words before the Python; empty without a launcher."""
    workdir: str
    """``trainer`` (its repository) or ``dataset``."""
    lycoris_repo: Path | None
    stop_timeout: float
    """Seconds from SIGINT to SIGTERM, and from there to SIGKILL."""
    args: tuple[tuple[str, ArgValue], ...]
    """Arguments without their ``--``, in the order in which they were first given. ``True`` makes a
    flag, ``False`` no argument at all, a tuple one argument with several values. May hold
    secrets."""

    def __repr__(self) -> str:
        """Without ``args``: a traceback must not show a secret."""
        return (
            f"Trainer({self.kind!r}, {str(self.repo)!r}, {self.script!r}, args of {len(self.args)})"
        )


class PathSettings(NamedTuple):
    """Folders and files, all absolute; none of them has to exist."""

    datasets: Path
    """Holds the folders of datasets. A dataset's own file cannot set it: it is found by it."""
    output: Path
    """Holds the output folders of runs."""
    config: Path
    prompts: Path | None


class RecordSettings(NamedTuple):
    """What is recorded, and what happens to a run that made nothing."""

    on_empty: str
    """``revert``, ``delete-tag`` or ``keep``."""
    allow_dirty: bool
    allow_secrets: bool
    """Record ``***`` for secrets in files instead of refusing."""
    inputs: tuple[Path, ...]
    """Further files to record, absolute."""
    repos: tuple[Path, ...]
    """Further repositories to record, absolute."""
    sign: bool | None = None
    """Whether sealed tags are signed; ``None`` leaves that to git's ``tag.gpgSign``."""
    enclosing: bool = False
    """Whether the repository around the dataset is meant, although it ignores the dataset, or holds
    the trainer or the home folder."""


class Settings(NamedTuple):
    """Everything that is decided before a run begins."""

    trainer: TrainerSettings
    paths: PathSettings
    record: RecordSettings
    debug: bool
    origins: tuple[SettingOrigin, ...]
    """One for each value, in the order in which they are shown."""
    dataset_dir: Path
    """The dataset's folder, which exists; absolute, through the symbolic links that the user
    took."""
    dataset: str
    """Its name."""
    output_dir: Path | None
    """The run's output folder, absolute; ``None`` without a run's name."""
    steps: int | None
    """Training steps, at least 1; ``None`` without a run's name."""
    written: SettingsDocument | None = None
    """The dataset's own ``loragit.toml``, as it was read."""

    def is_set(self, key: str) -> bool:
        """Whether anything but the default says what ``key`` is."""
        return any(each.key == key and each.source != "default" for each in self.origins)

    @property
    def from_dataset(self) -> tuple[SettingOrigin, ...]:
        """What the dataset's own ``loragit.toml`` decided: in a cloned dataset, its author wrote
        that, not its user."""
        own = str(self.dataset_dir / FILE)
        return tuple(origin for origin in self.origins if origin.source in (own, own + AND_FLAG))
