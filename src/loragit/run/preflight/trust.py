"""Whether what a dataset's own files say may be done: who made a cloned dataset wrote them, not who
trains on it.

Nothing is asked of a repository that nothing came into from elsewhere. What somebody agreed to is
remembered in the user's own folder, by the content: another launcher is another question, another
learning rate is none.
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
from loragit.git import catfile
from loragit.run.preflight import needs_trust
from loragit.run.preflight.needs_trust import RiskyValue
from loragit.settings.document import SettingsDocument, read_settings_file
from loragit.settings.schema import FILE
from loragit.settings.toml_text import toml_literal
from loragit.settings.values import Settings
from loragit.system import durable

_VERSION = 1
_MAX_HASHED = 64 * 1024 * 1024
"""Bytes of a program in the dataset that are hashed, so that another program there is another
question."""
_MAX_ROWS = 500_000
"""Files of a repository that are told apart; in a larger one every commit is another question."""
_LINK = b"120000 "
"""How ``git ls-tree`` begins a line about a symbolic link."""
_DATA = (
    *(
        b".png",
        b".jpg",
        b".jpeg",
        b".webp",
        b".bmp",
        b".avif",
        b".jxl",
        b".gif",
        b".txt",
        b".caption",
        b".npz",
        b".md",
    ),
    *(b".toml", b".json", b".jsonl", b".safetensors", b".sha256", b".gitignore", b".gitattributes"),
)
"""How files end that are no code, wherever they lie. What an argument names counts whatever it is
called."""
_NAMED = 3
"""Claims that a refusal names; the rest are counted."""


class Untrusted(LoragitError):
    """The dataset's own files say what nobody has agreed to yet."""


class Subject(NamedTuple):
    """What is to be agreed to."""

    folder: Path
    """The dataset's."""
    claims: tuple[RiskyValue, ...]
    contents: tuple[tuple[str, str], ...] = ()
    """(path as written, hash) of what the dataset itself holds of the programs that the claims
    name."""

    @property
    def digest(self) -> str:
        """Changes with any of the claims, with the programs among them that the dataset holds, and
        with the place."""
        told = [
            _VERSION,
            os.path.realpath(self.folder),
            [claim[:3] for claim in self.claims],
            self.contents,
        ]
        return hashlib.sha256(json.dumps(told).encode("utf-8", "surrogateescape")).hexdigest()


Agree = Callable[[Subject, str], bool]
"""Asks somebody; gets the subject, and how it came here."""


def require_consent(subject: Subject, agree: Agree | None, findings: Findings) -> bool:
    """Whether the subject may be acted on; ``findings`` tell why not. An answer is remembered.

    ``agree`` is asked where nobody has agreed to it yet; without it there is nobody to ask.
    """
    if not subject.claims or is_agreed(subject):
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
    """What is said where nobody agreed."""
    told = "; ".join(claim.shown for claim in subject.claims[:_NAMED])
    rest = text.more(len(subject.claims), _NAMED)
    more = f"; {rest}" if rest else ""
    return Finding(
        f"these come from the dataset, and nobody has agreed to them here: {told}{more}",
        f"read {subject.folder / FILE}, then agree: --trust, or loragit trust --dataset "
        f"{shell_word(subject.folder)}",
        Area.SETTINGS,
    )


# ---- what there is to agree to ----


def subject_of_settings(chosen: Settings) -> Subject:
    """What the dataset's ``loragit.toml`` says, of all models, where any of it holds here.

    Empty where everything of that kind is said by flags, by variables or by the user's own
    settings.
    """
    if chosen.written is None:
        return Subject(chosen.dataset_dir, ())
    ours = {origin.key for origin in chosen.from_dataset}
    found = subject_of_document(chosen.dataset_dir, chosen.written, chosen.trainer.repo)
    return (
        found
        if any(claim.setting in ours for claim in found.claims)
        else Subject(chosen.dataset_dir, ())
    )


def subject_of_document(
    folder: Path, document: SettingsDocument, trainer: Path | None = None
) -> Subject:
    """What a ``loragit.toml`` in ``folder`` says. ``trainer`` is the folder that arguments count
    from, if known."""
    found = needs_trust.risky_values(document)
    return Subject(
        folder, found, tuple(_named_contents(folder, document, found, trainer)) if found else ()
    )


def _named_contents(
    folder: Path, document: SettingsDocument, found: Iterable[RiskyValue], trainer: Path | None
) -> Iterator[tuple[str, str]]:
    """What the dataset's repository holds of what is named: a pull that changes a program there
    asks again."""
    top = work_tree_top(folder)
    tables = (document.values, *document.models.values())
    repos = dict.fromkeys(str(table["trainer.repo"]) for table in tables if "trainer.repo" in table)
    bases = [Path(os.path.realpath(folder)), *(_expanded(folder, repo) for repo in repos)]
    bases += [trainer] if trainer is not None and trainer not in bases else []
    for written in dict.fromkeys(each for claim in found for each in _possible_paths(claim)):
        for base in bases:
            place = Path(os.path.normpath(_expanded(base, written)))
            real = Path(os.path.realpath(place))
            # A link that is led elsewhere is another program as well.
            if (place.is_relative_to(top) or real.is_relative_to(top)) and real.exists():
                yield written, f"{os.path.relpath(real, top)} {_content_id(real, top)}"


def _expanded(base: Path, written: str) -> Path:
    return base / os.path.expanduser(written)  # noqa: PTH111 - Path raises for a user who is not there


