"""Every shape a dataset's repository may have, and every end a run may come to: plain git reads all
of it, and nothing of the user's is touched."""

from __future__ import annotations

import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import LORAGIT, commit_all, git
from tests.support.user_home import Scene, make_scene, make_trainer, parsed_trailers, write_dataset

SEALED, REVERTED, UNTAGGED, CHANGED = (f"noob-gren-v{number}s4" for number in (1, 2, 3, 4))
DESCRIBED = "noob on gren, version {}, 4 steps"


# ---- shapes of repositories ----


def ordinary(home: Path) -> Scene:
    return make_scene(home)


def several_datasets(home: Path) -> Scene:
    """``gren`` and ``mark`` in one repository; a run of ``mark`` is on record already."""
    top = home / "datasets"
    for name in ("gren", "mark"):
        write_dataset(top / name)
    git(top, "init", "-q")
    commit_all(top, "two datasets")
    scene = Scene(home, top / "gren", make_trainer(home / "source" / "repos" / "sd-scripts"))
    done = scene.loragit("train", "noob-mark-v1s4", cwd=top / "mark")
    assert done.status == 0, done.err
    return scene


def linked_worktree(home: Path) -> Scene:
    scene = make_scene(home / "elsewhere")
    git(scene.dataset, "config", "extensions.worktreeConfig", "true")
    dataset = home / "datasets" / "gren"
    scene.git("worktree", "add", "-q", "-b", "drawings", str(dataset))
    own_paths(dataset, scene.dataset)
    commit_all(dataset, "paths of this work tree")
    scene.trainer.parent.parent.rename(home / "source")
    return Scene(home, dataset, home / "source" / "repos" / "sd-scripts")


def submodule(home: Path) -> Scene:
    original = write_dataset(home / "original")
    git(original, "init", "-q")
    commit_all(original, "four drawings")
    outer = home / "datasets"
    outer.mkdir()
    git(outer, "init", "-q")
    git(
        outer,
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        str(original),
        "gren",
    )
    own_paths(outer / "gren", original)
    commit_all(outer / "gren", "paths of this clone")
    commit_all(outer, "a submodule")
    return Scene(home, outer / "gren", make_trainer(home / "source" / "repos" / "sd-scripts"))


def detached_head(home: Path) -> Scene:
    scene = make_scene(home)
    scene.git("checkout", "-q", "--detach")
    return scene


def no_commit_yet(home: Path) -> Scene:
    dataset = write_dataset(home / "datasets" / "gren")
    git(dataset, "init", "-q")
    git(dataset, "add", "config.toml")
    return Scene(home, dataset, make_trainer(home / "source" / "repos" / "sd-scripts"))


def autocrlf(home: Path) -> Scene:
    scene = make_scene(home)
    scene.git("config", "core.autocrlf", "true")
    scene.git("config", "core.safecrlf", "false")
    (scene.dataset / "img" / "00.txt").write_bytes(b"zqx,\r\nmixed\nends\r\n")
    (scene.dataset / "sample-prompts.txt").write_bytes(b"a round thing --d 1\r\na square thing\n")
    commit_all(scene.dataset, "ends of lines")
    return scene


def packed_refs(home: Path) -> Scene:
    scene = make_scene(home)
    scene.git("config", "core.packedRefsTimeout", "1000")
    scene.git("pack-refs", "--all")
    return scene


def spaces_and_letters(home: Path) -> Scene:
    """Both in the repository's path and in the path within it; two spaces that no trailer may make
    one."""
    top = home / "mes données" / "été 画"
    dataset = write_dataset(top / "les  dessins" / "gren")
    git(top, "init", "-q")
    commit_all(top, "quatre dessins")
    trainer = make_trainer(home / "source" / "repos" / "sd-scripts")
    return Scene(home, dataset, trainer, {"TRAINING_DIR": str(dataset)})


def symbolic_link(home: Path) -> Scene:
    """The dataset is known by a link, and its config by the same."""
    scene = make_scene(home / "disk")
    own_paths(scene.dataset, scene.dataset, home / "datasets" / "gren")
    commit_all(scene.dataset, "paths through the link")
    (home / "datasets").symlink_to(Path("disk", "datasets"))
    scene.trainer.parent.parent.rename(home / "source")
    return Scene(home, home / "datasets" / "gren", home / "source" / "repos" / "sd-scripts")


def own_paths(dataset: Path, before: Path, after: Path | None = None) -> None:
    config = dataset / "config.toml"
    config.write_text(config.read_text().replace(f'"{before}/', f'"{after or dataset}/'))


