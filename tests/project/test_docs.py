"""The project's words: what README and docs show is run, and what they say exists."""

from __future__ import annotations

import ast
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import pytest

from loragit import RecordedRun, cli_help
from loragit.record import imported, message
from loragit.settings import layers, schema, toml_text
from loragit.settings.document import read_settings_file
from loragit.trainers.sd_scripts.weights import WEIGHTS
from tests.support.pages import FORMAT, documented, dotted
from tests.support.paths import ROOT
from tests.support.processes import git, read_all
from tests.support.shell_scripts import need
from tests.support.user_home import make_trainer, write_dataset

README = ROOT / "README.md"
DOCS = ROOT / "docs"
INDEX = DOCS / "index.md"
DESIGN = DOCS / "design.md"
PYTHON = DOCS / "python.md"
SETTINGS = DOCS / "settings.md"
LISTED = tuple(
    INDEX.parent / target
    for target in re.findall(r"^\| \[.+?\]\(([^)#]+)\)", INDEX.read_text(), re.MULTILINE)
)
"""The pages of the index, in its order: that in which somebody reads and types them."""
PAGES = (README, INDEX, *LISTED)

STANDS_FOR = {"make demo DIR=~/loragit-demo": "loragit demo ~/loragit-demo"}
"""What is run in place of a command that would install something first. The demo shows commands of
its own, so that the rest of such a block is output."""

NOT_RUN = {
    "make demo": "CI itself",
    "make test": "CI itself: this test is a part of it",
    "pipx install loragit": "installs; CI installs the same package with pip",
    "uv tool install loragit": "installs; CI installs the same package with pip",
}
"""Commands that are shown and not run here, with what covers each."""

