"""The trainer's side, queried through the trainer's own Python: packages, LyCORIS in whatever form,
the graphics cards.

The Python runs :mod:`loragit.trainers.environment.probe`, passed to it as text; git finds the
repository that tracks LyCORIS.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from loragit import git, text
from loragit.errors import LoragitError
from loragit.git import checkout
from loragit.record.values import Environment, LyCORIS, RepoState
from loragit.system import child
from loragit.trainers.environment import imports
from loragit.trainers.environment.graphics import THIS_HOST, GraphicsQuestion, Host
from loragit.trainers.environment.imports import Imports
from loragit.trainers.environment.probe import MARKER

TIMEOUT = 30.0
"""Seconds that the trainer's Python has to answer. A cold start from a network disk is slow."""

_BEGIN = (
    "import sys\nif not getattr(sys.flags, 'safe_path', False):\n    del "
    "sys.path[0]\nexec(sys.argv.pop(1))"
)
"""``python -c`` puts the current folder first on ``sys.path``, and even ``from __future__`` imports
a module."""

_HINT = "see trainer.python and trainer.env in: loragit settings"
_LYCORIS = "lycoris-lora"


class ProbeFailed(LoragitError):
    """The trainer's Python is missing, crashed or hung, or is not a Python."""


class Distribution(NamedTuple):
    """A package as installed."""

    name: str
    """The canonical name: lower case, with ``-`` between the words."""
    version: str
    folder: str
    """Folder of its metadata: ``site-packages``, or the source tree of an egg-link."""
    url: str | None
    """Its origin if that is not an index; without credentials."""
    commit: str | None
    """Commit that a version control system had checked out for it."""
    editable: bool

    @property
    def line(self) -> str:
        """Return its line in ``environment.txt``."""
        if self.commit is not None:
            return f"{self.name} @ {self.commit}"
        return f"{self.name}=={self.version}{' (editable)' if self.editable else ''}"

    def installed(self, root: Path) -> bool:
        """Whether the modules in ``root`` (resolved) belong to this package."""
        if Path(self.folder).resolve() == root:
            return True
        source = _local_folder(self.url) if self.editable else None
        return source is not None and root.is_relative_to(source.resolve())


class ProbeReport(NamedTuple):
    """The probe's report; the probe's docstring describes the fields."""

    version: str
    executable: str
    platform: str
    origin: str
    folder: str
    key: str
    settled: bool
    distributions: tuple[Distribution, ...] | None
    """``None`` if unchanged since they were cached."""
    imports: Imports = Imports()