SHAPES = (
    ordinary,
    several_datasets,
    linked_worktree,
    submodule,
    detached_head,
    no_commit_yet,
    autocrlf,
    packed_refs,
    spaces_and_letters,
    symbolic_link,
)


# ---- what is looked at ----


def users_things(dataset: Path) -> dict[str, object]:
    """All in a repository that is the user's: none of it may change, not even a byte of the
    index."""
    git(dataset, "status")  # writes the index where it is stale
    private, common = (
        Path(p)
        for p in git(dataset, "rev-parse", "--absolute-git-dir", "--git-common-dir").split("\n")
    )
    common = dataset.resolve() / common
    branches = git(
        dataset, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads"
    ).splitlines()
    index = private / "index"
    return {
        "status": git(
            dataset,
            "--no-optional-locks",
            "status",
            "--porcelain=v2",
            "--branch",
            "--untracked-files=all",
        ),
        "HEAD": (private / "HEAD").read_bytes(),
        "index": index.read_bytes() if index.exists() else None,
        "stash": git(dataset, "stash", "list"),
        "branches": [branch for branch in branches if not branch.startswith("refs/heads/runs ")],
        "work trees": git(dataset, "worktree", "list", "--porcelain"),
        "config": (common / "config").read_bytes(),
        "files": {str(path): path.read_bytes() for path in files_of(dataset)},
    }


def files_of(dataset: Path) -> list[Path]:
    return sorted(
        Path(folder, name)
        for folder, folders, names in os.walk(dataset)
        for name in names
        if ".git" not in Path(folder).relative_to(dataset).parts and name != ".git"
    )


def blob(dataset: Path, revision: str) -> bytes:
    return subprocess.run(
        ["git", "cat-file", "blob", revision], cwd=dataset, capture_output=True, check=True
    ).stdout


def checked_by_sha256sum(dataset: Path, revision: str) -> int:
    """How many files ``sha256sum -c`` finds as they were."""
    listed = blob(dataset, f"{revision}:./dataset.sha256")
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "-"], cwd=dataset, input=listed, capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return len(listed.splitlines())


@pytest.fixture(params=SHAPES, ids=lambda shape: shape.__name__)
def scene(request: pytest.FixtureRequest, home: Path) -> Scene:
    build: Callable[[Path], Scene] = request.param
    return build(home)


def test_every_kind_of_run_is_read_by_plain_git_and_nothing_of_the_users_is_touched(
    scene: Scene, request: pytest.FixtureRequest
) -> None:
    packed = "packed_refs" in request.node.name
    before = users_things(scene.dataset)
    ends: tuple[tuple[str, int, tuple[str, ...], dict[str, str]], ...] = (
        (SEALED, 0, (), {}),
        (REVERTED, 1, (), {"STUB": "fail"}),
        (UNTAGGED, 1, ("--on-empty", "delete-tag"), {"STUB": "nothing"}),
        (CHANGED, 0, ("--", "--learning_rate", "5e-5"), {}),
    )
    for name, status, args, environ in ends:
        done = scene.train(name, *args, **environ)
        assert done.status == status, done.err
        if packed:
            scene.git("pack-refs", "--all")
    assert users_things(scene.dataset) == before
    git(scene.dataset, "fsck", "--strict", "--full", "--no-dangling")
    the_history_tells_all(scene)
    the_records_are_whole(scene)


def the_history_tells_all(scene: Scene) -> None:
    subjects = scene.git("log", "--format=%s", "-5", "runs", "--").splitlines()
    assert subjects == [
        f"{CHANGED}: {DESCRIBED.format(4)}",
        f"{UNTAGGED}: {DESCRIBED.format(3)}",
        f'Revert "{REVERTED}: {DESCRIBED.format(2)}"',
        f"{REVERTED}: {DESCRIBED.format(2)}",
        f"{SEALED}: {DESCRIBED.format(1)}",
    ]
    assert set(scene.tags()) - {"noob-mark-v1s4"} == {SEALED, CHANGED}
    for revision in ("runs", "runs~1", "runs~2", "runs~3", "runs~4"):
        assert scene.trailers(revision)["Run"].startswith("noob-gren-v")
        assert scene.trailers(revision)["Loragit-Format"] == "1"
    assert scene.trailers("runs~2")["Reverts"] == scene.git("rev-parse", "runs~3")
    assert scene.outcome(SEALED)["Exit-Status"] == "0"
    assert f"tag {SEALED}" in scene.git("show", SEALED).splitlines()


