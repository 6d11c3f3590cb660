"""A repository that somebody made to be cloned: no command obeys it, shows what a terminal would
obey, or gives up.

The commands run in this process, and what they tell is looked at letter by letter.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loragit import __main__
from loragit.commands.hook import staged
from loragit.git import repository
from loragit.store import journal
from tests.support.fuzz_targets import OBEYED
from tests.support.growth import within
from tests.support.journal_entries import note
from tests.support.made_up_runs import open_store, sealed
from tests.support.processes import git

ODD = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f\u202egnp\u2066\u2028\u200f"
"""A title, an erased screen, C1, DEL, another direction, another line; no line end."""
NAME, OTHER = "noob-gren\u202e\x9b-v1s4", "noob-gren-v2s4"
HASH = "b" * 64

RUN = f"""
format = 1
[run]
name = {json.dumps(NAME)}
model = {json.dumps(ODD)}
[dataset]
name = {json.dumps(ODD)}
commit = {json.dumps(ODD)}
[trainer]
kind = "sd-scripts"
script = "a.py"
commit = {json.dumps(ODD)}
branch = {json.dumps(ODD)}
url = {json.dumps(ODD)}
dirty = [{json.dumps(ODD)}]
[lycoris]
installed = true
version = {json.dumps(ODD)}
[repositories.{json.dumps(ODD)}]
commit = "{"c" * 40}"
[[weights]]
role = {json.dumps(ODD)}
name = {json.dumps(ODD)}
sha256 = {json.dumps(ODD)}
[command]
workdir = {json.dumps("~/" + ODD)}
argv = ["python", "a.py", {json.dumps("--seed" + ODD)}, {json.dumps(ODD)}, "--network_args", {json.dumps(ODD + "=1")}]
"""  # noqa: E501

Told = pytest.CaptureFixture[str]


def record(folder: Path, files: dict[str, str], message: str, *parents: str) -> str:
    """A commit with these files and this very message, made with git alone."""
    work = folder.parent / "work"
    subprocess.run(["rm", "-rf", str(work)], check=True)
    for path, content in files.items():
        place = work / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode("utf-8", "surrogateescape"))
    environ = {
        **os.environ,
        "GIT_INDEX_FILE": str(folder.parent / "index"),
        "GIT_DIR": str(folder / ".git"),
    }
    (folder.parent / "index").unlink(missing_ok=True)
    subprocess.run(
        ["git", f"--work-tree={work}", "add", "-A", "-f", "."], check=True, env=environ, cwd=work
    )
    tree = (
        subprocess.run(["git", "write-tree"], check=True, env=environ, capture_output=True)
        .stdout.decode()
        .strip()
    )
    words = ["git", "commit-tree", tree, *(word for parent in parents for word in ("-p", parent))]
    data = message.encode("utf-8", "surrogateescape")
    made = subprocess.run(words, input=data, env=environ, capture_output=True, check=True)
    return made.stdout.decode().strip()


def files(number: int) -> dict[str, str]:
    odd = ODD.replace("\x07", f"{number}\x07")
    return {
        "run.toml": RUN.replace("format = 1", "format = 1\n")
        if number == 1
        else RUN.replace("--seed", "--other"),
        "environment.txt": f"Python: {odd}\n\ntorch=={odd}\n{odd}==1\n",
        "dataset.sha256": f"{HASH}  {odd}.png\n{'d' * 64}  ../../../../etc/passwd\n{'e' * 64}  "
        "/dev/zero\n",
        "config.toml": f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = {json.dumps(odd)}\n# "
        f"{odd[:0]}\n",
        "sample-prompts.txt": f"{odd}\n",
        "inputs/a.json": f'{{"a": "\\ud800", "b": {json.dumps(odd)}}}',
        f"inputs/{odd}.bin": f"{odd}\n",
        f"captions/{odd}.txt": f"{odd}, {number}\n",
    }


def message(name: str, number: int) -> str:
    trailers = "".join(
        f"{key}: {ODD}\n"
        for key in ("Missing", "Resumed-From", "Derived-From", "Odd", "Trainer-Commit")
    )
    return (
        f"{name}: {ODD}\x1f\xff\n\n{ODD}\n\nRun: {name}\nDataset: "
        f"{ODD}\x1f\nDataset-Path:\n{trailers}"
        f"Imported: 2026-11-24 from {ODD}\nLoragit-Format: 1\n"
        if number == 1
        else f"{name}: {ODD}\n\nRun: {name}\nDataset: {ODD}\x1f\nLoragit-Format: 1\n"
    )


@pytest.fixture
def hostile(dataset: Path) -> Path:
    """Two sealed runs, a reverted one and one without a tag; notes, settings, runs in progress."""
    sealed = [record(dataset, files(1), message(NAME, 1))]
    sealed.append(record(dataset, files(2), message(OTHER, 2), sealed[0]))
    failed = record(dataset, files(1), f"{ODD}\n\nRun: {ODD}\nDataset: {ODD}\n", sealed[1])
    why = (
        f'Revert "{ODD}"\n\nThis reverts commit {failed}.\n\n{ODD}\n\nThe last lines of its '
        f"log:\n\n    error {ODD}\n\n"
    )
    tip = record(
        dataset,
        files(1),
        f"{why}Run: x\nExit-Status: 1\nReverts: {failed}\nLoragit-Format: 1\n",
        failed,
    )
    git(dataset, "update-ref", "refs/heads/runs", tip)
    for name, commit in ((NAME, sealed[0]), (OTHER, sealed[1])):
        said = (
            f"{name}: {ODD}\n\nRun: {name}\nExit-Status: 0\nModel: {ODD} 5 bytes "
            f"sha256:{HASH} step:1\nOutput: {ODD}\n"
        )
        said += (
            f"Model: a {'9' * 5000} bytes sha256:{HASH}\nState: {ODD}\nTruncated: "
            f"{ODD}\nUnreadable: {ODD}\n"
        )
        said += (
            f"Interrupted-By: {ODD}\nFinal-Loss: {'9' * 400}\nSamples: 3\nSample: {ODD} "
            f"sha256:{HASH}\nStarted: {ODD}\n"
        )
        subprocess.run(
            ["git", "tag", "-a", "-F", "-", name, commit],
            input=said.encode(),
            cwd=dataset,
            check=True,
        )
    git(dataset, "notes", "add", "-m", f"{ODD}\n2026-11-24T19:30:00.000Z Best: {ODD}", sealed[0])
    (dataset / "loragit.toml").write_text(
        f"[paths]\noutput = {json.dumps('/nowhere' + ODD)}\n[trainer]\nrepo = "
        f"{json.dumps('/nowhere' + ODD)}\n"
        f"lycoris_repo = {json.dumps('/nowhere' + ODD)}\nlauncher = [{json.dumps(ODD)}]\n"
        f"[trainer.args]\na = {json.dumps(ODD)}\n"
    )
    (dataset / "config.toml").write_text(files(1)["config.toml"])
    journal.write(repository.discover(dataset).private, note(output=f"/nowhere{ODD}", started=ODD))
    return dataset


def a_model(path: Path) -> None:
    told = dict.fromkeys(
        ("ss_output_name", "ss_sd_model_name", "ss_network_module", "ss_tag_frequency", "ss_x"), ODD
    )
    told |= {
        "ss_training_comment": f"loragit: x{ODD.split(chr(0x2028))[0]} {'a' * 40}",
        "modelspec.date": "0001-01-01",
    }
    head = json.dumps(
        {"__metadata__": told, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    ).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))


COMMANDS = (
    *(
        "log",
        "log --failed",
        "log --graph",
        "log --json",
        "log -n 2",
        "log --where args.seed=1",
        "log --grep owned",
    ),
    *(
        f"show {NAME}",
        f"show --json {NAME}",
        f"show {OTHER}",
        f"show {OTHER}:nothing",
        "show nothing",
    ),
    *(
        f"diff {NAME} {OTHER}",
        f"diff --stat {NAME} {OTHER}",
        f"diff --json {NAME} {OTHER}",
        f"diff {OTHER}",
    ),
    *("verify", "verify --verbose", "verify --quick", "verify --json"),
    *(
        "status",
        "status --json",
        "settings",
        "settings --json",
        "doctor",
        f"note {NAME} -m text",
        f"note {NAME} --best x",
    ),
    *(
        "whence ../models",
        "whence --json ../models",
        "import --dry-run ../old",
        "import --dataset . ../old",
    ),
    *(
        "train --dry-run noob-gren-v9s1",
        "hook status",
        "hook run pre-commit",
        f"train --dry-run {NAME}",
    ),
)


def test_no_command_shows_what_a_terminal_would_obey(
    hostile: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("models", "old/run"):
        (hostile.parent / folder).mkdir(parents=True)
        a_model(hostile.parent / folder / f"a{ODD}.safetensors")
    (hostile.parent / "old/run/repos.git").write_text(
        f"/a{ODD}/sd-scripts: (b{ODD}) {'a' * 40}\n{ODD}\n"
    )
    (hostile.parent / "old/run" / f"{ODD}.sh").write_text(f"TRAINING_DIR='/nowhere{ODD}'\n")
    monkeypatch.chdir(hostile)
    capsys.readouterr()
    for words in COMMANDS:
        status = told_by(words, monkeypatch)
        out, err = capsys.readouterr()
        assert status in (0, 1, 2), words
        assert out or err, words
        for line in (out + err).split("\n"):
            assert not OBEYED.search(line), f"{words}: {line!a}"


def told_by(words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["loragit", *words.split(" ")])
    try:
        return __main__.main()
    finally:
        gc.enable()


def test_a_message_as_long_as_it_may_be_takes_no_time(
    dataset: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = f"{OTHER}: x\n\nRun: {OTHER}\n" + "Redacted: a\n" * 80_000
    commit = record(dataset, files(2), said)
    git(dataset, "update-ref", "refs/heads/runs", commit)
    subprocess.run(
        ["git", "tag", "-a", "-F", "-", OTHER, commit], input=said.encode(), cwd=dataset, check=True
    )
    monkeypatch.chdir(dataset)
    with within(6):
        assert told_by("log", monkeypatch) == told_by(f"show {OTHER}", monkeypatch) == 0
    assert OTHER in capsys.readouterr().out


def test_only_names_that_a_run_can_have_are_offered_to_a_shell(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loragit import cli_help
    from loragit.history import history

    store = open_store(dataset)
    sealed(store, OTHER)
    for odd in ("x;reboot", "$(reboot)", "a`reboot`", "a|b&c", "a'b\"c", "\u202enoob", "-rf"):
        # git takes no such option for a tag's name, and a clone brings it all the same.
        git(
            dataset,
            "update-ref",
            f"refs/tags/{odd}",
            git(dataset, "rev-parse", f"refs/tags/{OTHER}"),
        )
        assert odd in history.standing_names(dataset)
    monkeypatch.chdir(dataset)
    assert cli_help.run_names() == [OTHER]


def test_a_hook_whose_git_gives_up_finds_nothing_more(dataset: Path) -> None:
    blob = git(dataset, "rev-parse", "HEAD:a.txt")
    path = dataset / ".git" / "objects" / blob[:2] / blob[2:]
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    assert staged._blobs([blob], repository.discover(dataset)) == {}