BEFORE = {
    "git push --follow-tags origin runs": "git init -q --bare ~/gren.git; "
    "git remote add origin ~/gren.git",
    "cd ~/gren.git": "git init -q --bare ~/gren.git",
}
"""What a reader has to have, where a page says so in words."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    """Of its first line, from 1."""
    kind: str
    body: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """A command of a page."""

    where: str
    command: str
    shown: tuple[str, ...] | None
    """The output that the page shows; ``None`` where it shows none. ``…`` is anything."""


def blocks(page: Path) -> Iterator[Block]:
    opened: Block | None = None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if not line.startswith("```"):
            if opened is not None:
                opened = replace(opened, body=(*opened.body, line))
        elif opened is None:
            opened = Block(page.name, number + 1, line[3:], ())
        else:
            yield opened
            opened = None
    assert opened is None, f"{page.name} ends within a block"


def steps(block: Block) -> Iterator[Step]:
    where = f"{block.page}:{block.line}"
    if block.kind == "sh":
        yield from (Step(where, line, None) for line in block.body if line)
    elif block.kind == "toml" and (place := re.fullmatch(r"# (\S+/loragit\.toml)", block.body[0])):
        yield Step(where, f"cat > {place[1]} <<'END'\n" + "\n".join(block.body) + "\nEND", None)
    elif block.kind == "zsh" and (place := re.fullmatch(r"# (~/\S+)", block.body[1])):
        script = "\n".join(block.body)
        yield Step(where, f"cat > {place[1]} <<'END'\n{script}\nEND\nchmod +x {place[1]}", None)
    elif block.kind == "console":
        command, shown = "", list[str]()
        for line in block.body:
            if line.startswith("$ ") and command not in STANDS_FOR:
                if command:
                    yield Step(where, command, tuple(shown))
                command, shown = line[2:], []
            else:
                shown.append(line)
        yield Step(where, command, tuple(shown))


def walk(*pages: Path) -> list[Step]:
    return [step for page in pages for block in blocks(page) for step in steps(block)]


class Reader:
    """Somebody who types what the pages show, at a terminal, in one session."""

    def __init__(self, home: Path) -> None:
        self.home = home
        shims = home / "bin"
        shims.mkdir()
        for name, words in (
            ("loragit", [sys.executable, "-m", "loragit"]),
            ("python3", [sys.executable]),
        ):
            shim = shims / name
            shim.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            shim.chmod(0o755)
        self.environ = os.environ | {
            "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}",
            "PAGER": "cat",
            "TERM": "dumb",
            "COLUMNS": "120",
            "SHELL": "/bin/bash",
        }
        self.folder = str(home)
        self.status = 0

    def type(self, command: str) -> list[str]:
        """Run ``command``; the lines that the terminal shows afterwards."""
        state = self.home / "state"
        # The last command's status and folder are there, as in one long session.
        script = (
            f'set -o pipefail; cd -- "$1" || exit\n(exit "$2")\n{command}\nprintf "%s\\n" '
            '"$?" "$PWD" > "$3"\n'
        )
        words = ["bash", "-c", script, "bash", self.folder, str(self.status), str(state)]
        ours, theirs = pty.openpty()
        child = subprocess.Popen(
            words,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        data = read_all(ours)
        os.close(ours)
        child.wait()
        status, self.folder = state.read_text().splitlines()
        self.status = int(status)
        return [
            visible(line)
            for line in data.decode(errors="replace").replace("\r\n", "\n").splitlines()
        ]


def visible(line: str) -> str:
    """What stays of a line that was redrawn."""
    return line.rstrip("\r").rpartition("\r")[2].rstrip()


CHANGING = (
    (r"\b[0-9a-f]{7,64}\b", "<id>"),
    (r"\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4} [+-]\d{4}", "<date>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\dZ)?", "<time>"),
    (r"\b\d+ (s|min)\b|(?<=Duration: )\d+", "<duration>"),
    (r"\d+ bytes", "<size>"),
    (r"\b\d+\.\d+(e-\d+)?\b", "<number>"),
    (r" {2,}", "  "),
)


def stable(line: str) -> str:
    """``line`` without what differs from one run to the next."""
    for pattern, name in CHANGING:
        line = re.sub(pattern, name, line)
    return line.rstrip()


def missing(shown: tuple[str, ...], printed: list[str]) -> str | None:
    """The first passage of ``shown`` that ``printed`` lacks; passages are parted by lines that are
    ``…``."""
    begins, ends = shown[:1] != ("…",), shown[-1:] != ("…",)
    passages: list[list[str]] = [[]] if begins else []
    for line in shown:
        if line == "…":
            passages.append([])
        else:
            passages[-1].append(re.escape(stable(line)).replace("…", ".*"))
    rest = "".join(f"{stable(line)}\n" for line in printed)
    for number, passage in enumerate(passages):
        start = r"\A" if begins and number == 0 else "(?m:^)"
        end = r"\Z" if ends and number == len(passages) - 1 else ""
        found = re.search(start + "".join(f"{line}\n" for line in passage) + end, rest)
        if found is None:
            return "\n".join(passage)
        rest = rest[found.end() :]
    return None


@pytest.fixture
def reader(home: Path) -> Reader:
    """Has what "Your first run" expects: a trainer with its environment, a base model, a dataset in
    no repository."""
    write_dataset(home / "datasets" / "gren")
    trainer = make_trainer(home / "source" / "repos" / "sd-scripts")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", trainer / "venv"], check=True)
    (home / "models").mkdir()
    (home / "models" / "noobaiXL.safetensors").write_bytes(b"weights")
    return Reader(home)


def follow(reader: Reader, todo: list[Step]) -> None:
    """Type every step. A status other than 0 is wrong, unless the page goes on to show it with
    ``echo $?``."""
    for number, step in enumerate(todo):
        if step.command in NOT_RUN:
            continue
        if step.command in BEFORE:
            reader.type(BEFORE[step.command])
        printed = reader.type(STANDS_FOR.get(step.command, step.command))
        printed = [line.replace(str(reader.home), "~") for line in printed]
        told = f"{step.where}: {step.command}\n" + "\n".join(printed)
        asked = number + 1 < len(todo) and todo[number + 1].command == "echo $?"
        assert asked or reader.status == 0, told
        if step.shown is not None:
            assert missing(step.shown, printed) is None, (
                f"{told}\n--- the page shows\n{missing(step.shown, printed)}"
            )


# ---- what is shown is run ----


@pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "sha256sum"))), reason="the pages use bash and sha256sum"
)
def test_every_command_that_the_pages_show_does_what_they_show(reader: Reader) -> None:
    need("zsh")
    todo = walk(README, *(page for page in LISTED if page.parent == DOCS))
    assert len(todo) > 100
    follow(reader, todo)
    remote = git(reader.home / "gren.git", "tag", "--list").splitlines()
    assert remote == [
        "noob-gren-preset-v1s512",
        "noob-gren-v1s512",
        "noob-gren-v2s512",
        "noob-gren-v3s512",
        "noob-gren-v4s512",
        "noob-gren-v5s512",
    ]
    for block in blocks(PYTHON):
        assert block.kind == "python"
        program = "\n".join(block.body)
        printed = reader.type(f"{shlex.quote(sys.executable)} - <<'END'\n{program}\nEND")
        assert reader.status == 0, printed


def test_every_command_that_is_not_run_is_still_shown() -> None:
    commands = {step.command for step in walk(*PAGES)}
    assert commands >= NOT_RUN.keys() | STANDS_FOR.keys() | BEFORE.keys()


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    kinds = {(block.page, block.kind) for page in PAGES for block in blocks(page)}
    assert {kind for _, kind in kinds} == {"sh", "console", "toml", "zsh", "python", ""}


def test_every_page_is_in_the_index() -> None:
    not_listed = {page.name for page in {*DOCS.glob("*.md")} - {INDEX, *LISTED}}
    assert not_listed == set(), "add these pages to a table of docs/index.md"


def test_the_readme_stays_short() -> None:
    assert len(README.read_text().splitlines()) <= 200


def test_every_settings_example_is_understood(home: Path) -> None:
    examples = [block for page in PAGES for block in blocks(page) if block.kind == "toml"]
    assert len(examples) >= 2
    for block in examples:
        (home / "loragit.toml").write_text("\n".join(block.body))
        document = read_settings_file(home / "loragit.toml")
        assert document.values or document.models


def test_a_transcript_that_is_wrong_is_noticed() -> None:
    printed = ["opened x as 0123abcd on runs", "steps", "sealed x: 2 models, 1 s"]
    assert (
        missing(("opened x as 99999999 on runs", "…", "sealed x: 2 models, 40 min"), printed)
        is None
    )
    assert missing(("…", "sealed x: 2 mod…"), printed) is None
    assert missing(("…", "sealed x: 3 models, 1 s"), printed) == re.escape(
        "sealed x: 3 models, <duration>"
    )
    assert missing(("opened x as 99999999 on runs", "sealed x: 2 models, 1 s"), printed) is not None
    assert missing(("opened x as 99999999 on runs",), printed) is not None
    assert missing(("steps", "…"), printed) is not None
    assert missing((), printed) is not None
    assert missing((), []) is None


# ---- what is said exists, and what exists is said ----


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            leads_to = page.parent / path if path else page
            assert leads_to.is_file(), target
            assert anchor == "" or anchor in anchors(leads_to), target


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_section_that_the_code_points_at_is_there() -> None:
    sources = [*(ROOT / "src").rglob("*.py"), ROOT / "pyproject.toml"]
    named = [
        found
        for source in sources
        for found in re.findall(r'docs/([\w-]+\.md),\s+"([^"]+)"', source.read_text())
    ]
    assert named
    for page, section in named:
        heading = " ".join(section.split())  # a docstring's line may end within it
        assert f"\n## {heading}\n" in (ROOT / "docs" / page).read_text()


def test_every_verb_is_in_the_readme_in_the_group_that_the_help_has() -> None:
    told: dict[str, list[str]] = {}
    for row in re.findall(r"^\| ([\w ]*)\| (`.+?) \|", README.read_text(), re.MULTILINE):
        told.setdefault(row[0].strip() or [*told][-1], []).extend(re.findall(r"`(\w+)`", row[1]))
    assert told == {group: list(verbs) for group, verbs in cli_help.GROUPS.items()}


def test_every_name_on_the_python_page_exists() -> None:
    named = set(re.findall(r"`(loragit(?:\.\w+)+)", PYTHON.read_text()))
    assert len(named) >= 4
    for module, _, name in (each.rpartition(".") for each in named):
        assert hasattr(import_module(module), name), f"{module}.{name}"
    attributes = {word for word in documented(PYTHON) if re.fullmatch(r"[a-z_]+", word)}
    fields = {*dir(RecordedRun), *RecordedRun.__annotations__}
    assert {"outcome", "captions"} <= attributes <= fields


def test_every_setting_is_on_the_settings_page_and_no_other() -> None:
    told = {word for word in documented(SETTINGS) if re.match(r"(trainer|paths|record)\.", word)}
    assert told == {*schema.SCHEMA, "trainer.args.…"}


def test_every_default_on_the_settings_page_is_the_one_that_holds() -> None:
    rows = [
        line.strip("| ").split(" | ")
        for line in SETTINGS.read_text().splitlines()
        if line.startswith("| `")
    ]
    told = {
        row[0].strip("`"): row[1].strip("`") for row in rows if row[0].strip("`") in schema.SCHEMA
    }
    for key, spec in schema.SCHEMA.items():
        assert told[key] == (
            toml_text.toml_literal(spec.default) if spec.default not in ("", ()) else "none"
        ), key


def test_every_variable_is_on_the_settings_page() -> None:
    told = {
        variable
        for name in documented(SETTINGS)
        for variable in re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", name)
    }
    helpers = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', Path(layers.__file__).read_text()))
    assert helpers >= {"SD_REPO", "SD_SCRIPT", "LYCORIS_REPO", "NO_CLEAN"}
    assert told >= helpers | {"TRAINING_DIR", "OUTPUT_DIR", "STEPS", "DEBUG"}
    assert {
        variable for variable in told if variable.startswith("LORAGIT_T")
    } <= schema.VARIABLES.keys()
    without = {key for key, spec in schema.SCHEMA.items() if spec.variable is None}
    assert without == {"record.inputs", "record.repos"}


def written_trailers() -> set[str]:
    """Every word in the source of the messages that has the form of a trailer's key."""
    trees = [ast.parse(Path(str(module.__file__)).read_text()) for module in (message, imported)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    words = {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {
        word for word in words if re.fullmatch(r"[A-Z][A-Za-z0-9]*(?:-[A-Z][A-Za-z0-9]*)*", word)
    }


def test_every_trailer_that_can_be_written_is_in_the_record_format_and_no_other() -> None:
    can_be_written = written_trailers() | set(WEIGHTS.values())
    assert {"Run", "Reverts", "Model", "Interrupted-By", "CLIP-L"} <= can_be_written
    told = {
        word for word in documented(FORMAT) if re.fullmatch(r"[A-Z][\w]*(?:-[A-Z][\w]*)*", word)
    }
    assert told == can_be_written


def test_every_key_of_a_record_is_in_the_record_format(reader: Reader) -> None:
    shutil.copytree(reader.home / "datasets" / "gren", reader.home / "gren")
    git(reader.home / "gren", "init", "-q")
    reader.type("cd ~/gren && loragit train noob-gren-v1s4 --dataset . ")
    assert reader.status == 0
    record = tomllib.loads(git(reader.home / "gren", "show", "noob-gren-v1s4:run.toml"))
    keys = {re.sub(r"^files\..*", "files.<path>.sha1", key) for key in dotted(record)}
    keys = {re.sub(r"^arguments\..*", "arguments.<name>", key) for key in keys}
    assert "command.argv" in keys
    assert keys <= documented(FORMAT)
    tree = git(reader.home / "gren", "ls-tree", "--name-only", "noob-gren-v1s4").splitlines()
    assert {path for path in tree if path != "captions"} <= documented(FORMAT)


def test_every_dependency_has_its_reason_in_the_design() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.match(r"[\w-]+", each)[0] for each in dependencies}  # type: ignore[index]
    section = DESIGN.read_text().partition("\n## Dependencies\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| ([\w-]+) \|", section, re.MULTILINE)) - {"package", "---"} == names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_name_no_machine_of_ours(page: Path) -> None:
    assert re.findall(r"/(?:work|tmp|root|home)/\S*|#\d+\b", page.read_text()) == []