def the_records_are_whole(scene: Scene) -> None:
    for name in ("config.toml", "sample-prompts.txt"):
        recorded = blob(scene.dataset, f"{SEALED}:./{name}")
        assert (
            recorded
            == (scene.dataset / name).read_bytes()
            == (scene.output / SEALED / name).read_bytes()
        )
        sha1 = hashlib.sha1(recorded).hexdigest()
        assert sha1 in scene.trailers(SEALED).values()
    captions = sorted((scene.dataset / "img").glob("*.txt"))
    for path in captions:
        assert blob(scene.dataset, f"{SEALED}:./captions/img/{path.name}") == path.read_bytes()
    assert checked_by_sha256sum(scene.dataset, SEALED) == 2 * len(captions)
    diff = scene.git("diff", "-U0", SEALED, CHANGED, "--", "run.toml")
    assert '+    "--learning_rate",\n+    "5e-5",' in diff
    assert scene.git("diff", "--name-only", SEALED, CHANGED, "--", "captions") == ""
    # The revert brought back what stood before.
    assert scene.git("diff", "--name-only", "runs~2", SEALED) == ""
    head = scene.git("rev-parse", "--verify", "--quiet", "HEAD", check=False)
    keeps = scene.git("for-each-ref", "--format=%(objectname)", f"refs/loragit/keep/{SEALED}")
    assert keeps == head
    assert scene.trailers(SEALED).get("Dataset-Commit", "") == head


# ---- what only one shape has ----


def test_of_several_datasets_in_one_repository_each_keeps_its_entries(home: Path) -> None:
    scene = several_datasets(home)
    top = scene.dataset.parent
    mark = git(top, "rev-parse", "runs:mark")
    # From the dataset's own folder, from the top, and for a run that makes nothing.
    for name, cwd, how in (
        (SEALED, scene.dataset, "ok"),
        (CHANGED, top, "ok"),
        (REVERTED, top, "fail"),
    ):
        scene.loragit("train", name, cwd=cwd, STUB=how)
        assert git(top, "rev-parse", "runs:mark") == mark
    assert git(top, "ls-tree", "--name-only", "runs").splitlines() == ["gren", "mark"]
    assert git(top, "rev-parse", "runs:gren") == git(top, "rev-parse", f"{CHANGED}:gren")
    subjects = git(top, "log", "--format=%s", "runs", "--", "gren/").splitlines()
    assert [subject.split(":")[0] for subject in subjects] == [
        f'Revert "{REVERTED}',
        REVERTED,
        CHANGED,
        SEALED,
    ]
    assert git(top, "log", "--format=%s", "runs", "--", "mark/").startswith("noob-mark-v1s4: ")
    assert scene.trailers(SEALED)["Dataset-Path"] == "gren"
    assert tomllib.loads(git(top, "show", f"{SEALED}:gren/run.toml"))["dataset"]["path"] == "gren"


def test_a_revert_of_the_first_run_of_a_dataset_leaves_the_others_alone(home: Path) -> None:
    scene = several_datasets(home)
    assert scene.train(REVERTED, STUB="fail").status == 1
    assert git(scene.dataset.parent, "ls-tree", "--name-only", "runs").splitlines() == ["mark"]


def test_all_work_trees_share_one_history(home: Path) -> None:
    scene = linked_worktree(home)
    assert scene.train(SEALED).status == 0
    main = home / "elsewhere" / "datasets" / "gren"
    assert git(main, "log", "--format=%s", "runs") == f"{SEALED}: {DESCRIBED.format(1)}"
    assert (main / ".git" / "loragit" / "lock").exists()
    listed = scene.loragit("log", cwd=main)
    assert listed.out.startswith(f"{SEALED}  ")


