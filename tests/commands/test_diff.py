"""``loragit diff``: two runs on record compared, and what their records do not tell."""

from __future__ import annotations

import errno
import json
import os
import pty
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from loragit.commands.diff import lines, stat
from loragit.history.as_json import CodeChange
from loragit.history.compare import commits
from loragit.history.compare.commits import (
    DIVERGED,
    FORWARD,
    MISSING,
    REVERSED,
    CommitsBetween,
    NamedCommit,
)
from loragit.history.compare.details import Difference, compare_in_full
from loragit.history.history import History
from loragit.record.values import Entry, LyCORIS, Weights
from tests.support.growth import within
from tests.support.helpers_folder import leave
from tests.support.made_up_runs import CODE, open_store, reverted, sealed
from tests.support.paths import ROOT
from tests.support.processes import LORAGIT, commit_all, git
from tests.support.user_home import Scene, make_scene, write_dataset

ONE, TWO = "noob-gren-v1s4", "noob-gren-v2s4"


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


def files(found: dict[str, str]) -> tuple[Entry, ...]:
    return tuple(Entry(path, data.encode()) for path, data in found.items())


def put(folder: Path, name: str, found: dict[str, str] | None = None, **changes: object) -> None:
    """A sealed run whose record holds these files, and the rest of a whole record."""
    base = {"config.toml": "a = 1\n", "dataset.sha256": "", "environment.txt": "Python: 3.11\n\n"}
    sealed(open_store(folder), name, entries=files({**base, **(found or {})}), **changes)


def compared(folder: Path) -> Difference:
    history = History.of(folder)
    return compare_in_full(history.run(ONE), history.run(TWO))


def shown(found: Difference, *codes: CodeChange, width: int | None = None) -> list[str]:
    """What is printed below the two headings."""
    return list(lines.difference_lines(found, codes, width, brief=False))[2:]


# ---- two real trainings ----


def test_two_trainings_are_compared_by_all_that_went_into_them(scene: Scene) -> None:
    assert scene.train(ONE).status == 0
    (scene.dataset / "img" / "00.txt").write_text("zqx, colour 0, hat")
    (scene.dataset / "img" / "01.txt").unlink()
    (scene.dataset / "img" / "01.png").unlink()
    shutil.copy(scene.dataset / "img" / "02.png", scene.dataset / "img" / "03.png")
    shutil.copy(scene.dataset / "img" / "02.png", scene.dataset / "img" / "04.png")
    config = scene.dataset / "config.toml"
    config.write_text(config.read_text().replace("num_repeats = 1", "num_repeats = 3"))
    with (scene.dataset / "sample-prompts.txt").open("a") as prompts:
        prompts.write("zqx, \x1b[31m red --d 2\n")
    (scene.trainer / "change.py").write_text("")
    commit_all(scene.trainer, "a change of the trainer")
    assert scene.train(TWO, "--", "--network_dim", "8").status == 0

    done = scene.loragit("diff", ONE, TWO)
    assert (done.status, done.err) == (0, "")
    out = done.out.splitlines()
    assert out[0].startswith(f"- {ONE}  ")
    assert out[1].startswith(f"+ {TWO}  ")
    titles = [line for line in out[2:] if line and not line.startswith(" ")]
    assert titles == ["Arguments", "Code", "Dataset config", "Sample prompts", "Captions", "Images"]
    new = git(scene.trainer, "rev-parse", "--short=8", "HEAD")
    for line in (
        "  + network_dim  8",
        "      1 commit",
        f"      + {new} a change of the trainer",
        f"      datasets[0].subsets[{scene.dataset}/img].num_repeats  1 → 3",
        "    + zqx, \\x1b[31m red --d 2",
        "  - tag `a round thing` removed from 1 caption",
        "  + tag `hat` added to 1 caption",
        "    img/00.txt  - a round thing  + hat",
        "  - img/01.txt  zqx, a round thing, colour 1",
        "  - img/01.png",
        "  + img/04.png",
    ):
        assert line in out
    assert any(line.startswith("    img/03.png  ") and " → " in line for line in out)
    assert scene.loragit("diff", TWO).out == done.out, "the run before it"

    stat = scene.loragit("diff", ONE, TWO, "--stat", "--exit-code")
    assert stat.status == 1
    assert stat.out.splitlines() == [
        "Arguments       1 added",
        "Code            1 changed; sd-scripts: +1 commit",
        "Dataset config  1 changed",
        "Sample prompts  1 changed",
        "Captions        1 changed, 1 removed; tags: 1 removed, 1 added",
        "Images          1 changed, 1 added, 1 removed",
    ]
    document = json.loads(scene.loragit("diff", ONE, TWO, "--json").out)
    fits(document)
    assert document["tags"] == [
        {"tag": "a round thing", "removed": 1, "added": 0},
        {"tag": "hat", "removed": 0, "added": 1},
    ]
    assert document["code"][0]["added"][0]["subject"] == "a change of the trainer"
    assert (document["same"], document["not_compared"]) == (False, [])


