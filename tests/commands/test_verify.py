"""``loragit verify``: sound histories pass, and every kind of damage is made for real and found."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from loragit.record.values import ModelFile
from loragit.run.results import checked_models
from loragit.trainers.sd_scripts.trainer import SdScripts
from tests.support.made_up_runs import a_run, an_outcome, open_store, reverted, sealed, untagged
from tests.support.paths import ROOT
from tests.support.processes import git
from tests.support.signing_keys import ssh_key
from tests.support.trainer_files import edited, safetensors
from tests.support.user_home import Scene, make_scene

ONE, TWO, THREE = "noob-gren-v1s4", "noob-gren-v2s4", "noob-gren-v3s4"


@pytest.fixture
def scene(home: Path) -> Scene:
    made = make_scene(home)
    assert made.train(ONE).status == 0
    return made


@pytest.fixture
def plain(home: Path) -> Scene:
    """A dataset without a run, for records that are made in milliseconds."""
    return make_scene(home)


def verified(scene: Scene, *args: str, status: int = 0) -> str:
    """What it prints; nothing is ever said beside it, and nothing of the repository changes."""
    before = scene.git("for-each-ref", "--format=%(refname) %(objectname)")
    done = scene.loragit("verify", *args)
    assert (done.status, done.err) == (status, ""), done.out + done.err
    assert scene.git("for-each-ref", "--format=%(refname) %(objectname)") == before
    return done.out


def found(scene: Scene, *args: str, status: int = 0) -> list[tuple[str, str, str]]:
    """(status, check, message) of each finding."""
    document = json.loads(verified(scene, "--json", *args, status=status))
    return [(one["status"], one["check"], one["message"]) for one in document["findings"]]


def one(scene: Scene, *args: str, status: int = 1) -> tuple[str, str, str]:
    everything = found(scene, *args, status=status)
    assert len(everything) == 1, everything
    return everything[0]


def model(scene: Scene, name: str = ONE) -> Path:
    return scene.output / name / f"{name}.safetensors"


def retag(scene: Scene, name: str, *changes: tuple[str, str]) -> str:
    """Write the tag object anew with its text edited, have the ref name it, and take its reflog
    away."""
    text = scene.git("cat-file", "tag", name) + "\n"
    for old, new in changes:
        assert re.search(old, text), text
        text = re.sub(old, new, text, count=1)
    made = git(
        scene.dataset, "hash-object", "-w", "-t", "tag", "--literally", "--stdin", text_input=text
    )
    scene.git("update-ref", f"refs/tags/{name}", made)
    (scene.dataset / ".git/logs/refs/tags" / name).unlink(missing_ok=True)
    return made


def loose(scene: Scene, identity: str) -> Path:
    return scene.dataset / ".git/objects" / identity[:2] / identity[2:]


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"no object")


# ---- all is well ----


def test_a_sound_history_gets_one_line(scene: Scene) -> None:
    assert scene.train(TWO).status == 0
    assert scene.train(THREE, STUB="fail").status in (0, 1)
    out = verified(scene)
    assert re.fullmatch(r"3 runs, \d+ models: all as recorded\n", out), out
    assert verified(scene, "--quick") == out


def test_names_and_their_beginnings_ask_for_those_runs_only(scene: Scene) -> None:
    assert scene.train(TWO).status == 0
    model(scene, TWO).unlink()
    assert verified(scene, ONE) == "1 run, 2 models: all as recorded\n"
    assert verified(scene, "noob-gren-v1") == "1 run, 2 models: all as recorded\n"
    assert "it is gone" in verified(scene, TWO, ONE, status=1)
    done = scene.loragit("verify", "noob-gren-v9s4")
    assert done.status == 1
    assert "there is no run noob-gren-v9s4 on record" in done.err


def test_verbose_lists_every_run(scene: Scene) -> None:
    commit = scene.git("rev-parse", "--short=8", f"{ONE}^{{commit}}")
    assert (
        verified(scene, "-v")
        == f"ok     {ONE} ({commit}), sealed\n1 run, 2 models: all as recorded\n"
    )


def test_without_any_run_that_is_said(plain: Scene) -> None:
    assert verified(plain) == f"no run on record in {plain.dataset}\n"


def test_outside_of_a_repository_it_is_refused(home: Path) -> None:
    done = Scene(home, home, home).loragit("verify")
    assert done.status == 1
    assert "is in no git repository" in done.err


def test_open_reverted_and_untagged_runs_are_checked_as_far_as_they_go(plain: Scene) -> None:
    store = open_store(plain.dataset)
    reverted(store, ONE, "a line")
    untagged(store, TWO)
    store.open(a_run(name=THREE))
    assert verified(plain) == "3 runs, 0 models: all as recorded\n"


def test_the_document_has_the_keys_that_are_promised(scene: Scene) -> None:
    model(scene).unlink()
    document = json.loads(verified(scene, "--json", status=1))
    schema = json.loads((ROOT / "docs/schema/verify.json").read_text())
    assert sorted(document) == sorted(schema["required"]) == sorted(schema["properties"])
    for kind in ("runs", "findings"):
        assert sorted(document[kind][0]) == sorted(schema["properties"][kind]["items"]["required"])
    (finding,) = document["findings"]
    assert (
        finding["check"] in schema["properties"]["findings"]["items"]["properties"]["check"]["enum"]
    )
    assert finding["run"] == ONE
    assert finding["path"] == str(model(scene))
    assert finding["since"]["earliest"] <= finding["since"]["latest"]
    assert document["runs"][0]["status"] == "wrong"
    assert (document["model_count"], document["sample_count"]) == (2, 3)


# ---- files on the disk ----


def test_a_model_that_is_gone(scene: Scene) -> None:
    model(scene).unlink()
    out = verified(scene, status=1)
    assert re.search(
        rf"^wrong  {ONE}: {ONE}\.safetensors: it is gone \(between \S+Z and \S+Z\)$", out, re.M
    )
    assert "look for another copy" in out
    assert out.endswith("1 run, 2 models: 1 wrong\n")
    assert "it is gone" in verified(scene, "--quick", status=1)


def test_a_model_whose_weights_were_changed(scene: Scene) -> None:
    data = bytearray(model(scene).read_bytes())
    data[-1] ^= 1
    model(scene).write_bytes(bytes(data))
    assert re.match(
        rf"{ONE}.safetensors: it was changed: sha256 \w+ instead of \w+ \(between", one(scene)[2]
    )
    assert verified(scene, "--quick") == "1 run, 2 models: all as recorded\n"


def test_a_model_whose_header_was_edited(scene: Scene) -> None:
    edited(model(scene), model(scene), lambda header: header.update(title="another"))
    status, check, message = one(scene)
    assert (status, check) == ("wrong", "model")
    assert "its header was edited; its weights are those on record" in message
    assert "bytes instead of" in one(scene, "--quick")[2]


def test_a_model_that_was_cut_short(scene: Scene) -> None:
    size = model(scene).stat().st_size
    os.truncate(model(scene), size - 10)
    assert f"it is truncated: {size - 10} bytes of {size}" in one(scene)[2]
    assert "it is truncated" in one(scene, "--quick")[2]
    os.truncate(model(scene), 5)
    assert "it is damaged (it ends within its header" in one(scene)[2]


def test_a_time_that_was_set_back_hides_nothing(scene: Scene) -> None:
    model(scene).write_bytes(model(scene).read_bytes() + b"x")
    os.utime(model(scene), (0, 0))
    message = one(scene)[2]
    assert "it was changed" in message
    assert "1970" not in message


def test_a_sample_that_was_changed_and_one_that_is_gone(scene: Scene) -> None:
    first, second, *_ = sorted((scene.output / ONE / "sample").iterdir())
    first.write_bytes(b"another")
    second.unlink()
    messages = [message for _, check, message in found(scene, status=1) if check == "sample"]
    assert [re.sub(r".*: (it \w+ \w+).*", r"\1", message) for message in messages] == [
        "it was changed",
        "it is gone",
    ]


def test_an_output_folder_that_is_gone_is_noted_and_nothing_more(scene: Scene) -> None:
    shutil.rmtree(scene.output)
    status, check, message = one(scene, status=0)
    assert (status, check) == ("note", "output")
    assert message == f"its output folder {scene.output / ONE} is gone: 2 models not looked at"
    assert verified(scene).endswith("1 run, 0 models: all as recorded, 1 note\n")


@pytest.mark.usefixtures("modes_count")
def test_what_may_not_be_read_is_a_line(scene: Scene) -> None:
    model(scene).chmod(0)
    assert "cannot be read (Permission denied)" in one(scene)[2]
    (scene.output / ONE).chmod(0)
    assert (
        f"its output folder {scene.output / ONE} cannot be read (Permission denied)"
        in one(scene)[2]
    )
    (scene.output / ONE).chmod(0o700)


def test_what_is_no_file_is_a_line(scene: Scene) -> None:
    model(scene).unlink()
    os.mkfifo(model(scene))
    assert "it cannot be read" in one(scene)[2]
    model(scene).unlink()
    model(scene).symlink_to(model(scene).name)
    assert "it cannot be read" in one(scene, "--quick")[2]


def test_a_training_state_that_is_gone_is_noted(plain: Scene) -> None:
    store = open_store(plain.dataset)
    opened = store.open(a_run())
    (plain.output / ONE).mkdir(parents=True)
    outcome = an_outcome(
        models=(), samples=0, states=(f"{ONE}-state",), output=f"~/output_dir/{ONE}"
    )
    store.seal(opened, outcome)
    assert one(plain, status=0) == ("note", "state", f"the training state {ONE}-state is gone")


def test_the_weights_of_a_state_are_compared_as_long_as_it_is_there(plain: Scene) -> None:
    store = open_store(plain.dataset)
    opened = store.open(a_run())
    state = plain.output / ONE / f"{ONE}-state"
    state.mkdir(parents=True)
    file = state / "model.safetensors"
    file.write_bytes(safetensors({"w": b"1234"}))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    weights = ModelFile(
        f"{ONE}-state/model.safetensors", file.stat().st_size, digest, None, None, None
    )
    outcome = an_outcome(
        models=(),
        samples=0,
        states=(state.name,),
        state_weights=(weights,),
        output=f"~/output_dir/{ONE}",
    )
    store.seal(opened, outcome)
    assert plain.loragit("verify").status == 0
    file.write_bytes(safetensors({"w": b"5678"}))
    check, message = one(plain)[1:]
    assert check == "state"
    assert f"{ONE}-state/model.safetensors: it was changed: sha256" in message
    shutil.rmtree(state)
    assert one(plain, status=0) == ("note", "state", f"the training state {ONE}-state is gone")


# ---- the dataset lives on ----


def test_a_dataset_that_went_on_is_noted(scene: Scene) -> None:
    images = scene.dataset / "img"
    (images / "00.txt").write_text("other words")
    (images / "01.txt").unlink()
    (images / "99.png").write_bytes((images / "00.png").read_bytes())
    (images / "99.txt").write_text("new")
    (images / "notes.md").write_text("nobody reads them")
    (images / "00.npz").write_text("a cache")
    new = "2 files new (img/99.png, img/99.txt)"
    told = f"1 file changed (img/00.txt), 1 file gone (img/01.txt), {new}"
    assert one(scene, status=0) == ("note", "dataset", f"the dataset has gone on since: {told}")
    quick = f"1 file gone (img/01.txt), {new}"
    assert one(scene, "--quick", status=0)[2] == f"the dataset has gone on since: {quick}"


def test_many_notes_of_a_kind_are_counted(plain: Scene) -> None:
    store = open_store(plain.dataset)
    for number in range(1, 9):
        sealed(store, f"noob-gren-v{number}s4")
    out = verified(plain)
    assert out.count("is gone: 1 model not looked at") == 5
    assert "note   3 more notes on the output of other runs (--verbose shows all)\n" in out
    assert verified(plain, "--verbose").count("is gone: 1 model not looked at") == 8


# ---- tags ----


def test_a_tag_that_was_edited_to_fit_another_file_is_found_by_the_file(scene: Scene) -> None:
    retag(scene, ONE, (r"sha256:\w{64} payload:\w{64}", f"sha256:{'0' * 64} payload:{'0' * 64}"))
    assert "it was changed: sha256" in one(scene)[2]


def test_a_tag_that_was_renamed(scene: Scene) -> None:
    scene.git("update-ref", f"refs/tags/{TWO}", scene.git("rev-parse", ONE))
    messages = [message for _, check, message in found(scene, status=1) if check == "tag"]
    commit = scene.git("rev-parse", "--short=8", f"{ONE}^{{commit}}")
    assert sorted(messages) == [
        f"{ONE}, {TWO} are outcomes of one run, {commit}",
        f"the tag {TWO} holds the outcome of {ONE}: it was copied, renamed or edited",
        f"the tag {TWO} is on the run {ONE} ({commit}): it was moved",
    ]


def test_a_tag_that_tells_another_run(scene: Scene) -> None:
    retag(scene, ONE, (rf"\nRun: {ONE}", f"\nRun: {TWO}"))
    assert one(scene) == (
        "wrong",
        "tag",
        f"the tag {ONE} holds the outcome of {TWO}: it was copied, renamed or edited",
    )


def test_a_tag_that_was_moved(scene: Scene) -> None:
    head = scene.git("rev-parse", "HEAD")
    retag(scene, ONE, (r"object \w+", f"object {head}"))
    assert one(scene)[2] == (
        f"the tag {ONE} is on {head[:8]}, which is not in the history of runs: "
        "the history was rewritten, or the tag was moved"
    )
    scene.git("tag", "-f", ONE, "HEAD")
    messages = [message for _, _, message in found(scene, status=1)]
    assert (
        f"the tag {ONE} is not on a run of that name, but on {head[:8]}: it was moved" in messages
    )


def test_a_tag_without_an_outcome(scene: Scene) -> None:
    commit = scene.git("rev-parse", f"{ONE}^{{commit}}")
    scene.git("tag", "-f", "-a", "-m", "mine", ONE, commit)
    assert (
        found(scene, status=1)[0][2]
        == f"the tag {ONE} does not hold an outcome as loragit writes it: it was edited, or made "
        "by hand"
    )


def test_a_tag_on_a_revert(plain: Scene) -> None:
    store = open_store(plain.dataset)
    sealed(store, ONE)
    reverted(store, TWO)
    tip = plain.git("rev-parse", "runs")
    retag(plain, ONE, (r"object \w+", f"object {tip}"))
    messages = [message for _, _, message in found(plain, status=1)]
    assert messages == [f"the tag {ONE} is on {tip[:8]}, which is no run that stands: it was moved"]


def test_a_tag_that_was_deleted_by_hand_long_ago_is_noted(scene: Scene) -> None:
    scene.git("tag", "-d", ONE)
    scene.git("prune", "--expire=now")
    told = f"the tag {ONE} is gone, and with it what came out of the run: it was deleted by hand"
    assert one(scene, status=0) == ("note", "tag", told)


def test_tags_of_the_users_own_are_let_be(scene: Scene) -> None:
    scene.git("tag", "-a", "-m", "mine", "best", ONE)
    scene.git("tag", "here")
    assert verified(scene) == "1 run, 2 models: all as recorded\n"


def test_a_tag_that_cannot_be_read(scene: Scene) -> None:
    assert scene.train(TWO).status == 0
    damage(loose(scene, scene.git("rev-parse", ONE)))
    everything = found(scene, status=1)
    assert any(
        message.startswith(f"the tag {ONE} cannot be read") for _, _, message in everything
    ), everything
    assert any(check == "objects" for _, check, _ in everything)
    assert not any(TWO in message for _, _, message in everything)


def test_a_line_of_an_outcome_that_is_none(scene: Scene) -> None:
    retag(scene, ONE, (r"\nModel: .*", "\nModel: who knows"), (r"\nSample: .*", "\nSample: nobody"))
    messages = [message for _, _, message in found(scene, status=1)]
    assert messages == [
        "its outcome has a line that cannot be read: who knows",
        "its outcome has a line that cannot be read: nobody",
    ]


def test_files_outside_of_the_output_folder_are_not_read(scene: Scene) -> None:
    retag(scene, ONE, (r"\nModel: \S+", "\nModel: ../../.gitconfig"))
    told = "../../.gitconfig is listed, and lies outside of the output folder: it was not looked at"
    assert one(scene) == ("wrong", "model", told)


def test_control_characters_are_shown(scene: Scene) -> None:
    retag(scene, ONE, (r"\nModel: \S+", "\nModel: \x1b[2Jmodel"))
    assert r"\x1b[2Jmodel: it is gone" in verified(scene, status=1)


def test_a_product_whose_name_has_control_characters_is_found(plain: Scene) -> None:
    store = open_store(plain.dataset)
    opened = store.open(a_run())
    folder = plain.output / ONE
    folder.mkdir(parents=True)
    shutil.copy(Path(__file__), folder / "a\x1bb.pt")

    models = checked_models(folder, {"a\x1bb.pt": None}, SdScripts()).models
    store.seal(opened, an_outcome(models=models, samples=0, output=f"~/output_dir/{ONE}"))
    assert verified(plain) == "1 run, 1 model: all as recorded\n"


@pytest.mark.parametrize("output", ["", "output", "\nOutput: ~/x\0y"])
def test_an_output_folder_that_is_not_told(plain: Scene, output: str) -> None:
    store = open_store(plain.dataset)
    sealed(store, ONE)
    retag(plain, ONE, (r"\nOutput: .*", f"\nOutput: {output}" if output == "output" else ""))
    assert one(plain, status=0) == ("note", "output", "its output folder is not on record")


# ---- the branch ----


def commit_on_runs(scene: Scene, message: str, tree: str = "runs^{tree}") -> str:
    made = git(scene.dataset, "commit-tree", "-p", "runs", tree, text_input=message)
    scene.git("update-ref", "--create-reflog", "-m", "by hand", "refs/heads/runs", made)
    return made


def test_a_commit_that_is_no_run(scene: Scene) -> None:
    made = commit_on_runs(scene, "hello\n")
    told = f"{made[:8]} (hello) is on runs, and is no run, no revert and no merge"
    assert one(scene) == ("wrong", "runs", told)


def test_a_merge_is_no_stranger(scene: Scene) -> None:
    made = git(
        scene.dataset,
        "commit-tree",
        "-p",
        "runs",
        "-p",
        "HEAD",
        "runs^{tree}",
        text_input="merge\n",
    )
    scene.git("update-ref", "refs/heads/runs", made)
    messages = [message for _, _, message in found(scene, status=1)]
    assert not any("(merge)" in message for message in messages)
    assert len(messages) == 1  # the dataset's own commit is


def test_a_branch_that_was_rewound(scene: Scene) -> None:
    before = scene.git("rev-parse", "runs")
    assert scene.train(TWO).status == 0
    lost = scene.git("rev-parse", "runs")
    scene.git("update-ref", "-m", "rewind", "refs/heads/runs", before)
    everything = found(scene, status=1)
    (message,) = [message for _, check, message in everything if check == "runs"]
    assert re.fullmatch(
        rf"runs was at {lost[:8]} until \S+Z, which is not in its history, 1 commit of it: "
        r"it was rewound or rewritten \(rewind\)",
        message,
    )
    assert any(
        f"the tag {TWO} is on {lost[:8]}" in message
        for _, check, message in everything
        if check == "tag"
    )
    assert f"git branch runs-before {lost[:8]}" in verified(scene, status=1)


def test_a_branch_that_moved_past_its_reflog(scene: Scene) -> None:
    before = scene.git("rev-parse", "runs")
    assert scene.train(TWO).status == 0
    (scene.dataset / ".git/refs/heads/runs").write_text(f"{before}\n")
    messages = [message for _, check, message in found(scene, status=1) if check == "runs"]
    assert len(messages) == 1
    assert messages[0].endswith("it was rewound or rewritten (past the reflog)")


def test_a_history_without_a_reflog_is_read_all_the_same(scene: Scene) -> None:
    (scene.dataset / ".git/logs/refs/heads/runs").unlink()
    assert verified(scene) == "1 run, 2 models: all as recorded\n"


def test_a_remote_that_went_apart_is_noted(plain: Scene) -> None:
    store = open_store(plain.dataset)
    reverted(store, ONE)
    base = plain.git("rev-parse", "runs")
    other = git(
        plain.dataset, "commit-tree", "-p", "runs", "runs^{tree}", text_input="x\n\nRun: x\n"
    )
    plain.git("update-ref", "refs/remotes/origin/runs", other)
    assert verified(plain) == "1 run, 0 models: all as recorded\n"
    (plain.dataset / ".git/logs/refs/remotes/origin/runs").unlink()
    plain.git("update-ref", "refs/remotes/origin/runs", base)
    assert verified(plain) == "1 run, 0 models: all as recorded\n"
    reverted(store, TWO)
    plain.git("update-ref", "refs/remotes/origin/runs", other)
    told = "runs and origin/runs have diverged: 2 commits here, 1 commit there"
    assert one(plain, status=0) == ("note", "runs", told)


# ---- the record ----


def amended(scene: Scene, change: dict[str, bytes | None], *message: tuple[str, str]) -> str:
    """The run's commit made anew with other files or another message, its tag on it."""
    index = scene.home / "index"
    environ = {"GIT_INDEX_FILE": str(index)}
    scene.run(("git", "read-tree", "runs"), scene.dataset, environ)
    for path, data in change.items():
        if data is None:
            scene.run(("git", "rm", "-q", "--cached", path), scene.dataset, environ)
            continue
        (scene.home / "blob").write_bytes(data)
        blob = scene.git("hash-object", "-w", "--no-filters", str(scene.home / "blob"))
        scene.run(
            ("git", "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}"),
            scene.dataset,
            environ,
        )
    tree = scene.run(("git", "write-tree"), scene.dataset, environ).out.strip()
    text = scene.git("log", "-1", "--format=%B", "runs")
    for old, new in message:
        assert re.search(old, text), text
        text = re.sub(old, new, text, count=1)
    made = git(scene.dataset, "commit-tree", tree, text_input=text)
    scene.git("update-ref", "-d", "refs/heads/runs")
    scene.git("update-ref", "refs/heads/runs", made)
    retag(scene, ONE, (r"object \w+", f"object {made}"))
    return made