class EnvironmentQuestion:
    """The queries about the trainer's side, all running from the start.

    ``python`` will run the trainer, ``env`` is the trainer's environment (without git's own
    variables), ``cwd`` its working folder and ``script_folder`` the folder of its script. ``cache``
    is a folder for answers that need not be queried twice. With ``modules``, :meth:`ask_modules` is
    called before the answer is waited for. Raises :class:`ProbeFailed`.
    """

    def __init__(
        self,
        python: Path,
        *,
        cwd: Path,
        env: Mapping[str, str],
        cache: Path,
        script_folder: Path | None = None,
        host: Host = THIS_HOST,
        modules: bool = False,
    ) -> None:
        self._python = python
        self.imports = Imports()
        """What will be imported, as soon as the answer is there."""
        source = Path(__file__).with_name("probe.py").read_text(encoding="utf-8")
        self._memory = _PackageCache(cache, python, source)
        arguments = (str(script_folder or cwd), self._memory.key, *(("modules",) * modules))
        try:
            self._probe = child.ask(
                [str(python), "-c", _BEGIN, source, *arguments], cwd=cwd, env=env, later=modules
            )
        except child.CannotStart as error:
            raise ProbeFailed(
                f"the trainer's Python {python} cannot be started: {error}", hint=_HINT
            ) from error
        self._cards = GraphicsQuestion(host, cwd, env)

    def ask_modules(self, names: Iterable[str]) -> None:
        """Ask where the modules ``names`` would be imported from."""
        self._probe.send(imports.module_lines(names))

    def answer(self) -> tuple[Environment, LyCORIS]:
        """Return the environment, and LyCORIS as the trainer would import it. Raises
        :class:`ProbeFailed`."""
        try:
            report = self._report()
        except ProbeFailed:
            self._cards.cancel()
            raise
        self.imports = report.imports
        packages = report.distributions
        if packages is None:
            packages = self._memory.packages
        elif report.settled:
            self._memory.store(report.key, packages)
        lycoris = _lycoris_of(report, packages)
        gpus, driver = self._cards.answer()
        by_name: dict[str, str] = {}
        for package in packages:
            by_name.setdefault(
                package.name, package.line
            )  # the first on sys.path is the one imported
        environment = Environment(
            python=report.version,
            executable=report.executable,
            packages=tuple(sorted(by_name.values())),
            platform=report.platform,
            gpus=gpus,
            driver=driver,
        )
        return environment, lycoris

    def _report(self) -> ProbeReport:
        try:
            answer = self._probe.answer(TIMEOUT)
        except child.TimedOut as error:
            message = f"the trainer's Python {self._python} did not answer within {TIMEOUT:g} s"
            raise ProbeFailed(message, hint=_HINT) from error
        report = _parse_report(answer.out)
        if report is None:
            lines = answer.err.decode("utf-8", "replace").strip().splitlines()
            words = lines[-1].strip() if lines else f"exit status {answer.status}"
            message = f"the trainer's Python {self._python} did not answer: {words}"
            raise ProbeFailed(message, hint=f"it must be Python 3.8 or newer; {_HINT}")
        return report


def environment_text(environment: Environment) -> bytes:
    """Return ``environment.txt``: the machine, an empty line, then one package per line. UTF-8."""
    lines = [f"Python: {environment.python}", f"Platform: {environment.platform}"]
    lines += [f"GPU: {name}" for name in environment.gpus or ("none found",)]
    lines += [f"Driver: {environment.driver}"] if environment.driver else []
    return "\n".join((*lines, "", *environment.packages, "")).encode("utf-8", "backslashreplace")


def _parse_report(out: bytes) -> ProbeReport | None:
    """Parse the probe's report; ``None`` if it is anything else. Output of the site around it is
    skipped."""
    _, _, begun = out.partition(MARKER)
    said, end, modules = begun.partition(MARKER)
    fields = [os.fsdecode(field) for field in said.split(b"\0")]
    match fields:
        case [version, executable, platform, origin, folder, key, settled, rows, ""] if end:
            try:
                packages = _distributions(rows) if rows else None
            except ValueError:
                return None
            return ProbeReport(
                version,
                executable,
                platform,
                origin,
                folder,
                key,
                settled == "yes",
                packages,
                imports.parse_imports(modules.partition(MARKER)[0]),
            )
    return None


def _distributions(listed: str) -> tuple[Distribution, ...]:
    """Parse the JSON list of packages. Raises :class:`ValueError`."""
    match json.loads(listed):
        case [*rows]:
            return tuple(_distribution(row) for row in rows)
    raise ValueError(f"{listed!r} is not a list of packages")


def _distribution(row: object) -> Distribution:
    """Parse one row of the list. Raises :class:`ValueError` if it is malformed."""
    match row:
        case [str(name), str(version), str(folder), str() | None as direct_url, bool(linked)]:
            url, commit, editable = _direct_url(direct_url)
            name = re.sub(r"[-_.]+", "-", name).lower()
            return Distribution(
                name, " ".join(version.split()), folder, url, commit, editable or linked
            )
    raise ValueError(f"{row!r} is no package")


def _direct_url(written: str | None) -> tuple[str | None, str | None, bool]:
    """Return URL, commit and whether it is editable from a ``direct_url.json`` (PEP 610); nothing
    if it is damaged or missing."""
    try:
        found = json.loads(written or "null")
    except ValueError:
        return None, None, False
    match found:
        case {"url": str(url), "vcs_info": {"commit_id": str(commit)}}:
            return text.without_credentials(url), commit, False
        case {"url": str(url), "dir_info": {"editable": True}}:
            return url, None, True
        case {"url": str(url)}:
            return text.without_credentials(url), None, False
    return None, None, False