def test_the_same_inputs_are_said_to_be_the_same(scene: Scene) -> None:
    assert scene.train(ONE, "--", "--learning_rate", "1e-4").status == 0
    assert scene.train(TWO, "--", "--learning_rate", "0.0001").status == 0
    done = scene.loragit("diff", ONE, TWO, "--exit-code")
    names = " and ".join(
        f"{name} ({scene.git('rev-parse', '--short=8', name + '^{}')})" for name in (ONE, TWO)
    )
    assert done == (done.__class__)(0, f"the same inputs: {names}\n", "")
    assert scene.loragit("diff", ONE, TWO, "--stat").out == done.out
    document = json.loads(scene.loragit("diff", ONE, TWO, "--json").out)
    fits(document)
    assert document["same"] is True


def test_plain_git_diff_shows_the_two_records_and_takes_arguments(scene: Scene) -> None:
    assert scene.train(ONE).status == 0
    (scene.dataset / "img" / "00.txt").write_text("hat")
    assert scene.train(TWO).status == 0
    done = scene.loragit("diff", ONE, TWO, "--git", "--", "--", "captions")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("diff --git a/captions/img/00.txt b/captions/img/00.txt\n")
    assert "+hat\n" in done.out
    assert "run.toml" not in done.out
    told = scene.loragit("diff", ONE, TWO, "--tool", "--stat", "--exit-code")
    assert told.status == 1
    assert told.out.startswith(" captions/img/00.txt |  2 +-\n")
    wrong = scene.loragit("diff", ONE, TWO, "--git", "--", "--no-such-option")
    assert wrong.status == 129
    assert "usage: git diff" in wrong.err


def test_a_repository_cannot_have_a_program_of_its_own_run(scene: Scene) -> None:
    assert scene.train(ONE).status == 0
    (scene.dataset / "img" / "00.txt").write_text("hat")
    assert scene.train(TWO).status == 0
    for key in ("diff.external", "core.pager", "pager.diff"):
        scene.git("config", key, "touch ~/evil; false")
    done = on_a_terminal(scene, "diff", ONE, TWO, "--git", PAGER="sed s/^/paged:/")
    assert "paged:" in done
    assert "+hat" in done
    assert "paged:" in on_a_terminal(scene, "diff", ONE, TWO, PAGER="sed s/^/paged:/")
    assert not (scene.home / "evil").exists()


def on_a_terminal(scene: Scene, *words: str, **environ: str) -> str:
    screen, terminal = pty.openpty()
    with subprocess.Popen(
        [*LORAGIT, *words],
        cwd=scene.dataset,
        env={**os.environ, "TERM": "dumb", "COLUMNS": "60", **environ},
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    ):
        os.close(terminal)
        data = b""
        while piece := read(screen):
            data += piece
    os.close(screen)
    return data.decode()


def read(screen: int) -> bytes:
    try:
        return os.read(screen, 65536)
    except OSError as error:
        assert error.errno == errno.EIO
        return b""


# ---- which runs are meant ----


def second_dataset(scene: Scene) -> Path:
    other = write_dataset(scene.home / "datasets" / "mark")
    git(other, "init", "-q")
    (other / "img" / "00.txt").write_text("zqx, mark")
    commit_all(other, "another")
    return other