def records(scene: Scene) -> list[str]:
    everything = found(scene, status=1)
    assert {check for _, check, _ in everything} == {"record"}
    return [message for _, _, message in everything]


def test_a_config_that_is_not_the_one_on_record(scene: Scene) -> None:
    config = scene.git("show", "runs:config.toml").encode() + b"\n# later\n"
    amended(scene, {"config.toml": config})
    first, second = records(scene)
    assert re.fullmatch(
        r"config.toml is not what run.toml says of it: \d+ bytes instead of \d+", first
    )
    assert re.fullmatch(
        r"Config-SHA1 of the message is \w{12}, and config.toml has another", second
    )
    assert verified(scene, "--quick") == "1 run, 2 models: all as recorded\n"


def test_a_script_of_the_same_length(scene: Scene) -> None:
    script = scene.git("show", "runs:train.sh").encode() + b"\n"
    amended(scene, {"train.sh": script[:-2] + b"X\n"})
    first, second = records(scene)
    assert re.fullmatch(r"train.sh is not what run.toml says of it: sha1 \w+ instead of \w+", first)
    assert re.fullmatch(
        r"Script-SHA1 of the message is \w{12}, and no file of the record has another", second
    )


def test_files_that_only_one_side_has(scene: Scene) -> None:
    amended(scene, {"environment.txt": None, "more.txt": b"more"})
    assert records(scene) == [
        "environment.txt is in run.toml, and not in the record",
        "more.txt is in the record, and not in run.toml",
    ]


