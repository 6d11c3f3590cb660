"""``loragit log`` and ``show`` over histories of several runs: filters, order, what changed, what a
terminal gets."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import zlib
from contextlib import suppress
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragit import History
from loragit.commands.log import telling_line
from loragit.commands.show import size
from loragit.history import cache, lineage, losses
from loragit.history.cache import HistoryCache
from loragit.history.history import RecordedRun
from loragit.history.query.selection import name_matches
from loragit.history.query.where import BadCondition, Condition, as_written
from loragit.record.name import RunName
from loragit.record.values import Entry, LyCORIS, Weights
from loragit.trainers.sd_scripts.trainer import SdScripts
from tests.support.made_up_runs import (
    MOMENT,
    NAME,
    a_run,
    an_outcome,
    open_store,
    reverted,
    sealed,
    untagged,
)
from tests.support.paths import ROOT, SD_SCRIPTS
from tests.support.processes import LORAGIT, git, read_all
from tests.support.user_home import Scene, make_scene

SECRET = "0123456789abcdef" * 2 + "01234567"
SCRIPT = ("python", "sdxl_train_network.py")


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


def listed(scene: Scene, *args: str) -> list[str]:
    done = scene.loragit("log", "--json", *args)
    assert done.status == 0, done.err
    return [run["run"] for run in json.loads(done.out)]


def three_runs(scene: Scene) -> None:
    """Of rank 8, 16 and 32, with losses that fall; one of the model pony."""
    store = open_store(scene.dataset)
    for number, (name, rank, loss) in enumerate(
        (("noob-gren-v1s4", "8", 0.3), ("noob-gren-v2s8", "16", 0.2), ("pony-gren-v3s4", "32", 0.1))
    ):
        parts = RunName.parse(name)
        argv = (*SCRIPT, "--network_dim", rank, "--network_args", "conv_dim=4", "--xformers")
        run = a_run(name=name, steps=parts.steps, argv=argv)
        opened = store.open(run)
        store.seal(opened, an_outcome(final_loss=loss, samples=number))


# ---- arguments, wherever they come from ----


def test_what_a_file_of_the_gui_says_is_told_as_any_other_argument(scene: Scene) -> None:
    gui = scene.home / "gui.toml"
    for name, rate, more in ((NAME, "1e-4", ()), ("noob-gren-v2s4", "5e-5", ("--seed", "9"))):
        gui.write_text(
            f'network_dim = 4\nlearning_rate = {rate}\nseed = 7\nnetwork_args = ["algo=lokr"]\n'
            f'lowram = true\nwandb_api_key = "{SECRET}"\noutput_name = "gui"\n'
        )
        done = scene.train(name, "--allow-secrets", "--", "--config_file", str(gui), *more)
        assert done.status == 0, done.err
    shown = [line.split() for line in scene.loragit("show", NAME).out.splitlines()]
    for name, value in (("network_dim", "4"), ("learning_rate", "1e-4"), ("seed", "7")):
        assert [name, value] in shown, name
    assert SECRET not in scene.loragit("show", f"{NAME}:run.toml").out
    changed = ["learning_rate 1e-4 → 5e-5", "seed 7 → 9"]
    assert json.loads(scene.loragit("log", "--json", "-n", "1").out)[0]["changed"] == changed
    different = json.loads(scene.loragit("diff", "noob-gren-v2s4", "--json").out)
    assert [f"{c['key']} {c['before']} → {c['after']}" for c in different["changes"]] == changed
    assert different["documents"] == []
    assert listed(scene, "--where", "learning_rate=0.0001", "--where", "algo=lokr") == [NAME]
    assert listed(scene, "--where", "args.seed>8", "--sort", "seed") == ["noob-gren-v2s4"]


def test_a_default_of_the_trainer_is_shown_as_one_and_found(scene: Scene) -> None:
    defaults = {"network_dim": ("4",), "lowram": ()}
    arguments = {"network_alpha": ("2",), "network_module": ("networks.lora",)}
    sealed(open_store(scene.dataset), NAME, arguments=arguments, defaults=defaults)
    out = scene.loragit("show", NAME).out
    assert (
        "Network\n"
        "  network_module  networks.lora\n"
        "  network_dim     4 (default)\n"
        "  network_alpha   2\n"
    ) in out
    assert "  lowram  yes (default)\n" in out
    document = json.loads(scene.loragit("show", NAME, "--json").out)
    assert document["args"] == {"network_alpha": ["2"], "network_module": ["networks.lora"]}
    assert document["defaults"] == {"lowram": [], "network_dim": ["4"]}
    assert listed(scene, "--where", "network_dim=4.0") == [NAME]


# ---- which runs ----


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (("v1",), ["noob-gren-v1s4"]),
        (("*s4",), ["pony-gren-v3s4", "noob-gren-v1s4"]),
        (("v1", "v3"), ["pony-gren-v3s4", "noob-gren-v1s4"]),
        (("--model", "pony"), ["pony-gren-v3s4"]),
        (("--version", "2", "--version", "3"), ["pony-gren-v3s4", "noob-gren-v2s8"]),
        (("--state", "reverted,sealed", "-n", "1"), ["pony-gren-v3s4"]),
        (("--state", "running"), []),
        (("--where", "args.network_dim>=16"), ["pony-gren-v3s4", "noob-gren-v2s8"]),
        (
            ("--where", "args.network_dim>=16", "--where", "outcome.final_loss > 0.15"),
            ["noob-gren-v2s8"],
        ),
        (
            ("--where", "args.conv_dim=4.0", "--where", "args.xformers=true", "--reverse", "-n1"),
            ["noob-gren-v1s4"],
        ),
        (("--where", "run.model!=noob"), ["pony-gren-v3s4"]),
        (("--where", "name~^noob.*s8$"), ["noob-gren-v2s8"]),
        (("--sort", "outcome.final_loss"), ["pony-gren-v3s4", "noob-gren-v2s8", "noob-gren-v1s4"]),
        (("--sort", "name", "--reverse", "-n", "2"), ["pony-gren-v3s4", "noob-gren-v2s8"]),
        (("--sort", "opened", "--reverse"), ["noob-gren-v1s4", "noob-gren-v2s8", "pony-gren-v3s4"]),
        (("--grep", "VERSION 2"), ["noob-gren-v2s8"]),
        (
            ("--since", "yesterday", "--until", "now"),
            ["pony-gren-v3s4", "noob-gren-v2s8", "noob-gren-v1s4"],
        ),
        (("--until", "2001-02-03"), []),
        (("--since", "2001-02-03", "noob"), ["noob-gren-v2s8", "noob-gren-v1s4"]),
        (("--dataset", "gren", "--all"), ["pony-gren-v3s4", "noob-gren-v2s8", "noob-gren-v1s4"]),
    ],
    ids=" ".join,
)
def test_a_log_lists_what_is_asked_for(
    scene: Scene, args: tuple[str, ...], names: list[str]
) -> None:
    three_runs(scene)
    assert listed(scene, *args) == names


@pytest.mark.parametrize(
    ("args", "error", "hint"),
    [
        (
            ("--where", "rank"),
            "'rank' is not a condition",
            "a key, one of = != < <= > >= ~, and a value, as in",
        ),
        (("--where", "name~("), "'(' is no regular expression", "as in name~^noob"),
        (
            ("--where", "args.network_dmi=1"),
            "no run has a value args.network_dmi",
            "did you mean args.network_dim?",
        ),
        (
            ("--where", "final_loss=1"),
            "no run has a value final_loss",
            "did you mean outcome.final_loss? there",
        ),
        (("--sort", "loss"), "no run has a value loss", "there are: "),
        (
            ("--state", "done"),
            "there is no state done",
            "states are running, interrupted, sealed, reverted, untagged",
        ),
        (
            ("--since", "soonish"),
            "'soonish' is no date",
            "for example 2026-11-23, yesterday or '2 weeks ago'",
        ),
        (("--until", "2026-02-31"), "'2026-02-31' is no date", "for example"),
    ],
    ids=" ".join,
)
def test_a_filter_that_means_nothing_is_an_error(
    scene: Scene, args: tuple[str, ...], error: str, hint: str
) -> None:
    three_runs(scene)
    done = scene.loragit("log", *args)
    assert (done.status, done.out) == (2, "")
    assert f"error: {error}" in done.err
    assert f"hint: {hint}" in done.err


def test_where_nothing_is_as_asked_the_log_says_so(scene: Scene) -> None:
    three_runs(scene)
    done = scene.loragit("log", "v9")
    assert (done.status, done.out, done.err) == (
        0,
        "",
        "loragit: none of 3 runs on record matches\n",
    )
    assert listed(scene, "v9", "--where", "nothing=1", "--sort", "nothing") == []


def test_the_words_of_notes_and_outcomes_and_reverts_are_found(scene: Scene) -> None:
    store = open_store(scene.dataset)
    first = sealed(store, NAME)
    reverted(store, "noob-gren-v2s4", "CUDA out of memory")
    scene.git("notes", "add", "-m", "2026-11-24T08:00:00Z best so far", first.commit)
    assert listed(scene, "--grep", "best so far") == [NAME]
    assert listed(scene, "--grep", "42 min") == [NAME]
    assert listed(scene, "--grep", "cuda OUT") == ["noob-gren-v2s4"]


def test_a_run_whose_name_or_record_cannot_be_read_passes_no_filter_on_it(scene: Scene) -> None:
    three_runs(scene)
    tree = git(scene.dataset, "mktree", text_input="")
    odd = scene.git(
        "commit-tree", "-p", "runs", "-m", "s\n\nRun: a b\nDataset: gren\nLoragit-Format: 2", tree
    )
    scene.git("update-ref", "refs/heads/runs", odd)
    assert listed(scene)[0] == "a b"
    assert len(listed(scene, "--model", "noob")) == 2
    assert len(listed(scene, "--where", "args.network_dim>0")) == 3
    assert "a b" in listed(scene, "--where", "args.network_dim!=8")
    (odd_one,) = json.loads(scene.loragit("log", "a b", "--json").out)
    assert (odd_one["changed"], odd_one["changed_since"], odd_one["format"]) == (None, None, 2)


def test_only_runs_of_the_dataset_that_is_named_are_listed(scene: Scene) -> None:
    store = open_store(scene.dataset)
    for name, prefix in (("noob-a-v1s4", "a"), ("noob-b-v1s4", "b")):
        sealed(store, name, prefix=prefix, dataset=prefix)
        (scene.dataset / prefix).mkdir()
    assert listed(scene, "--dataset", "b") == ["noob-b-v1s4"]
    assert listed(scene) == ["noob-b-v1s4", "noob-a-v1s4"]


def test_all_datasets_are_one_log_with_the_dataset_in_front(scene: Scene) -> None:
    sealed(open_store(scene.dataset), NAME)
    other = scene.home / "datasets" / "mark"
    other.mkdir()
    git(other, "init", "-q")
    sealed(open_store(other), "noob-mark-v1s4", dataset="mark")
    done = scene.loragit("log", "--all", cwd=scene.home)
    assert sorted(line.split()[0:2] for line in done.out.splitlines()) == [
        ["gren", NAME],
        ["mark", "noob-mark-v1s4"],
    ]
    assert sorted(
        run["repository"] for run in json.loads(scene.loragit("log", "--all", "--json").out)
    ) == [
        str(scene.dataset),
        str(other),
    ]


def test_a_shallow_clone_is_told(scene: Scene, tmp_path: Path) -> None:
    store = open_store(scene.dataset)
    sealed(store, NAME)
    sealed(store, "noob-gren-v2s4")
    clone = tmp_path / "clone"
    git(
        tmp_path, "clone", "-q", "--depth=1", "--branch=runs", f"file://{scene.dataset}", str(clone)
    )
    done = scene.loragit("log", cwd=clone)
    assert done.out.startswith("noob-gren-v2s4")
    assert done.err == f"loragit: {clone} is a shallow clone: older runs are missing here\n"


# ---- what is told of them ----


def test_runs_that_made_nothing_are_told_with_the_line_that_says_why(scene: Scene) -> None:
    store = open_store(scene.dataset)
    sealed(store, NAME)
    reverted(store, "noob-gren-v2s4", "Traceback", "RuntimeError: CUDA out of memory", "", "bye")
    untagged(store, "noob-gren-v3s4")
    reverted(store, "noob-gren-v4s4")
    lines = [line.split("  ") for line in scene.loragit("log", "--failed").out.splitlines()]
    assert [(line[0], line[-1]) for line in lines] == [
        ("noob-gren-v4s4", "The trainer ended with exit status 1 and made nothing."),
        ("noob-gren-v3s4", "its tag was deleted; nothing says why"),
        ("noob-gren-v2s4", "RuntimeError: CUDA out of memory"),
    ]
    assert telling_line(("one", "two ", "")) == "two"
    assert telling_line(()) == ""


def test_what_is_not_as_it_should_be_is_told_of_the_outcome(scene: Scene) -> None:
    store = open_store(scene.dataset)
    outcome = an_outcome(
        exit_status=130,
        truncated=("a.st",),
        unreadable=("b.st",),
        states=("s-state",),
        final_loss=float("nan"),
    )
    store.seal(store.open(a_run()), outcome)
    (line,) = scene.loragit("log").out.splitlines()
    assert (
        "  1 model, 1 state, 1 cut short, 1 unreadable, exit status 130  2 samples  loss nan  "
        in line
    )
    (run,) = json.loads(scene.loragit("log", "--json").out)
    assert (run["exit_status"], run["final_loss"], run["truncated_count"]) == (130, None, 1)
    shown = scene.loragit("show", NAME).out.splitlines()
    for line in (
        "  a.st  cut short",
        "  b.st  could not be read",
        "  s-state/  training state",
        "  in the end nan",
    ):
        assert line in shown


def follow_on(scene: Scene, name: str, *trailers: str) -> None:
    """A run that somebody else's loragit recorded, with trailers of its own."""
    message = "\n".join(
        [f"{name}: a run", "", f"Run: {name}", "Dataset: gren", *trailers, "Loragit-Format: 1"]
    )
    tree = scene.git("rev-parse", "runs^{tree}")
    scene.git(
        "update-ref", "refs/heads/runs", scene.git("commit-tree", "-p", "runs", "-m", message, tree)
    )