def test_runs_of_two_datasets_are_found_and_compared(scene: Scene) -> None:
    other = second_dataset(scene)
    sealed(open_store(scene.dataset), ONE)
    sealed(
        open_store(other),
        "noob-mark-v1s4",
        dataset="mark",
        entries=files({"captions/img/00.txt": "hat"}),
    )
    sealed(open_store(other), ONE, dataset="mark")
    done = scene.loragit("diff", ONE, "noob-mark-v1s4")
    assert "+ noob-mark-v1s4" in done.out
    assert f"in {other}" in done.out
    assert "    img/00.txt  - zqx  + hat" in done.out.splitlines()
    plain = scene.loragit("diff", ONE, "noob-mark-v1s4", "--git", "--", "--", "captions")
    assert (plain.status, plain.err) == (0, "")
    assert plain.out.endswith(
        "-zqx\n\\ No newline at end of file\n+hat\n\\ No newline at end of file\n"
    )
    named = scene.loragit("diff", ONE, f"mark:{ONE}")
    assert named.out.startswith("the same inputs: ")
    assert scene.loragit("diff", ONE, f"../mark:{ONE}").out == named.out
    assert scene.loragit("diff", ONE, ONE, "--dataset", "mark", cwd=scene.home).out.startswith(
        "the same inputs: "
    )

    both = scene.loragit("diff", ONE, "noob-mark-v1s4", cwd=scene.home)
    assert both.status == 1
    assert (
        f"{ONE} means runs of several datasets: {ONE} in {scene.dataset}, {ONE} in {other}"
        in both.err
    )
    assert "hint: say which: DATASET:NAME, or --dataset" in both.err
    lacking = scene.loragit("diff", ONE, "nope:noob")
    assert lacking.status == 2
    assert "the dataset of nope:noob: there is no folder" in lacking.err


def test_a_name_in_full_goes_before_what_begins_so_elsewhere(scene: Scene) -> None:
    other = second_dataset(scene)
    for name in (f"{ONE}0", f"{ONE}1"):
        sealed(open_store(other), name)
    sealed(open_store(scene.dataset), ONE)
    assert scene.loragit("diff", ONE, ONE, cwd=scene.home).out.startswith("the same inputs: ")
    many = scene.loragit("diff", "noob-gren-v1s4", "noob-gren-v1s4", cwd=other)
    assert "means several runs" in many.err
    many = scene.loragit("diff", f"{ONE}0", "noob", cwd=scene.home)
    assert many.status == 1
    assert "noob means several runs: " in many.err


def test_what_cannot_be_compared_is_refused_with_a_next_step(scene: Scene) -> None:
    nowhere = scene.loragit("diff", ONE, cwd=scene.home, HOME=str(scene.home / "nobody"))
    assert nowhere.status == 1
    assert "is in no git repository" in nowhere.err
    assert f"there is no run {ONE} on record" in scene.loragit("diff", ONE).err
    sealed(open_store(scene.dataset), ONE)
    first = scene.loragit("diff", ONE)
    assert (first.status, first.out) == (1, "")
    assert first.err == (
        f"error: there is no finished run of gren before {ONE}\n"
        f"hint: name the run to compare it with: loragit diff EARLIER {ONE}\n"
    )
    for words, told in (
        ((ONE, ONE, ONE), "one run or two are compared"),
        (("--", "--stat"), "one run or two are compared"),
        ((ONE, ONE, "--", "--stat"), "what follows -- is for git diff"),
        ((ONE, ONE, "--json", "--stat"), "--json tells all"),
        ((ONE, ONE, "--json", "--git"), "--json tells all"),
    ):
        done = scene.loragit("diff", *words)
        assert (done.status, done.out) == (2, "")
        assert told in done.err


# ---- what a record does not tell ----


def test_a_reverted_run_is_compared_in_full(dataset: Path) -> None:
    put(dataset, ONE)
    reverted(open_store(dataset), TWO, "CUDA out of memory")
    found = compared(dataset)
    assert [each.path for each in found.captions] == ["img/00.txt"]
    assert found.not_compared == (
        f"images: not on record of {TWO}",
        f"environment and packages: not on record of {TWO}",
    )