def test_a_message_that_says_otherwise(scene: Scene) -> None:
    amended(
        scene,
        {},
        (r"Trainer-Commit: \w+", f"Trainer-Commit: {'0' * 40}"),
        (r"Prompts-SHA1: \w+", "Prompts-SHA1: 0"),
    )
    first, second = records(scene)
    assert re.fullmatch(r"Trainer-Commit is \w{40} in run.toml, and 0{40} in the message", first)
    assert second == "Prompts-SHA1 of the message is 0, and sample-prompts.txt has another"


def test_weights_that_the_message_lacks(plain: Scene) -> None:
    from loragit.record.values import Weights

    store = open_store(plain.dataset)
    sealed(
        store, ONE, weights=(Weights("VAE", "vae.pt", "a" * 64), Weights("Resume", "state", None))
    )
    amended(plain, {}, (r"\nVAE: .*", ""))
    everything = [message for _, check, message in found(plain, status=1) if check == "record"]
    assert everything == ["VAE is vae.pt in run.toml, and not in the message"]


def test_a_list_of_hashes_that_is_none(plain: Scene) -> None:
    from loragit.record.values import Entry

    entries = (*a_run().entries, Entry("dataset.sha256", b"nothing\n"))
    store = open_store(plain.dataset)
    store.open(a_run(entries=entries))
    told = "dataset.sha256: line 1 of the list of hashes is not in sha256sum's format"
    assert one(plain) == ("wrong", "record", told)