def test_lineage_is_drawn_as_a_tree(scene: Scene) -> None:
    sealed(open_store(scene.dataset), "root")
    commit = scene.git("rev-parse", "runs")
    follow_on(scene, "one", f"Resumed-From: root {commit}")
    follow_on(scene, "two", "Derived-From: nobody", "Derived-From: root (sealed)")
    follow_on(scene, "three", "Resumed-From: one")
    follow_on(scene, "self", "Resumed-From: self")
    names = [
        line.partition("  20")[0].rstrip()
        for line in scene.loragit("log", "--graph").out.splitlines()
    ]
    assert names == [
        "self",
        "root",
        "├─ two (from its weights)",
        "└─ one (resumed)",
        "   └─ three (resumed)",
    ]
    plain = scene.loragit("log", "--graph", PYTHONIOENCODING="ascii").out
    assert "|- two (from its weights)" in plain
    shown = scene.loragit("show", "one").out.splitlines()
    assert f"  resumed from root {commit}" in shown
    assert "  three went on from it (resumed)" in shown
    assert "  started from the weights of nobody" in scene.loragit("show", "two").out.splitlines()


def test_forged_circles_lose_no_run(scene: Scene) -> None:
    sealed(open_store(scene.dataset), "a")
    runs = list(History.of(scene.dataset).runs)
    circle = [
        runs[0]._replace(
            name=name, commit=name * 40, message=f"s\n\nRun: {name}\nResumed-From: {other}\n"
        )
        for name, other in (("a", "b"), ("b", "a"))
    ]
    assert [(twig.run.name, twig.drawn) for twig in lineage.lineage_tree(circle)] == [
        ("a", ""),
        ("b", ""),
    ]