def test_the_repository_around_a_submodule_is_left_alone(home: Path) -> None:
    scene = submodule(home)
    before = users_things(scene.dataset.parent)
    assert scene.train(SEALED).status == 0
    assert users_things(scene.dataset.parent) == before
    assert git(scene.dataset.parent, "for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_a_link_to_the_dataset_and_a_config_with_the_real_paths_agree(home: Path) -> None:
    scene = make_scene(home / "disk")
    (home / "datasets").mkdir()
    (home / "datasets" / "gren").symlink_to(scene.dataset)
    scene.trainer.parent.parent.rename(home / "source")
    linked = Scene(home, home / "datasets" / "gren", home / "source" / "repos" / "sd-scripts")
    assert linked.train(SEALED).status == 0
    assert checked_by_sha256sum(linked.dataset, SEALED) == 8
    assert checked_by_sha256sum(scene.dataset, SEALED) == 8
    assert scene.git("ls-tree", "-r", "--name-only", SEALED, "captions/img/").count("\n") == 3


def test_whoever_clones_the_dataset_has_the_history(home: Path, tmp_path: Path) -> None:
    scene = make_scene(home)
    assert scene.train(SEALED).status == 0
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "--branch", "runs", str(scene.dataset), str(clone))
    assert git(clone, "log", "--format=%s", "-1") == f"{SEALED}: {DESCRIBED.format(1)}"
    assert parsed_trailers(clone, git(clone, "tag", "-l", "--format=%(contents)"))["Run"] == SEALED
    assert sorted(path.name for path in clone.iterdir() if path.name != ".git") == [
        ".gitattributes",
        "captions",
        "config.toml",
        "dataset.sha256",
        "environment.txt",
        "run.toml",
        "sample-prompts.txt",
        "train.sh",
    ]


# ---- several at once ----