def test_what_an_imported_run_lacks_is_said_and_not_taken_for_a_difference(scene: Scene) -> None:
    folder = leave(scene.output, ONE, scene.dataset)
    assert scene.loragit("import", str(folder)).status == 0
    assert scene.train(TWO).status == 0
    done = scene.loragit("diff", ONE, TWO)
    assert ", imported" in done.out
    assert done.out.partition("\nNot compared\n")[2].splitlines() == [
        f"  other arguments: not on record of {ONE}",
        f"  captions: not on record of {ONE}",
        f"  images: not on record of {ONE}",
        f"  environment and packages: not on record of {ONE}",
    ]
    out = done.out.partition("\nNot compared\n")[0].splitlines()
    arguments = out[out.index("Arguments") + 1 :]
    told = [line.split() for line in arguments[: arguments.index("")]]
    assert ["-", "network_dim", "4"] in told
    assert [words[0] for words in told if words[0] != "-"] == ["max_train_steps"]
    assert "  - train_lokr.zsh  3 lines" in out
    assert not any("metadata.toml" in line for line in out)
    assert any("1f1f1f1f not in" in line for line in out)
    document = json.loads(scene.loragit("diff", ONE, TWO, "--json").out)
    fits(document)
    assert document["before"]["imported"] is True
    other = leave(scene.output, "noob-gren-v3s4", scene.dataset, session=8)
    assert scene.loragit("import", str(other)).status == 0
    both = scene.loragit("diff", ONE, "noob-gren-v3s4").out
    assert "metadata.toml" in both
    assert f"captions: not on record of {ONE} and noob-gren-v3s4" in both


def test_weights_whose_hash_only_one_side_has_are_not_told_to_differ(dataset: Path) -> None:
    base = Weights("Base-Model", "noob.safetensors", None)
    put(dataset, ONE, weights=(base, Weights("VAE", "one", None)))
    put(dataset, TWO, weights=(base._replace(sha256="d" * 64), Weights("VAE", "two", "e" * 64)))
    found = compared(dataset)
    assert [change.key for change in found.changes] == ["VAE"]
    assert found.not_compared == ("Base-Model: its hash is not on record of both",)


# ---- documents, captions, other things ----


def test_what_is_only_written_otherwise_is_no_difference(dataset: Path) -> None:
    put(
        dataset,
        ONE,
        {"config.toml": "rate = 1e-4\n[a]\nb = 1\n", "sample-prompts.txt": "one\ntwo\n"},
    )
    put(
        dataset,
        TWO,
        {
            "config.toml": "# mine\nrate = 0.0001\na.b = 1.0\n",
            "sample-prompts.txt": "one\r\ntwo\r\n",
        },
    )
    found = compared(dataset)
    assert found.same
    out = list(lines.difference_lines(found, (), None, brief=False))
    assert out[0].startswith("the same inputs: ")
    assert out[1:] == ["", "Only written otherwise", "  sample-prompts.txt", "  config.toml"]
    assert list(stat.stat_rows(found, ())) == []


def test_documents_are_compared_by_value_where_they_can_be(dataset: Path) -> None:
    put(
        dataset,
        ONE,
        {
            "config.toml": "[general]\nkeep_tokens = 1\n",
            "inputs/preset.toml": "a = 1\n",
            "inputs/list.json": "[1, 2]",
            "inputs/bad.json": "{",
            "inputs/gone.toml": "a = 1\nb = 2\n",
            "own.sh": "echo\n",
        },
    )
    sealed(
        open_store(dataset),
        TWO,
        entries=files(
            {
                "config.json": '{"general": {"keep_tokens": 2}}',
                "dataset.sha256": "",
                "environment.txt": "Python: 3.11\n\n",
                "inputs/preset.toml": "a = 'x'\n",
                "inputs/list.json": "[1, 3]",
                "inputs/bad.json": "{}",
                "own.sh": "echo two\n",
                "new.sh": "one\n",
            }
        ),
    )
    found = compared(dataset)
    out = shown(found)
    assert out[1:] == [
        "Dataset config",
        "    config.json",
        "      general.keep_tokens  1 → 2",
        "",
        "Inputs",
        "    inputs/bad.json",
        "    - {",
        "    + {}",
        "  - inputs/gone.toml  2 values",
        "    inputs/list.json",
        '      ""  [1, 2] → [1, 3]',
        "    inputs/preset.toml",
        '      a  1 → "x"',
        "",
        "Other files",
        "    own.sh",
        "    - echo",
        "    + echo two",
        "  + new.sh  1 line",
    ]
    assert list(stat.stat_rows(found, ()))[1:] == [
        ("Inputs", "3 changed, 2 removed"),
        ("Other files", "1 changed, 1 added"),
    ]


def test_what_is_nested_too_deep_for_values_is_compared_by_line(dataset: Path) -> None:
    deep = '{"a":' * 480 + "{}" + "}" * 480
    put(dataset, ONE, {"inputs/deep.json": deep})
    put(dataset, TWO, {"inputs/deep.json": deep.replace("{}", "1")})
    (document,) = compared(dataset).documents
    assert (document.values, len(document.lines)) == ((), 2)