# ---- what a terminal gets ----


def on_terminal(scene: Scene, *args: str, **environ: str) -> list[str]:
    """What ``loragit ARGS`` shows on a terminal."""
    ours, theirs = pty.openpty()
    settings = {"PAGER": "cat", "TERM": "dumb", **environ}
    child = subprocess.Popen(
        [*LORAGIT, *args], cwd=scene.dataset, env={**os.environ, **settings}, stdout=theirs
    )
    os.close(theirs)
    data = read_all(ours)
    os.close(ours)
    assert child.wait() == 0
    return data.decode().replace("\r\n", "\n").splitlines()


def test_a_line_fits_the_terminal(scene: Scene) -> None:
    three_runs(scene)
    wide = on_terminal(scene, "log", COLUMNS="200")
    assert wide == scene.loragit("log").out.splitlines()
    assert wide[0].endswith("network_dim 16 → 32")
    narrow = on_terminal(scene, "log")
    assert len(narrow[0]) <= 80
    assert narrow[0].endswith("  sealed  1 model  network_dim 16 → 32")
    tiny = on_terminal(scene, "log", COLUMNS="60")
    assert (len(tiny[0]), tiny[0][-1]) == (60, "…")


def test_wide_letters_are_aligned_and_cut_by_columns(scene: Scene) -> None:
    store = open_store(scene.dataset)
    sealed(store, "noob-画-v1s4", dataset="画")
    sealed(store, NAME)
    first, second = scene.loragit("log").out.splitlines()
    assert first.index("sealed") == second.index("sealed") + 1