def test_a_damaged_and_a_newer_record(plain: Scene) -> None:
    store = open_store(plain.dataset)
    sealed(store, ONE)
    amended(plain, {"run.toml": b"= no toml"})
    messages = [message for _, check, message in found(plain, status=1) if check == "record"]
    assert len(messages) == 1
    assert "is damaged" in messages[0]
    amended(plain, {}, (r"Loragit-Format: 1", "Loragit-Format: 7"))
    assert (
        "note",
        "record",
        "it is recorded in format 7, and this loragit checks format 1",
    ) in found(plain)


def test_a_blob_that_is_missing(scene: Scene) -> None:
    blob = scene.git("rev-parse", "runs:environment.txt")
    loose(scene, blob).unlink()
    everything = found(scene, status=1)
    assert (
        "wrong",
        "record",
        f"environment.txt cannot be read: git does not have it ({blob[:12]})",
    ) in everything
    assert ("wrong", "objects", f"git fsck: missing blob {blob}") in everything


def test_a_blob_that_is_damaged(scene: Scene) -> None:
    blob = scene.git("rev-parse", "runs:config.toml")
    damage(loose(scene, blob))
    everything = found(scene, status=1)
    assert any(
        check == "record" and message.startswith("config.toml cannot be read")
        for _, check, message in everything
    )
    assert any(check == "objects" and blob in message for _, check, message in everything)