def test_captions_are_told_by_tag_by_order_and_by_blanks(dataset: Path) -> None:
    before = {f"captions/img/{number}.txt": "zqx, solo" for number in range(4)}
    after = {
        "captions/img/0.txt": "solo, zqx",
        "captions/img/1.txt": "zqx,solo",
        "captions/img/2.txt": "zqx",
        "captions/img/3.txt": "zqx, hat",
        "captions/img/4.txt": "zqx, new",
    }
    put(dataset, ONE, before)
    put(dataset, TWO, after)
    assert shown(compared(dataset))[1:] == [
        "Captions",
        "  - tag `solo` removed from 2 captions",
        "  + tag `hat` added to 1 caption",
        "    img/0.txt  another order: solo, zqx",
        "    img/1.txt  other blanks or line ends",
        "    img/2.txt  - solo",
        "    img/3.txt  - solo  + hat",
        "  + img/4.txt  zqx, new",
    ]


def test_environment_packages_patches_flags_and_repositories_are_told(dataset: Path) -> None:
    tools = CODE._replace(label="tools", commit="c" * 40)
    put(
        dataset,
        ONE,
        {
            "environment.txt": "Python: 3.11.7\nGPU: one\n\ntorch==2.6\nold==1\n",
            "patches/sd.patch": "x",
        },
        argv=("python", "sdxl_train_network.py", "--lowram", "--seed", "1"),
        repositories=(tools,),
    )
    put(
        dataset,
        TWO,
        {
            "environment.txt": "Python: 3.12.1\nGPU: one\nDriver: 5\n\ntorch==2.7\n",
            "patches/sd.patch": "y",
        },
        argv=("python", "sdxl_train_network.py", "--seed", "2"),
        repositories=(
            tools._replace(commit="d" * 40, dirty=("a.py",)),
            CODE._replace(label="more"),
        ),
        lycoris=LyCORIS(version="3.1.0"),
    )
    found = compared(dataset)
    out = shown(found)
    assert out[: out.index("Patches")] == [
        "",
        "Arguments",
        "    seed    1 → 2",
        "  - lowram",
        "",
        "Code",
        "  + LyCORIS commit  3.1.0",
        "    tools commit  cccccccc → dddddddd",
        "  + tools uncommitted  a.py",
        "  + more commit  aaaaaaaa",
        "",
        "Environment",
        "    Python  3.11.7 → 3.12.1",
        "  + Driver  5",
        "",
        "Packages",
        "    torch  2.6 → 2.7",
        "  - old    1",
        "",
    ]
    assert History.of(dataset).compare(found.before, found.after).phrases()[3:5] == (
        "tools cccccccc → dddddddd",
        "tools uncommitted changes",
    )


def test_long_values_are_cut_to_a_terminal_and_nowhere_else(dataset: Path) -> None:
    words = ("python", "sdxl_train_network.py", "--lr_scheduler_args")
    put(dataset, ONE, argv=(*words, "a" * 50), weights=(Weights("VAE", "v" * 90, None),))
    put(dataset, TWO, argv=(*words, "b" * 50))
    found = compared(dataset)
    assert f"    lr_scheduler_args  {'a' * 50} → {'b' * 50}" in shown(found)
    narrow = shown(found, width=40)
    assert [line for line in narrow if line.startswith(("    l", "    - a", "    + b"))] == [
        "    lr_scheduler_args",
        f"    - {'a' * 33}…",
        f"    + {'b' * 33}…",
    ]
    assert all(len(line) <= 40 for line in narrow)


# ---- commits between ----