def test_a_pager_gets_what_a_terminal_would(scene: Scene, tmp_path: Path) -> None:
    three_runs(scene)
    copy = tmp_path / "copy"
    for variable in ("GIT_PAGER", "PAGER"):
        shown = on_terminal(
            scene, "log", COLUMNS="200", **{variable: f"echo paged $LESS; cat > {copy}"}
        )
        assert shown == ["paged FRX"]
        assert copy.read_text() == scene.loragit("log").out
    assert on_terminal(scene, "log", GIT_PAGER="exit 3")[:1] == []
    assert on_terminal(scene, "log", GIT_PAGER="")[0].startswith("pony")
    scene.git("config", "core.pager", f"touch {tmp_path / 'evil'}; cat")
    assert on_terminal(scene, "log")[0].startswith("pony")
    assert not (tmp_path / "evil").exists(), "the repository's own configuration runs nothing"
    assert on_terminal(scene, "show", NAME)[0].startswith(NAME)


# ---- show ----


def test_a_file_of_a_record_is_printed_byte_for_byte(scene: Scene) -> None:
    data = b"\x00\xff\x1b[31m\r\nno newline at the end"
    sealed(open_store(scene.dataset), NAME, entries=(*a_run().entries, Entry("inputs/odd", data)))
    done = subprocess.run(
        [*LORAGIT, "show", f"{NAME}:inputs/odd"], cwd=scene.dataset, capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (data, b"")
    gone = scene.loragit("show", f"{NAME}:inputs/even")
    assert (gone.status, gone.out) == (1, "")
    assert f"error: the record of {NAME} holds no file inputs/even" in gone.err


def test_everything_that_is_on_record_is_shown(scene: Scene) -> None:
    started = (
        "accelerate",
        "launch",
        "~/sd/sdxl_train_network.py",
        "--network_dim",
        "8",
        "--lowram",
        "--seed",
        "1",
    )
    argv = (
        *started,
        "--network_args",
        "a=1",
        "b=it's",
        "--learning_rate",
        "1e-4",
        "--save_every_n_steps",
        "5",
    )
    code = a_run().trainer._replace(url="https://example.org/x", dirty=tuple("0123456"))
    environment = Entry(
        "environment.txt", b"Python: 3.11.7\nGPU: big\n\naccelerate==1.2\ntorch==2.6.0+cu124\n"
    )
    sealed(
        open_store(scene.dataset),
        NAME,
        argv=argv,
        trainer=code,
        lycoris=LyCORIS(version="3.2.0"),
        weights=(
            Weights("Base-Model", "x.safetensors", "ab" * 32),
            Weights("VAE", "hub/vae", None),
        ),
        entries=(*a_run().entries, environment),
        dataset_commit=scene.git("rev-parse", "HEAD"),
        dataset_dirty=2,
        prefix="sub",
    )
    lines = scene.loragit("show", NAME).out.splitlines()
    for expected in (
        "  network_args  a=1 'b=it'\"'\"'s'",
        "  lowram  yes",
        (
            f"  sd-scripts {'a' * 40} (sd3) of https://example.org/x; not committed: 0, 1, 2, 3, 4 "
            "and 2 more"
        ),
        "  LyCORIS release 3.2.0",
        f"  Base-Model: x.safetensors  sha256 {'ab' * 32}  AutoV2 ABABABABAB",
        "  VAE: hub/vae",
        (
            f"  gren in sub/: 1 image, 1 caption, at commit {scene.git('rev-parse', 'HEAD')[:8]}, "
            "2 "
            "files not committed"
        ),
        "  Python 3.11.7",
        "  torch 2.6.0+cu124, accelerate 1.2, CUDA 12.4",
        "  2 packages",
        "  cd ~/sd-scripts",
        "  accelerate launch ~/sd/sdxl_train_network.py \\",
        "    --lowram \\",
        "    --network_args a=1 'b=it'\"'\"'s' \\",
        "    --save_every_n_steps 5",
    ):
        assert expected in lines, expected
    order = [
        lines.index(title)
        for title in ("Network", "Learning rates", "Steps", "Saving and samples", "Repositories")
    ]
    assert order == sorted(order)


def test_what_changed_and_notes_and_namesakes_are_shown(scene: Scene) -> None:
    store = open_store(scene.dataset)
    sealed(store, "noob-gren-v0s4")
    gone = reverted(store, NAME)
    now = sealed(store, NAME, argv=(*SCRIPT, "--seed", "2"))
    scene.git("notes", "add", "-m", "too dark", now.commit)
    lines = scene.loragit("show", NAME).out.splitlines()
    at = lines.index("Changed")
    assert lines[at : at + 3] == ["Changed", "  since noob-gren-v0s4:", "    +seed 2"]
    assert lines[lines.index("Notes") + 1] == "  too dark"
    assert any(
        line.startswith(f"  {gone.commit[:8]}  2") and line.endswith("  reverted") for line in lines
    )
    (other,) = json.loads(scene.loragit("show", NAME, "--json").out)["others"]
    assert other["commit"] == gone.commit
    assert "    nothing" in scene.loragit("show", gone.commit).out.splitlines()


def test_a_record_of_a_later_format_is_shown_as_far_as_it_goes(scene: Scene) -> None:
    sealed(open_store(scene.dataset), "root")
    toml = scene.home / "later.toml"
    toml.write_text("format = 2\n")
    blob = scene.git("hash-object", "-w", str(toml))
    tree = git(scene.dataset, "mktree", text_input=f"100644 blob {blob}\trun.toml\n")
    message = (
        "later: a run\n\nRun: later\nDataset: gren\nImported: 2026\nMissing: "
        "script\nLoragit-Format: 2"
    )
    scene.git(
        "update-ref", "refs/heads/runs", scene.git("commit-tree", "-p", "runs", "-m", message, tree)
    )
    done = scene.loragit("show", "later")
    assert done.status == 0
    assert "warning: later is recorded in format 2, and this loragit reads format 1" in done.err
    assert "  Missing: script" in done.out.splitlines()
    assert "imported: 2026" in done.out.splitlines()
    document = json.loads(scene.loragit("show", "later", "--json").out)
    assert document["unreadable_record"].startswith("later is recorded in format 2")
    assert "args" not in document


# ---- JSON ----


def schema(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((ROOT / "docs" / "schema" / f"{name}.json").read_text())
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def test_the_documents_are_as_their_schemas_say_and_the_page_has_every_key(scene: Scene) -> None:
    store = open_store(scene.dataset)
    sealed(store, NAME, weights=(Weights("VAE", "x", None),), lycoris=LyCORIS(version="1"))
    gone = reverted(store, "noob-gren-v2s4", "x")
    untagged(store, "noob-gren-v3s4")
    store.open(a_run(name="noob-gren-v4s4"))
    log = json.loads(scene.loragit("log", "--json").out)
    jsonschema.validate(log, schema("log"))
    items = schema("log")["items"]
    assert isinstance(items, dict)
    page = (ROOT / "docs" / "json.md").read_text()
    keys = set()
    for run in log:
        assert run.keys() == items["properties"].keys()
    for name in (NAME, gone.commit, "noob-gren-v3s4", "noob-gren-v4s4"):
        document = json.loads(scene.loragit("show", name, "--json").out)
        jsonschema.validate(document, schema("show"))
        keys = document.keys()
        properties = schema("show")["properties"]
        assert isinstance(properties, dict)
        assert keys == properties.keys()
    assert [key for key in keys if f"`{key}`" not in page] == []


# ---- what is remembered ----


def memory_of(scene: Scene) -> Path:
    (file,) = (scene.home / ".cache" / "loragit" / "history").iterdir()
    return file


def test_what_is_remembered_says_the_same_and_new_runs_are_added(scene: Scene) -> None:
    three_runs(scene)
    before = scene.loragit("log")
    file = memory_of(scene)
    written = file.stat().st_mtime_ns
    assert scene.loragit("log") == before
    assert file.stat().st_mtime_ns == written, "nothing new"
    reverted(open_store(scene.dataset), "noob-gren-v4s4")
    scene.git("tag", "-d", NAME)
    with_memory = scene.loragit("log")
    file.unlink()
    assert scene.loragit("log") == with_memory
    assert [line.split("  ")[0] for line in with_memory.out.splitlines()] == [
        "noob-gren-v4s4",
        "pony-gren-v3s4",
        "noob-gren-v2s8",
        "noob-gren-v1s4",
    ]
    assert "untagged" in with_memory.out


@pytest.mark.parametrize("damage", [b"", cache._VERSIONS + b"00000000\nx", b"\xff" * 100])
def test_a_damaged_memory_is_no_memory(scene: Scene, damage: bytes) -> None:
    three_runs(scene)
    before = scene.loragit("log")
    file = memory_of(scene)
    for content in (damage, file.read_bytes()[:-1] + b"?", file.read_bytes()[: len(damage) + 40]):
        file.write_bytes(content)
        assert scene.loragit("log") == before
    assert HistoryCache(scene.dataset / ".git").rows


def test_a_memory_of_another_repository_is_not_believed(scene: Scene) -> None:
    three_runs(scene)
    listed(scene)
    file = memory_of(scene)
    body = (
        file.read_bytes().partition(b"\n")[2].replace(os.fsencode(scene.dataset), b"/elsewhere", 1)
    )
    for other in (body, body.partition(b"\0")[0]):
        file.write_bytes(cache._VERSIONS + f"{zlib.adler32(other):08x}\n".encode() + other)
        assert HistoryCache(scene.dataset / ".git").tip == ""


def test_a_rewritten_history_is_read_anew(scene: Scene) -> None:
    three_runs(scene)
    assert len(listed(scene)) == 3
    scene.git("update-ref", "refs/heads/runs", "runs~1")
    assert listed(scene) == ["noob-gren-v2s8", "noob-gren-v1s4"]
    merge = scene.git(
        "commit-tree", "-p", "runs", "-p", "pony-gren-v3s4^{commit}", "-m", "a merge", "runs^{tree}"
    )
    scene.git("update-ref", "refs/heads/runs", merge)
    assert len(listed(scene)) == 3
    scene.git("update-ref", "refs/heads/runs", "noob-gren-v1s4^{commit}")
    scene.git("tag", "-d", "pony-gren-v3s4", "noob-gren-v2s8")
    scene.git("reflog", "expire", "--expire=now", "--all")
    scene.git("gc", "-q", "--prune=now")
    assert listed(scene) == ["noob-gren-v1s4"], "the remembered tip is gone"


def test_where_nothing_can_be_remembered_the_log_is_the_same(scene: Scene) -> None:
    three_runs(scene)
    (scene.home / ".cache").mkdir()
    (scene.home / ".cache" / "loragit").write_text("in the way")
    assert len(listed(scene)) == 3


def test_what_is_not_used_any_more_is_forgotten(tmp_path: Path) -> None:
    known = HistoryCache(tmp_path)
    known.outcomes = {str(number): "x" for number in range(1500)}
    known.changes = {"a b": "c"}
    known.drop_unused({"7"}, set())
    assert (known.outcomes, known.changes) == ({"7": "x"}, {"a b": "c"})


# ---- the loss ----


def a_curve_run(scene: Scene, logs: Path, **changes: object) -> RecordedRun:
    store = open_store(scene.dataset)
    argv = (*SCRIPT, "--logging_dir", str(logs), "--log_prefix", "tiny_lora_")
    outcome = an_outcome(**changes)
    store.seal(store.open(a_run(argv=argv)), outcome)
    return History.of(scene.dataset).run(NAME)


def test_the_loss_is_drawn_where_its_events_are_still_there(scene: Scene, home: Path) -> None:
    logs = SD_SCRIPTS / "logs"
    scalars = list(losses._read_losses(logs.rglob("*v1s4*/*/events*"), SdScripts.losses))
    times = [scalar.wall_time for scalar in scalars]
    start = MOMENT.fromtimestamp(min(times), MOMENT.tzinfo)
    store = open_store(scene.dataset)
    argv = (*SCRIPT, "--logging_dir", "~/logs", "--log_prefix", "base-tiny")
    (home / "logs").symlink_to(logs)
    store.seal(
        store.open(a_run(argv=argv)), an_outcome(started=start, finished=start, final_loss=0.5)
    )
    lines = scene.loragit("show", NAME).out.splitlines()
    drawn = lines[lines.index("Loss") + 1].strip()
    assert set(drawn) <= set("▁▂▃▄▅▆▇█")
    assert len(drawn) == len({scalar.step for scalar in scalars})
    assert lines[lines.index("Loss") + 2].startswith("  1.109 at step 1, ")
    assert lines[lines.index("Loss") + 3] == "  in the end 0.5"
    plain = scene.loragit("show", NAME, PYTHONIOENCODING="ascii").out.splitlines()
    assert set(plain[plain.index("Loss") + 1].strip()) <= set("_.-:=+*#")


def test_events_of_another_time_are_not_the_runs(scene: Scene) -> None:
    run = a_curve_run(scene, SD_SCRIPTS / "logs")
    assert losses.read_curve(run, "/home/nobody") is None


def test_where_nothing_is_logged_there_is_no_curve(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "tiny_lora_1").mkdir()
    os.mkfifo(tmp_path / "tiny_lora_1" / "events.out.tfevents.1")
    run = a_curve_run(scene, tmp_path)
    assert losses.read_curve(run, "") is None
    assert list(losses._read_losses([tmp_path / "nothing"], SdScripts.losses)) == []
    assert list(losses.loss_files(tmp_path / "nowhere", "", SdScripts.losses)) == []
    sealed(open_store(scene.dataset), "no-logs")
    assert losses.read_curve(History.of(scene.dataset).run("no-logs"), "") is None
    untagged(open_store(scene.dataset), "gone")
    assert (
        losses.read_curve(History.of(scene.dataset).run("gone")._replace(path="nowhere"), "")
        is None
    )


def test_a_chart_has_a_letter_for_each_share_of_the_values() -> None:
    curve = losses.Curve(tuple(range(100)), (*map(float, range(99)), float("nan")))
    assert losses.chart(curve, 8, plain=False) == "▁▂▃▄▅▆▇█"
    assert losses.chart(losses.Curve((1, 2), (3.0, 3.0)), 8, plain=True) == "__"
    assert losses.chart(losses.Curve((1,), (float("inf"),)), 8, plain=True) == ""


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (227_540_992, "217 MiB"),
        (6_979_321_856, "6.5 GiB"),
    ],
)
def test_a_size_is_told_as_people_read_it(number: int, text: str) -> None:
    assert size(number) == text
    assert size(2**60).endswith(" TiB")