def test_two_runs_at_once_both_end_up_on_runs(home: Path, tmp_path: Path) -> None:
    scene = make_scene(home)
    children, fifos = [], []
    for name, how in ((SEALED, "wait"), (REVERTED, "wait-empty"), (CHANGED, "wait")):
        ready = tmp_path / name
        os.mkfifo(ready)
        fifos.append(os.open(ready, os.O_RDWR))
        children.append(
            subprocess.Popen(
                [*LORAGIT, "train", name],
                cwd=scene.dataset,
                env={**os.environ, "STUB": how, "STUB_READY": str(ready)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
    for fifo in fifos:  # all of them train at the same time
        assert select.select([fifo], [], [], 60)[0], "a trainer never began"
        os.close(fifo)
    for child in children:
        child.send_signal(signal.SIGTERM)
    assert [child.wait() for child in children] == [143, 143, 143]
    assert sorted(
        scene.git("log", "--format=%(trailers:key=Run,valueonly,separator=)", "runs").splitlines()
    ) == sorted((SEALED, REVERTED, REVERTED, CHANGED))
    assert scene.git("rev-list", "--count", "--merges", "runs") == "0"
    assert scene.tags() == [SEALED, CHANGED]
    assert scene.git("status", "--porcelain") == ""
    scene.git("fsck", "--strict", "--full")


# ---- hostile but legal contents ----

HOSTILE = (
    b"new\nline",
    b'quo"te',
    b"apos'trophe",
    b"back\\slash",
    b"\xff\xfe not utf-8",
    b"-dash",
    b"esc\x1b[31m",
    b"tab\tand  spaces",
    "été 画".encode(),
    b":(top)magic*",
    b"#hash",
    b"$(touch pwned)",
)


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems take no such names")
def test_files_of_any_name_are_recorded_as_they_are(home: Path) -> None:
    scene = make_scene(home)
    folder = scene.dataset / "im ages \"and\" 'quotes' \\ $HOME"
    (scene.dataset / "img").rename(folder)
    config = scene.dataset / "config.toml"
    config.write_text(
        config.read_text().replace(json.dumps(str(scene.dataset / "img")), json.dumps(str(folder)))
    )
    place = os.fsencode(folder)
    for name in HOSTILE:
        shutil.copy(place + b"/00.png", place + b"/" + name + b".png")
        Path(os.fsdecode(place + b"/" + name + b".txt")).write_bytes(
            b"caption of " + name.hex().encode()
        )
    commit_all(scene.dataset, "names")
    before = users_things(scene.dataset)
    done = scene.train(SEALED)
    assert done.status == 0, done.err
    done = scene.train(CHANGED)
    assert done.status == 0, done.err
    assert users_things(scene.dataset) == before
    scene.git("fsck", "--strict", "--full")
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "-z", "--name-only", f"{SEALED}:captions/{folder.name}"],
        cwd=scene.dataset,
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    assert sorted(listed) == sorted(
        [b"", *(b"%02d.txt" % n for n in range(4)), *(n + b".txt" for n in HOSTILE)]
    )
    assert checked_by_sha256sum(scene.dataset, SEALED) == 2 * (4 + len(HOSTILE))
    assert scene.git("diff", "--name-only", SEALED, CHANGED).splitlines() == [
        "run.toml",
        "train.sh",
    ]
    shown = scene.git("show", f"{SEALED}:./captions/{folder.name}/{os.fsdecode(HOSTILE[4])}.txt")
    assert shown == f"caption of {HOSTILE[4].hex()}"
    assert not list(scene.home.rglob("pwned"))


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems take no such names")
@pytest.mark.parametrize(
    "folder", [b"\xff\xfe", b"new\nline", b"  two  spaces ", b'"quoted" \\', b"-rf"]
)
def test_a_dataset_may_lie_in_a_folder_of_any_name(home: Path, folder: bytes) -> None:
    """Also the way back to the standing run, which goes by the dataset's place, is found."""
    top = home / "datasets"
    dataset = write_dataset(top / os.fsdecode(folder) / "gren")
    (dataset / "config.toml").write_text(
        "[[datasets]]\nresolution = 64\n"
        '[[datasets.subsets]]\nimage_dir = "img"\ncaption_extension = ".txt"\n'
    )
    git(top, "init", "-q")
    commit_all(top, "four drawings")
    scene = Scene(home, dataset, make_trainer(home / "source" / "repos" / "sd-scripts"))
    environ = {"TRAINING_DIR": str(dataset), "LORAGIT_TRAINER_WORKDIR": "dataset"}
    done = scene.train(SEALED, **environ)
    assert done.status == 0, done.err
    assert "Traceback" not in done.err
    assert scene.train(REVERTED, STUB="fail", **environ).status == 1
    assert scene.git("diff", "--name-only", "runs", SEALED) == ""
    assert blob(dataset, "runs:./captions/img/00.txt") == (dataset / "img" / "00.txt").read_bytes()
    assert checked_by_sha256sum(dataset, SEALED) == 8
    scene.git("fsck", "--strict", "--full")
    assert scene.loragit("show", SEALED).status == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems take no such names")
def test_a_branch_that_is_no_utf_8_is_told_as_its_bytes(home: Path) -> None:
    scene = make_scene(home)
    subprocess.run(
        [b"git", b"checkout", b"-q", b"-b", b"\xffbranch"], cwd=scene.trainer, check=True
    )
    done = scene.train(SEALED)
    assert done.status == 0, done.err
    assert scene.trailers(SEALED)["Trainer-Branch"] == "\\xffbranch"
    assert (
        tomllib.loads(scene.git("show", f"{SEALED}:run.toml"))["trainer"]["branch"] == "\\xffbranch"
    )


def test_two_thousand_captions_are_written_once(home: Path) -> None:
    scene = make_scene(home)
    folder = scene.dataset / "img"
    for number in range(4, 2000):
        os.link(folder / "00.png", folder / f"{number:04d}.png")
        (folder / f"{number:04d}.txt").write_text(f"zqx, drawing {number}")
    assert scene.train(SEALED).status == 0
    before = scene.git("count-objects")
    done = scene.train(CHANGED)
    assert done.status == 0, done.err
    assert len(scene.git("ls-tree", "--name-only", f"{SEALED}:captions/img").splitlines()) == 2000
    assert scene.git("rev-parse", f"{SEALED}:captions") == scene.git(
        "rev-parse", f"{CHANGED}:captions"
    )
    more = int(scene.git("count-objects").split()[0]) - int(before.split()[0])
    assert more < 10  # commit, tag, tree, run.toml, train.sh
    assert "2000 images, 2000 captions" in scene.git("show", "-s", CHANGED)
    (folder / "0007.txt").write_text("edited")
    assert scene.train("noob-gren-v5s4").status == 0
    assert (
        scene.git("diff", "--name-only", CHANGED, "noob-gren-v5s4", "--", "captions")
        == "captions/img/0007.txt"
    )


# ---- ends that take more than an exit status ----


def own_trainer(scene: Scene, code: str) -> tuple[str, ...]:
    """A trainer of the test's own, in a repository; the words that make ``loragit train`` run
    it."""
    folder = scene.home / "own"
    folder.mkdir()
    (folder / "own.py").write_text(
        "import os, shutil, sys\noutput = sys.argv[sys.argv.index('--output_dir') + 1]\n" + code
    )
    git(folder, "init", "-q")
    commit_all(folder, "own")
    return ("--trainer-script", str(folder / "own.py"))


def freed(scene: Scene, told: str) -> None:
    """The run was reverted for the reason ``told``, and the name may be used again."""
    assert scene.tags() == []
    assert told in scene.git("log", "-1", "--format=%B", "runs")
    assert not (scene.output / SEALED).exists()
    assert list((scene.dataset / ".git" / "loragit" / "open").iterdir()) == []
    scene.git("fsck", "--strict", "--full")
    assert scene.train(SEALED).status == 0


def test_an_interruption_while_a_run_is_opened_takes_it_back(home: Path, tmp_path: Path) -> None:
    scene = make_scene(home)
    real = subprocess.run(
        ["sh", "-c", "command -v git"], capture_output=True, text=True, check=True
    ).stdout.strip()
    between = tmp_path / "bin" / "git"
    between.parent.mkdir()
    between.write_text(
        f"#!/bin/sh\ncase \"$*\" in *update-ref*) mkdir '{tmp_path}/once' && kill -INT $PPID;; "
        "esac 2>/dev/null\n"
        f'exec {real} "$@"\n'
    )
    between.chmod(0o755)
    done = scene.train(SEALED, PATH=f"{between.parent}:{os.environ['PATH']}")
    assert (tmp_path / "once").exists()
    assert done.status == 130, done.err
    assert "Traceback" not in done.err
    freed(scene, "The trainer was not started: it was interrupted before the trainer began.")


def test_a_launcher_that_cannot_be_started_makes_nothing(home: Path) -> None:
    scene = make_scene(home)
    launcher = home / "accelerate"
    launcher.write_text("#!/nowhere/python\n")
    launcher.chmod(0o755)
    done = scene.train(SEALED, LORAGIT_TRAINER_LAUNCHER=str(launcher))
    assert done.status == 127, done.err
    assert scene.trailers("runs")["Exit-Status"] == "127"
    freed(scene, "The trainer was not started: ")


def test_a_tag_that_is_moved_during_a_training_stays_moved_and_hides_no_exit_status(
    home: Path, tmp_path: Path
) -> None:
    scene = make_scene(home)
    words = own_trainer(
        scene,
        "open(output + '/noob-gren-v1s4.safetensors', 'wb').write(b'\\2\\0\\0\\0\\0\\0\\0\\0{}')\n"
        f"os.chdir({str(scene.dataset)!r})\nos.system('git tag -f noob-gren-v1s4 "
        "main')\nsys.exit(7)\n",
    )
    done = scene.train(SEALED, *words)
    assert done.status == 7, done.err
    assert "the run's tag was moved" in done.err
    assert (
        f"{SEALED} stays open on record; what the trainer wrote is in {scene.output / SEALED}"
        in done.err
    )
    assert scene.git("rev-parse", SEALED) == scene.git("rev-parse", "main")
    assert (scene.output / SEALED / f"{SEALED}.safetensors").exists()
    scene.git("fsck", "--strict", "--full")


def test_nothing_is_deleted_through_a_link_that_a_trainer_left(home: Path) -> None:
    scene = make_scene(home)
    precious = home / "precious"
    precious.mkdir()
    for name in ("config.toml", "sdscripts.log", "train.sh"):
        (precious / name).write_text("mine")
    words = own_trainer(
        scene, f"shutil.rmtree(output)\nos.symlink({str(precious)!r}, output)\nsys.exit(1)\n"
    )
    done = scene.train(SEALED, *words)
    assert (done.status, "something else is in its place" in done.err) == (1, True)
    assert {path.name: path.read_text() for path in precious.iterdir()} == dict.fromkeys(
        ("config.toml", "sdscripts.log", "train.sh"), "mine"
    )
    assert scene.tags() == [SEALED]


def test_what_a_trainer_left_without_a_product_is_named_and_kept(home: Path) -> None:
    scene = make_scene(home)
    words = own_trainer(
        scene, "[open(f'{output}/{name}', 'w').close() for name in 'abcde']\nsys.exit(1)\n"
    )
    done = scene.train(SEALED, *words)
    assert done.status == 1
    assert f"{scene.output / SEALED} stays: it holds a, b, c and 2 more; move it away" in done.err
    assert {"a", "b", "c", "d", "e"} <= {path.name for path in (scene.output / SEALED).iterdir()}


def test_a_dry_run_warns_of_what_a_run_warns_of(home: Path) -> None:
    scene = make_scene(home)
    git(scene.trainer, "remote", "add", "origin", "https://example.org/sd-scripts")
    dry, run = scene.train(SEALED, "--dry-run"), scene.train(SEALED)
    warnings = [line for line in run.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert [line for line in dry.err.splitlines() if line.startswith("warning: ")] == warnings