def _possible_paths(claim: RiskyValue) -> Iterator[str]:
    """The words of a claim that could be paths."""
    import tomllib

    value = tomllib.loads(f"value = {claim.value}")["value"]
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, str) and item and "\0" not in item:
            plain = re.sub(r"^(?:venv|conda):|^[\w-]+=", "", item)
            # sd-scripts adds the suffix to a --config_file that has none.
            yield from (plain, f"{plain}.toml")
            if "/" not in plain:  # a module
                yield from (f"{plain.partition('.')[0]}{suffix}" for suffix in ("", ".py"))


def _content_id(place: Path, top: Path) -> str:
    """A file by its hash, a folder by what HEAD holds of it; empty for what is neither, or lies
    elsewhere."""
    if not place.is_relative_to(top):
        return ""
    with suppress(OSError, LoragitError):
        if place.is_file():
            with place.open("rb") as file:
                digest = hashlib.sha256(file.read(_MAX_HASHED)).hexdigest()
                status = os.fstat(file.fileno())
            return (
                digest
                if status.st_size <= _MAX_HASHED
                else f"{digest} {status.st_size} {status.st_mtime_ns}"
            )
        if place == top:
            return _code_digest(top)
        if place.is_dir():
            return _tree_id(place.relative_to(top), top)
    return ""


def _tree_id(folder: Path, top: Path) -> str:
    """A folder by its tree in HEAD, or by the commit of the submodule that it is or lies in; empty
    for neither.

    A tree holds links by where they lead, and what lies there may change: then all code of the
    repository counts.
    """
    for each in (folder, *folder.parents[:-1]):
        found = _object_id(f"HEAD:{each}", top)
        if not found:
            continue
        if git.call("cat-file", "-t", found.strip(), cwd=top).out.strip() != b"tree":
            return found
        if each != folder:
            break
        return (
            found + _code_digest(top)
            if any(row.startswith(_LINK) for row in _tree_rows(found.strip(), top))
            else found
        )
    return ""


def _object_id(revision: str, top: Path) -> str:
    """Its id and a line end, or nothing."""
    return git.call("rev-parse", "--quiet", "--verify", revision, cwd=top).out.decode()


def _code_digest(top: Path) -> str:
    """All that HEAD holds, but for what cannot be code: another caption is no other program."""
    digest = hashlib.sha256()
    for number, row in enumerate(_tree_rows("HEAD", top)):
        about, _, path = row.partition(b"\t")
        if number == _MAX_ROWS:
            return _object_id("HEAD^{tree}", top)
        if path.lower().endswith(_DATA):
            continue
        digest.update(row + b"\0")
        if about.startswith(_LINK) and os.path.isfile(at := top / os.fsdecode(path)):
            digest.update(_content_id(Path(os.path.realpath(at)), top).encode())
    return digest.hexdigest()


def _tree_rows(tree: str, top: Path) -> Iterator[bytes]:
    return catfile.rows("ls-tree", "-r", "-z", tree, cwd=top)


def subject_of_inputs(
    folder: Path, config: Path, named: Iterable[Path], folders: Iterable[Path], read: Iterable[Path]
) -> Subject:
    """Files and folders outside of the dataset's repository that its own files lead to, and that
    would go on record.

    ``named`` and ``folders`` are those of the dataset config ``config``; they count where that is
    the dataset's own. What lies in the dataset, ``read`` and the files of ``folders``, counts where
    it is a link that leads elsewhere.
    """
    top = work_tree_top(folder)
    inside = Path(os.path.realpath(config)).is_relative_to(top)
    found: dict[str, None] = {}
    for path in (*named, *folders) if inside else ():
        if not Path(os.path.realpath(path)).is_relative_to(top):
            found[str(path)] = None
    for path in read:
        # As it is written: the folder that it is said to lie in may be such a link itself.
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
    """Links in ``folder`` that lead out of ``top``."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(top):
                yield entry.path


# ---- where a dataset came from ----


def foreign_origin(folder: Path) -> str | None:
    """How others' commits may have come into the repository of ``folder``, in words; ``None`` where
    they cannot have.

    Looks at files alone. A folder in no repository is nobody else's: nothing came by git. One that
    git does not work in counts as foreign.
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
    """The folder of git's files for a work tree, and the one that all of its work trees share."""
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
    """Top of the work tree, its links resolved; the folder itself where there is none."""
    return _top_of_git(folder) or Path(os.path.realpath(folder))


# ---- what was agreed to ----


def consent_folder() -> Path:
    """Where answers are kept: a file each, called by the digest of what was agreed to."""
    import platformdirs

    return platformdirs.user_state_path("loragit") / "trust"


def is_agreed(subject: Subject) -> bool:
    """Whether somebody agreed to it here before."""
    return (consent_folder() / subject.digest).is_file()


def store_consent(subject: Subject) -> bool:
    """Keep that it was agreed to. Where that cannot be written it holds for this once, and
    ``False`` says so."""
    lines = [
        "# Agreed to on this machine; see loragit trust. Delete this file to be asked again.",
        f"dataset = {toml_literal(os.path.realpath(subject.folder))}",
        f"agreed = {toml_literal(text.timestamp(datetime.now(UTC)))}",
        f"claims = [{', '.join(toml_literal(claim.kept) for claim in subject.claims)}]",
    ]
    place = consent_folder() / subject.digest
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.write(place, "".join(f"{line}\n" for line in lines).encode())
    except OSError:
        return False
    return True


def subject_of_file(folder: Path) -> Subject:
    """What the ``loragit.toml`` in ``folder`` says as it stands. Raises :class:`LoragitError`."""

    return subject_of_document(folder, read_settings_file(folder / FILE))