# ---- conditions ----

KEY = st.text(
    st.characters(blacklist_categories=["Cs", "Z", "Cc"], blacklist_characters="=!<>~"), min_size=1
)
KEYS = KEY.filter(lambda key: not any(letter.isspace() for letter in key))
VALUE = (
    st.text(st.characters(blacklist_categories=["Cs"]))
    .map(str.strip)
    .filter(lambda v: not v.startswith("="))
)


@given(KEYS, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), VALUE, st.sampled_from(["", " "]))
def test_a_condition_is_read_as_it_was_put_together(
    key: str, operator: str, value: str, blank: str
) -> None:
    assert Condition.parse(f"{key}{blank}{operator}{blank}{value}") == Condition(
        key, operator, value
    )


@given(st.text())
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    with suppress(BadCondition):
        Condition.parse(text).meets({"a": (1, "x", True, 0.5)})


NUMBERS = st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)


@given(NUMBERS, NUMBERS)
def test_numbers_are_ordered_by_value_however_they_are_written(one: float, other: float) -> None:
    for operator, holds in (("<", float(one) < float(other)), (">=", float(one) >= float(other))):
        assert Condition.parse(f"k{operator}{other!r}").meets({"k": (repr(one),)}) is holds
    assert Condition.parse(f"k={one!r}").meets({"k": (one,)})


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("k==1e0", True),
        ("k<b", False),
        ("w<b", True),
        ("w>=a", True),
        ("w>1", False),
        ("many=2", True),
        ("many!=2", False),
        ("none!=2", True),
        ("none=", False),
        ("flag=true", True),
        ("w~^.$", True),
    ],
)
def test_a_condition_holds_where_any_value_is_so(condition: str, holds: bool) -> None:
    values: dict[str, tuple[str | int | float | bool, ...]] = {
        "k": (1,),
        "w": ("a",),
        "many": (1, 2),
        "flag": (True,),
    }
    assert Condition.parse(condition).meets(values) is holds
    assert as_written(False) == "false"


def test_a_word_is_a_part_of_a_name_and_a_pattern_all_of_it() -> None:
    assert name_matches(NAME, "gren")
    assert not name_matches(NAME, "gren*")
    assert name_matches(NAME, "*gren*")
    assert name_matches(NAME, "noob-gren-v[12]s?")