def _local_folder(url: str | None) -> Path | None:
    """Return the folder that a ``file:`` URL names; ``None`` for any other URL."""
    from urllib.parse import unquote

    if url is None or not url.startswith("file://"):
        return None
    return Path(unquote(url.removeprefix("file://").removeprefix("localhost")))


def _lycoris_of(report: ProbeReport, packages: Iterable[Distribution]) -> LyCORIS:
    """Return LyCORIS as ``import lycoris`` finds it: its repository, else the origin of its
    installation, else its version."""
    file = _module_file(report)
    if file is None:
        return LyCORIS()
    repository = _repository(file)
    root = Path(report.folder or report.origin).resolve().parent
    owners = [
        package for package in packages if package.name == _LYCORIS and package.installed(root)
    ]
    # If a source tree has both egg-info and an installation that points at it, the latter has more
    # information.
    owner = next((package for package in owners if package.editable), owners[0] if owners else None)
    editable = owner is not None and owner.editable
    version = owner.version if owner else None
    if repository is not None:
        return LyCORIS(repository, repository.commit, repository.url, version, editable)
    if owner is None:
        return LyCORIS(
            version="unknown"
        )  # a folder that somebody copied: nothing more is known than that it exists
    # A path on this machine identifies nothing without a commit.
    url = owner.url if owner.commit or _local_folder(owner.url) is None else None
    return LyCORIS(None, owner.commit, url, version, editable)


def _module_file(report: ProbeReport) -> Path | None:
    """Return a file of LyCORIS, symbolic links resolved; ``None`` if ``lycoris.kohya`` could not be
    imported."""
    if report.origin:
        return Path(report.origin).resolve()
    # A folder without __init__.py is a namespace package: any folder called lycoris, such as a
    # clone in the trainer's own folder.
    if report.folder:
        for name in ("kohya/__init__.py", "kohya.py"):
            file = Path(report.folder, name)
            if file.is_file():
                return file.resolve()
    return None


def _repository(file: Path) -> RepoState | None:
    """Return the repository that tracks ``file``; ``None`` if there is none or it has no commit."""
    if not any((folder / ".git").exists() for folder in file.parents):
        return None  # saves a child process
    top = checkout.tracking(file)
    if top is None:
        return None
    try:
        return checkout.repo_state(top, "LyCORIS")
    except git.NotARepository:
        return None


class _PackageCache:
    """The packages of one Python as last read, in a file of their own.

    Only an optimization: if the file is wrong in any way, or cannot be written, the packages are
    read again.
    """

    def __init__(self, folder: Path, python: Path, source: str) -> None:
        from hashlib import sha256

        self._file = folder / f"{sha256(os.fsencode(python)).hexdigest()[:32]}.json"
        self._probe = sha256(source.encode()).hexdigest()
        self._python = str(python)
        self.key = ""
        self.packages: tuple[Distribution, ...] = ()
        with suppress(OSError, ValueError):
            match json.loads(self._file.read_bytes()):
                # Another version of the probe read the packages differently.
                case {"probe": self._probe, "key": str(key), "packages": [*rows]}:
                    self.packages = tuple(_cached_package(row) for row in rows)
                    self.key = key

    def store(self, key: str, packages: tuple[Distribution, ...]) -> None:
        """Cache ``packages``, which were read when their key was ``key``."""
        rows = [list(package) for package in packages]
        remembered = json.dumps(
            {"python": self._python, "probe": self._probe, "key": key, "packages": rows}
        )
        draft = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(remembered, encoding="ascii")
            draft.replace(self._file)
        except OSError:
            with suppress(OSError):
                draft.unlink()


def _cached_package(row: object) -> Distribution:
    match row:
        case [
            str(name),
            str(version),
            str(folder),
            str() | None as url,
            str() | None as commit,
            bool(editable),
        ]:
            return Distribution(name, version, folder, url, commit, editable)
    raise ValueError(f"{row!r} is no package")