def test_a_missing_commit_keeps_nothing_else_from_being_looked_at(scene: Scene) -> None:
    assert scene.train(TWO).status == 0
    assert scene.train(THREE).status == 0
    model(scene, ONE).unlink()
    model(scene, THREE).unlink()
    loose(scene, scene.git("rev-parse", f"{TWO}^{{commit}}")).unlink()
    done = scene.loragit("verify", "--json")
    assert (done.status, done.err) == (1, "")
    everything = [(one["check"], one["message"]) for one in json.loads(done.out)["findings"]]
    assert (
        "runs",
        "the history of runs cannot be read to its end: what can still be reached was checked",
    ) in everything
    gone = {message.partition(":")[0] for check, message in everything if check == "model"}
    assert gone == {f"{ONE}.safetensors", f"{THREE}.safetensors"}


def test_a_damaged_object_that_no_run_holds_is_noted(scene: Scene) -> None:
    blob = git(scene.dataset, "hash-object", "-w", "--stdin", text_input="mine")
    damage(loose(scene, blob))
    everything = found(scene)
    assert everything
    assert {(status, check) for status, check, _ in everything} == {("note", "objects")}
    assert all("something that no run holds" in message for _, _, message in everything)


# ---- clones ----


def test_a_shallow_clone_says_so(scene: Scene) -> None:
    assert scene.train(TWO).status == 0
    scene.git(
        "clone",
        "-q",
        "--depth=1",
        "--branch=runs",
        f"file://{scene.dataset}",
        str(scene.home / "clone"),
    )
    clone = Scene(scene.home, scene.home / "clone", scene.trainer)
    everything = found(clone)
    assert (
        "note",
        "runs",
        "this is a shallow clone: older runs are not here, and were not looked at",
    ) in everything


