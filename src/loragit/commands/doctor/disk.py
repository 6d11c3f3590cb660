"""Earlier runs of the dataset: their models tell how much disk the next run will need."""

from __future__ import annotations

from itertools import islice
from typing import Any

from loragit import parse
from loragit.errors import LoragitError
from loragit.git import catfile
from loragit.git.repository import Repository
from loragit.record.message import parse_model_line
from loragit.trainers import arguments
from loragit.trainers.disk_need import PastRun

_TAGS = 50
"""Most tags that are searched for runs of the dataset, newest first."""

_PAST = 10
"""Most runs of the dataset that are read, newest first."""


def past_runs(repository: Repository) -> tuple[PastRun, ...]:
    """The newest sealed runs of the dataset that is in the repository's folder, newest first.

    Raises :class:`~loragit.git.GitFailed`.
    """
    line = "--format=%(refname:strip=2)%00%(*objectname)%00%(contents)%00"
    question = ("for-each-ref", line, "--sort=-creatordate", f"--count={_TAGS}", "refs/tags")
    fields = (
        field.decode("utf-8", "surrogateescape")
        for field in catfile.rows(*question, cwd=repository.top)
    )
    rows = zip(fields, fields, fields, strict=False)
    found = (
        _past_run(repository, name.lstrip("\n"), commit, message)
        for name, commit, message in rows
        if commit
    )
    return tuple(islice((run for run in found if run is not None), _PAST))


def _past_run(repository: Repository, name: str, commit: str, message: str) -> PastRun | None:
    """``None`` for a tag that is no run of this dataset."""
    place = f"{repository.prefix}/run.toml" if repository.prefix else "run.toml"
    try:
        with catfile.Reader(repository.top) as reader:
            found = reader.read(f"{commit}:{place}")
        table: Any = parse.read_toml(((found and found.data) or b"").decode())
        if table["run"]["name"] != name:  # another dataset's, whose tree carries this one's along
            return None
        words = [str(word) for word in table["command"]["argv"]]
        script = str(table["trainer"]["script"])
    except (LoragitError, ValueError, KeyError, TypeError):  # one of the user's own tags
        return None
    start = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
    lines = (
        line.removeprefix("Model: ") for line in message.splitlines() if line.startswith("Model: ")
    )
    models = (parse_model_line(line) for line in lines)
    return PastRun(
        name,
        arguments.from_words(words[start:]),
        script,
        max((m.size for m in models if m), default=0),
    )