def test_commits_between_are_listed_and_their_order_is_told(scene: Scene, tmp_path: Path) -> None:
    code = scene.trainer
    old = git(code, "rev-parse", "HEAD")
    for number in range(60):
        git(code, "commit", "-q", "--allow-empty", "-m", f"change {number}")
    new = git(code, "rev-parse", "HEAD")
    git(code, "checkout", "-q", "-b", "other", old)
    git(code, "commit", "-q", "--allow-empty", "-m", "\x1b[31m aside")
    aside = git(code, "rev-parse", "HEAD")

    ahead = commits.commits_between(code, old, new)
    assert ahead is not None
    assert (ahead.relation, ahead.added_count, ahead.removed_count) == (FORWARD, 60, 0)
    assert len(ahead.added) == commits.MOST
    assert ahead.added[0] == NamedCommit(new, "change 59")
    back = commits.commits_between(code, new, old)
    assert back is not None
    assert (back.relation, back.removed, back.removed_count) == (REVERSED, ahead.added, 60)
    apart = commits.commits_between(code, new, aside)
    assert apart is not None
    assert (apart.relation, apart.added_count, apart.removed_count) == (DIVERGED, 1, 60)
    lost = commits.commits_between(code, "e" * 40, new)
    assert lost == CommitsBetween(code, MISSING, missing=("e" * 40,))
    assert commits.commits_between(tmp_path / "nowhere", old, new) is None
    assert commits.commits_between(tmp_path, old, new) is None

    told = {each.relation: list(lines._between_lines(each)) for each in (ahead, back, apart, lost)}
    assert (told[FORWARD][0], told[FORWARD][-1]) == ("60 commits", "+ and 10 more")
    assert told[REVERSED][0] == "back by 60 commits: the later run has the earlier code"
    assert told[DIVERGED][0] == "the history diverged: 60 commits gone, 1 commit new"
    assert told[MISSING] == [f"eeeeeeee not in {code}"]
    assert [stat._commit_counts(each) for each in (ahead, back, apart, lost)] == [
        "+60 commits",
        "-60 commits",
        "-60 +1 commits",
        "commits not at hand",
    ]


def test_further_repositories_are_looked_up_where_the_settings_have_them(scene: Scene) -> None:
    tools = scene.home / "tools"
    tools.mkdir()
    git(tools, "init", "-q")
    (tools / "a.py").write_text("")
    commit_all(tools, "first")
    scene.settings(f'[record]\nrepos = ["{tools}"]\n')
    assert scene.train(ONE).status == 0
    (tools / "b.py").write_text("")
    commit_all(tools, "second")
    assert scene.train(TWO).status == 0
    out = scene.loragit("diff", ONE, TWO).out.splitlines()
    new = git(tools, "rev-parse", "--short=8", "HEAD")
    assert out[-2:] == ["      1 commit", f"      + {new} second"]
    assert "tools" in scene.loragit("log").out


# ---- JSON ----


def fits(document: object) -> None:
    """The document is as docs/schema/diff.json has it, down to every key."""
    schema = json.loads((ROOT / "docs" / "schema" / "diff.json").read_text())
    check(document, schema, schema["$defs"], "$")


KINDS: dict[str, Callable[[object], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def check(
    value: object, schema: dict[str, object], defs: dict[str, dict[str, object]], at: str
) -> None:
    """As much of JSON Schema as the schema uses; a key that it does not name is wrong here."""
    if "$ref" in schema:
        check(value, defs[str(schema["$ref"]).rpartition("/")[2]], defs, at)
        return
    told = schema.get("type", [])
    kinds = [told] if isinstance(told, str) else list(told)  # type: ignore[call-overload]
    assert not kinds or any(KINDS[kind](value) for kind in kinds), f"{at}: {value!r} is not {kinds}"
    assert "enum" not in schema or value in schema["enum"], f"{at}: {value!r}"  # type: ignore[operator]
    if isinstance(value, dict):
        properties = schema["properties"]
        assert isinstance(properties, dict)
        assert set(value) == set(properties) == set(schema["required"]), at  # type: ignore[call-overload]
        for key, each in value.items():
            check(each, properties[key], defs, f"{at}.{key}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            check(each, schema["items"], defs, f"{at}[{number}]")  # type: ignore[arg-type]


def test_the_schema_refuses_what_is_otherwise() -> None:
    with pytest.raises(AssertionError):
        fits({})


# ---- speed ----


def test_of_ten_thousand_captions_only_those_that_changed_are_read(dataset: Path) -> None:
    before = {
        f"captions/img/{number:05d}.txt": f"zqx, solo, number {number}" for number in range(10_000)
    }
    digests = "".join(f"{number:064x}  img/{number:05d}.png\n" for number in range(10_000))
    after = {
        path: words.replace("solo, ", "") if path.endswith("77.txt") else words
        for path, words in before.items()
    }
    put(dataset, ONE, {**before, "dataset.sha256": digests})
    put(dataset, TWO, {**after, "dataset.sha256": digests.replace("0000a  img", "0000b  img")})
    with within(5):  # well under a second on a machine of its own
        found = compared(dataset)
    assert [tuple(each) for each in found.tags] == [("solo", 100, 0)]