def test_what_a_partial_clone_lacks_is_not_called_damaged(scene: Scene) -> None:
    scene.git("config", "uploadpack.allowFilter", "true")
    args = (
        "clone",
        "-q",
        "--no-checkout",
        "--filter=blob:none",
        f"file://{scene.dataset}",
        str(scene.home / "clone"),
    )
    scene.git(*args)
    clone = Scene(scene.home, scene.home / "clone", scene.trainer)
    clone.git("update-ref", "refs/heads/runs", "refs/remotes/origin/runs")
    everything = found(clone)
    assert everything == [
        ("note", "record", "1 file of its record not here (run.toml): this is a partial clone"),
    ]


# ---- signatures ----

signs = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None and not os.environ.get("CI"),
    reason="ssh-keygen makes the keys",
)


@signs
def test_signatures(plain: Scene) -> None:
    scene = plain
    assert scene.train(TWO).status == 0
    ssh_key(scene)
    assert scene.train(ONE, LORAGIT_RECORD_SIGN="true").status == 0
    assert verified(scene) == "2 runs, 4 models: all as recorded\n"
    git(scene.dataset, "config", "tag.gpgSign", "true")
    assert one(scene, status=0) == ("note", "signature", "its tag is not signed")
    git(scene.dataset, "config", "tag.gpgSign", "false")
    (scene.home / "allowed").write_text("")
    assert one(scene, status=0) == (
        "note",
        "signature",
        "its tag is signed with a key that is not known here",
    )


@signs
def test_a_signed_tag_that_was_edited(plain: Scene) -> None:
    key = ssh_key(plain)
    assert plain.train(ONE, LORAGIT_RECORD_SIGN="true").status == 0
    retag(plain, ONE, (r"\nExit-Status: 0", "\nExit-Status: 7"))
    told = "the signature of its tag is bad: the tag was edited after it was signed"
    assert one(plain) == ("wrong", "signature", told)
    assert key.exists()


@signs
def test_a_program_of_the_repositorys_own_is_not_started(plain: Scene) -> None:
    ssh_key(plain)
    assert plain.train(ONE, LORAGIT_RECORD_SIGN="true").status == 0
    trap = plain.home / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {plain.home}/sprung\n")
    trap.chmod(0o755)
    git(plain.dataset, "config", "gpg.ssh.program", str(trap))
    assert verified(plain) == "1 run, 2 models: all as recorded\n"
    assert not (plain.home / "sprung").exists()
    git(plain.dataset, "config", "--unset", "gpg.ssh.program")
    git(plain.dataset, "config", "--global", "gpg.ssh.program", str(plain.home / "nowhere"))
    assert "cannot be judged" in one(plain, status=0)[2]
