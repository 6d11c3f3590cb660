"""``run.toml``, the whole record as TOML, and ``repos.git``, its short form in the output folder.

docs/record-format.md describes both. All are pure functions of their values: no clock, no locale,
no dict order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from loragit.record.values import FORMAT, Entry, LyCORIS, RepoState, Run, Weights
from loragit.text import DIRECTING, sha1, shown

_UNESCAPED = re.compile(rf"[\x80-\x9f{DIRECTING}]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def run_toml(run: Run) -> Entry:
    """Return ``run.toml``: the whole record, one value per line, the command one word per line."""
    return Entry("run.toml", to_toml(_run_table(run)))


def to_toml(table: Mapping[str, object]) -> bytes:
    """Return ``table`` as TOML in UTF-8, in its own order."""
    import tomli_w

    # TOML may hold these unescaped, but a terminal or an editor could obey them.
    return _UNESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", tomli_w.dumps(table)).encode()


def _run_table(run: Run) -> dict[str, object]:
    return {
        "format": FORMAT,
        "run": without_unknown(
            {
                "name": run.name.text,
                "model": run.name.model,
                "version": run.name.version,
                "steps": run.steps,
                "epochs": run.epochs,
                "redacted": [encodable(path) for path in run.redacted] or None,
            }
        ),
        "dataset": _dataset_table(run),
        "trainer": {
            "kind": run.trainer_kind,
            **(
                {}
                if run.trainer.label == run.trainer_kind
                else {"name": encodable(run.trainer.label)}
            ),
            "script": encodable(run.trainer_script),
            **_repository_table(run.trainer),
        },
        "lycoris": _lycoris_table(run.lycoris),
        **(
            {"repositories": {encodable(s.label): _repository_table(s) for s in run.repositories}}
            if run.repositories
            else {}
        ),
        "files": files_table(run.entries),
        **({"weights": [weights_table(w) for w in run.weights]} if run.weights else {}),
        **({"arguments": arguments_table(run.arguments)} if run.arguments else {}),
        **({"defaults": arguments_table(run.defaults)} if run.defaults else {}),
        "command": {
            "workdir": encodable(run.workdir),
            "argv": [encodable(word) for word in run.argv],
        },
    }


def _dataset_table(run: Run) -> dict[str, object]:
    return without_unknown(
        {
            "name": run.dataset,
            "path": run.prefix or ".",
            "commit": run.dataset_commit,
            "dirty": run.dataset_dirty,
            "images": run.images,
            "captions": run.captions,
        }
    )


def files_table(entries: Iterable[Entry]) -> dict[str, object]:
    """Return hash and size of each of ``entries`` except captions, by path."""
    return {
        encodable(entry.path): {"sha1": sha1(entry.data), "size": len(entry.data)}
        for entry in sorted(
            entries, key=lambda entry: entry.path.encode("utf-8", "surrogateescape")
        )
        if not entry.path.startswith("captions/")
    }


def arguments_table(arguments: Mapping[str, tuple[str, ...]]) -> dict[str, object]:
    """Return the trainer's arguments, sorted by name: a text, a list of texts, or ``true`` for a
    flag."""
    return {
        encodable(name): True
        if not values
        else encodable(values[0])
        if len(values) == 1
        else [encodable(value) for value in values]
        for name, values in sorted(arguments.items())
    }


def weights_table(weights: Weights) -> dict[str, object]:
    """Return what is known of weights."""
    return without_unknown(weights._asdict())


def _repository_table(state: RepoState) -> dict[str, object]:
    table = {"commit": state.commit, "branch": state.branch, "url": state.url}
    return without_unknown({**table, "dirty": [encodable(path) for path in state.dirty]})


def _lycoris_table(lycoris: LyCORIS) -> dict[str, object]:
    table: dict[str, object] = {"installed": lycoris.installed}
    if lycoris.installed:
        table["editable"] = lycoris.editable
    repository = (
        _repository_table(lycoris.repo)
        if lycoris.repo
        else {"commit": lycoris.commit, "url": lycoris.url}
    )
    return without_unknown({**table, "version": lycoris.version, **repository})


def without_unknown(table: Mapping[str, object]) -> dict[str, object]:
    """Return ``table`` without the values that are ``None``."""
    return {k: encodable(v) if isinstance(v, str) else v for k, v in table.items() if v is not None}


def encodable(text: str) -> str:
    """Return ``text`` as TOML can hold it: a byte that is not UTF-8, which branches and paths may
    have, is written ``\\xff``."""
    return _SURROGATE.sub(lambda match: ascii(match[0])[1:-1].replace("\\udc", "\\x"), text)


def repos_git(run: Run) -> bytes:
    """Return ``repos.git`` of the output folder, as the zsh helpers wrote it.

    It has a line for each repository, ``path: (branch) commit``, then the SHA-1 of script, config
    and prompts.
    """
    states = (
        [run.trainer] + ([run.lycoris.repo] if run.lycoris.repo else []) + list(run.repositories)
    )
    lines = [
        shown(f"{state.path}: ({state.branch or 'detached'}) {state.commit}") for state in states
    ]
    for path in (run.script, run.config, run.prompts):
        entry = run.entry(path) if path else None
        if entry is not None:
            lines.append(f"{sha1(entry.data)}  {entry.path}")
    return ("\n".join(lines) + "\n").encode()
