"""``loragit whence``: files that were renamed, copied, edited and mixed up, and which run made
them."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from pathlib import Path

import jsonschema
import pytest

from loragit.commands.whence import origins
from loragit.commands.whence.relations import relation_of
from loragit.store import products
from loragit.store.products import Sealed
from loragit.trainers.trainer import UNKNOWN, SavedAt
from tests.support.paths import ROOT, SD_SCRIPTS
from tests.support.processes import commit_all, git
from tests.support.trainer_files import edited, png, safetensors
from tests.support.user_home import Scene, make_scene, write_dataset

FIXTURES = SD_SCRIPTS
DOCS = ROOT / "docs"
SCHEMA = json.loads((DOCS / "schema" / "whence.json").read_text())
ONE, TWO = "noob-gren-v1s4", "noob-gren-v2s4"
BYTE_FOR_BYTE = "the file is byte for byte the one on record"
WEIGHTS = "the weights are those on record (payload sha256)"
STAMP = "its training comment names the run and its commit"


@pytest.fixture
def scene(home: Path) -> Scene:
    made = make_scene(home)
    assert made.train(ONE).status == 0
    return made


def model(scene: Scene, name: str = ONE) -> Path:
    return scene.output / name / f"{name}.safetensors"


def told(scene: Scene, *files: Path | str, status: int = 0) -> list[dict[str, object]]:
    """What ``--json`` tells; ``matches`` shortened to run, evidence and product."""
    done = scene.loragit("whence", "--json", *map(str, files))
    assert done.status == status, done.err
    rows: list[dict[str, object]] = json.loads(done.out)
    jsonschema.validate(rows, SCHEMA)
    for row in rows:
        if "matches" in row:
            found = row["matches"]
            assert isinstance(found, list)
            row["matches"] = [
                (match["run"], match["evidence"], match["product"]) for match in found
            ]
    return rows


def test_a_model_that_was_renamed_is_known_by_its_bytes(scene: Scene, tmp_path: Path) -> None:
    copy = tmp_path / "my favourite.safetensors"
    shutil.copy(model(scene), copy)
    done = scene.loragit("whence", str(copy))
    commit = scene.git("rev-parse", f"{ONE}^{{commit}}")[:8]
    assert done.out.splitlines() == [
        str(copy),
        f"  {ONE} ({commit}) in {scene.dataset}",
        f"    as ~/output_dir/{ONE}/{ONE}.safetensors",
        f"    {BYTE_FOR_BYTE}",
        f"    {WEIGHTS}",
        f"    {STAMP}",
    ]
    assert (done.status, done.err) == (0, "")


def test_a_model_whose_header_a_site_rewrote_is_known_by_its_weights(
    scene: Scene, tmp_path: Path
) -> None:
    copy = edited(model(scene), tmp_path / "x.safetensors", dict[str, str].clear)
    (row,) = told(scene, copy)
    # The stub's last step and its final model have the same weights.
    assert row["matches"] == [(ONE, ["weights"], f"{ONE}-step00000002.safetensors")]
    assert row["warnings"] == [
        "its header is not the one on record: it was edited, or rewritten by a site or a tool"
    ]


def test_weights_that_were_changed_are_known_by_the_stamp_alone_and_doubted(
    scene: Scene, tmp_path: Path
) -> None:
    resized = edited(model(scene), tmp_path / "x.safetensors", lambda _: None, payload=bytes(256))
    (row,) = told(scene, resized)
    assert row["matches"] == [(ONE, ["stamp"], None)]
    assert row["warnings"] == [
        (
            f"its weights are not those that {ONE} left at step 4: they were changed afterwards "
            "(resized, merged, converted)"
        )
    ]
    nowhere = edited(
        model(scene), tmp_path / "y.safetensors", lambda m: m.pop("ss_steps"), payload=bytes(256)
    )
    (row,) = told(scene, nowhere)
    assert "its header does not say of which" in str(row["warnings"])


def test_a_stamp_that_names_another_run_than_the_weights_is_told(
    scene: Scene, tmp_path: Path
) -> None:
    assert scene.train(TWO, "--", "--seed", "7").status == 0
    stamp = f"loragit: {TWO} {scene.git('rev-parse', f'{TWO}^{{commit}}')}"
    forged = edited(
        model(scene), tmp_path / "x.safetensors", lambda m: m.update(ss_training_comment=stamp)
    )
    done = scene.loragit("whence", str(forged))
    assert done.status == 0
    # The stub writes the same weights for every run: both are found by them, the one with the stamp
    # first.
    assert (
        "several runs left the same weights: the same command and seed give the same bytes"
        in done.err
    )


def test_a_stamp_that_disagrees_with_the_weights_is_told(scene: Scene, tmp_path: Path) -> None:
    stamp = f"loragit: {TWO} {'0' * 40}"
    forged = edited(
        model(scene), tmp_path / "x.safetensors", lambda m: m.update(ss_training_comment=stamp)
    )
    (row,) = told(scene, forged)
    assert row["matches"] == [(ONE, ["weights"], f"{ONE}-step00000002.safetensors")]
    warnings = row["warnings"]
    assert warnings == [
        f"its training comment names the run {TWO} (00000000), which no dataset here has on record",
        f"its training comment names {TWO}, but the weights are {ONE}'s: the header was edited",
    ]


def test_the_stamp_of_a_run_that_was_reverted_is_still_followed(
    scene: Scene, tmp_path: Path
) -> None:
    assert scene.train(TWO, STUB="fail").status == 1
    commit = scene.git("log", "-1", "--format=%H", "--skip=1", "runs")
    stamped = tmp_path / "x.safetensors"
    comment = f"by moonlight (loragit: {TWO} {commit})"
    stamped.write_bytes(safetensors({"w": b"1234"}, {"ss_training_comment": comment}))
    (row,) = told(scene, stamped)
    assert row["matches"] == [(TWO, ["stamp"], None)]
    assert row["warnings"] == []
    done = scene.loragit("whence", str(stamped))
    assert "    its weights are not on record: the run is open, or was reverted" in done.out


SESSION = {"ss_session_id": "42", "ss_training_started_at": "1795454430.13"}


@pytest.fixture
def rotated(scene: Scene, home: Path) -> Path:
    """A model that was copied away before the trainer rotated it away, of the run :data:`TWO`."""
    script = scene.trainer / "sdxl_train_network.py"
    kept = home / "kept.safetensors"
    text = script.read_text().replace("metadata = {", f"metadata = {SESSION!r} | {{")
    text = text.replace(r'b"\x01\x02\x03\x04" * 64', "bytes([step]) * 256")
    final = '    save(args, f"{args.output_name}.safetensors", args.max_train_steps, 1)'
    assert final in text and "bytes([step])" in text
    step = 'f"{args.output_dir}/{args.output_name}-step00000002.safetensors"'
    script.write_text(text.replace(final, f"    os.replace({step}, {str(kept)!r})\n{final}"))
    commit_all(scene.trainer, "sessions, and a rotation")
    assert scene.train(TWO).status == 0
    assert scene.outcome(TWO)["Session"] == "42 1795454430.13"
    assert list(model(scene, TWO).parent.glob("*-step*")) == []
    return kept


def matched(scene: Scene, file: Path) -> dict[str, object]:
    """The best match in ``--json``, with the warnings."""
    (row,) = json.loads(scene.loragit("whence", "--json", str(file)).out)
    return {**row["matches"][0], "warnings": row["warnings"]}


def test_a_model_that_was_rotated_away_is_known_by_session_and_step(
    scene: Scene, rotated: Path
) -> None:
    done = scene.loragit("whence", str(rotated))
    assert (done.status, done.err) == (0, ""), "nothing is wrong with it"
    commit = scene.git("rev-parse", f"{TWO}^{{commit}}")[:8]
    assert done.out.splitlines()[1:] == [
        f"  {TWO} ({commit}) in {scene.dataset}",
        (
            "    a model of step 2 that is not on record: when the run ended it was no longer "
            "there (rotated away, moved), or not whole"
        ),
        f"    {STAMP}",
        "    its training session is the one on record",
    ]
    assert matched(scene, rotated)["relation"] == "unrecorded"


def test_without_the_stamp_session_and_step_are_enough(
    scene: Scene, rotated: Path, tmp_path: Path
) -> None:
    file = tmp_path / "x.safetensors"
    edited(rotated, file, lambda m: m.pop("ss_training_comment"))
    match = matched(scene, file)
    assert (match["run"], match["evidence"]) == (TWO, ["session"])
    assert (match["relation"], match["step"], match["warnings"]) == ("unrecorded", 2, [])


def test_a_model_of_a_step_on_record_with_other_weights_was_changed(
    scene: Scene, rotated: Path, tmp_path: Path
) -> None:
    file = tmp_path / "x.safetensors"
    edited(rotated, file, lambda m: m.update(ss_steps="4"))
    match = matched(scene, file)
    assert (match["relation"], match["step"]) == ("changed", 4)
    assert match["warnings"] == [
        (
            f"its weights are not those that {TWO} left at step 4: they were changed afterwards "
            "(resized, merged, converted)"
        )
    ]


def test_a_header_with_another_session_than_its_run_is_doubted(
    scene: Scene, rotated: Path, tmp_path: Path
) -> None:
    file = tmp_path / "x.safetensors"
    edited(rotated, file, lambda m: m.update(ss_session_id="43"))
    match = matched(scene, file)
    assert (match["relation"], match["evidence"]) == ("unknown", ["stamp"])
    assert match["warnings"] == [f"its training session is not the one that {TWO} has on record"]


def test_a_file_that_was_cut_short_is_not_called_changed(
    scene: Scene, rotated: Path, tmp_path: Path
) -> None:
    (tmp_path / "x.safetensors").write_bytes(model(scene, TWO).read_bytes()[:-10])
    warnings = matched(scene, tmp_path / "x.safetensors")["warnings"]
    assert warnings == ["x.safetensors is cut short: it is not as long as its header says"]


@pytest.mark.parametrize(
    ("comment", "step", "sentence"),
    [
        (
            "dimension is resized from 4 to 2; ",
            4,
            "made from the model of step 4 by a tool: dimension is resized from 4 to 2",
        ),
        (
            "Dynamic resize with sv_fro: 0.9 from 4; ",
            2,
            (
                "made from a model of step 2 that is not on record by a tool: Dynamic resize with "
                "sv_fro: 0.9 from 4"
            ),
        ),
        (
            "dimension is resized from 8 to 2 (conv: 1); split from DyLoRA, rank 16 to 8; ",
            None,
            (
                "made from a model of it by a tool: dimension is resized from 8 to 2 (conv: 1); "
                "split from DyLoRA, rank 16 to 8"
            ),
        ),
    ],
)
def test_a_resized_model_leads_to_the_run_that_it_was_made_from(
    scene: Scene, rotated: Path, tmp_path: Path, comment: str, step: int | None, sentence: str
) -> None:
    def resize(metadata: dict[str, str]) -> None:
        metadata["ss_training_comment"] = comment + metadata["ss_training_comment"]
        metadata["sshs_model_hash"] = "ab" * 32
        metadata |= {} if step is None else {"ss_steps": str(step)}
        if step is None:
            del metadata["ss_steps"]

    file = edited(rotated, tmp_path / "x.safetensors", resize, payload=bytes(256))
    done = scene.loragit("whence", str(file))
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines()[2:] == [
        f"    {sentence}",
        f"    {STAMP}",
        "    its training session is the one on record",
    ]
    match = matched(scene, file)
    assert (match["relation"], match["step"]) == ("resized", step)


@pytest.mark.parametrize(
    ("saved", "kind"),
    [
        (SavedAt(2, None), "unrecorded"),
        (SavedAt(4, None), "changed"),
        (SavedAt(None, 1), "changed"),
        (SavedAt(None, 2), "unrecorded"),
        (SavedAt(None, None), "unknown"),
    ],
)
def test_what_a_model_is_to_its_run_depends_on_the_steps_on_record(
    saved: SavedAt, kind: str
) -> None:
    message = (
        f"{ONE}: 1 model\n\nRun: {ONE}\n"
        f"Model: a.safetensors 5 bytes sha256:{'0' * 64} step:4 epoch:1\n"
    )
    sealed = Sealed(Path("/x"), ONE, "a" * 40, message)
    relation = relation_of(ONE, sealed, UNKNOWN, saved)
    assert relation.kind == kind
    assert (relation.warning is None) == (kind == "unrecorded")


def test_a_merged_model_leads_to_each_run_that_its_header_names(
    scene: Scene, home: Path, tmp_path: Path
) -> None:
    assert scene.train(TWO, "--", "--seed", "7").status == 0
    other = write_dataset(home / "datasets" / "moss")
    git(other, "init", "-q")
    commit_all(other, "images")
    assert scene.loragit("train", TWO, "--dataset", str(other), "--output", "o").status == 0
    file = tmp_path / "merged.safetensors"
    titles = f"sd_xl_base_1.0, {ONE}, {TWO}-step00000002, no-step"
    header = {"ss_network_module": "networks.lora", "modelspec.merged_from": titles}
    file.write_bytes(safetensors({"w": b"merged"}, header))
    (row,) = told(scene, file)
    found = row["matches"]
    assert isinstance(found, list)
    assert sorted(found) == [(name, ["merged_from"], None) for name in (ONE, TWO, TWO)]
    assert row["warnings"] == [
        "it was merged from a model with the title sd_xl_base_1.0, which no run on record here has",
        (
            f"it was merged from a model with the title {TWO}-step00000002: 2 runs have one, and "
            "nothing says which"
        ),
        "it was merged from a model with the title no-step, which no run on record here has",
    ]
    assert matched(scene, file)["relation"] == "merged"
    # A whole checkpoint has no other key of sd-scripts'.
    del header["ss_network_module"]
    file.write_bytes(safetensors({"w": b"merged"}, header))
    assert matched(scene, file)["relation"] == "merged"


def test_titles_without_end_are_counted(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "merged.safetensors"
    titles = ", ".join(f"t{number}" for number in range(60))
    file.write_bytes(safetensors({"w": b"merged"}, {"modelspec.merged_from": titles}))
    done = scene.loragit("whence", str(file))
    assert done.status == 1
    assert done.err.count("\n") == 51
    assert "it was merged from 10 more models; --json lists them" in done.err


def test_the_weights_of_a_state_are_known_wherever_they_are(scene: Scene, tmp_path: Path) -> None:
    script = scene.trainer / "sdxl_train_network.py"
    text = script.read_text()
    saved = '(folder / "optimizer.bin").write_bytes(b"state")'
    weights = (
        '; (folder / "model.safetensors").write_bytes(trainer_files.safetensors({"w": b"float"}))'
    )
    assert saved in text
    script.write_text(text.replace(saved, saved + weights))
    commit_all(scene.trainer, "states hold weights")
    assert scene.train(TWO, STUB="state").status == 0
    state = f"{TWO}-step00000002-state"
    assert scene.outcome(TWO)["State"] == state
    shutil.copy(scene.output / TWO / state / "model.safetensors", tmp_path / "x.safetensors")
    (row,) = told(scene, tmp_path / "x.safetensors")
    assert row["matches"] == [(TWO, ["file", "weights"], f"{state}/model.safetensors")]
    assert row["warnings"] == []
    match = matched(scene, tmp_path / "x.safetensors")
    assert (match["relation"], match["step"]) == ("product", 2)
    shown = scene.loragit("show", TWO).out
    assert f"  {state}/model.safetensors  " in shown
    document = json.loads(scene.loragit("show", TWO, "--json").out)
    assert [each["path"] for each in document["state_weights"]] == [f"{state}/model.safetensors"]


def test_a_sample_image_is_known_whatever_it_is_called(scene: Scene, tmp_path: Path) -> None:
    samples = sorted((scene.output / ONE / "sample").iterdir())
    samples[1].write_bytes(png(2, 2, (9, 9, 9)))  # not what was sealed
    shutil.copy(samples[0], tmp_path / "pretty.png")
    known, unknown = told(scene, tmp_path / "pretty.png", samples[1], status=1)
    assert known["matches"] == [(ONE, ["sample"], f"sample/{samples[0].name}")]
    assert unknown["matches"] == []
    digest = hashlib.sha256(samples[0].read_bytes()).hexdigest()
    assert f"\nSample: sample/{samples[0].name} sha256:{digest}\n" in scene.git(
        "cat-file", "tag", ONE
    )


def test_the_page_has_every_key_of_the_document_and_every_kind_of_evidence() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = SCHEMA["items"]["properties"]
    match = document["matches"]["items"]["properties"]
    assert match["evidence"]["items"]["enum"] == list(origins.STRENGTH)
    section = (
        (DOCS / "json.md")
        .read_text()
        .partition("## `loragit whence --json`")[2]
        .partition("\n## ")[0]
    )
    assert [
        key for key in (*document, *match, *origins.STRENGTH) if f"`{key}`" not in section
    ] == []


def test_a_model_of_nobody_tells_what_its_header_says(scene: Scene) -> None:
    file = FIXTURES / "output_dir" / "tiny_lora" / "tiny_lora.safetensors"
    done = scene.loragit("whence", str(file))
    assert (done.status, done.err) == (1, "")
    lines = done.out.splitlines()
    assert lines[1] == "  no run on record made it"
    assert "    output name: tiny_lora" in lines
    assert "    network: networks.lora" in lines


def test_the_header_of_another_trainer_is_shown(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    config = '{"training_method": "LORA", "rest": "' + "x" * 300 + '"}'
    many = {f"key{number:02d}": "value" for number in range(28)}
    values = {"ot_branch": "master", "ot_config": config, "ss_of_a_fork": "1", "z": "1", **many}
    file.write_bytes(safetensors({"w": b"1234"}, values))
    done = scene.loragit("whence", str(file))
    assert (done.status, done.err) == (1, "")
    lines = done.out.splitlines()
    assert "    ot_branch: master" in lines
    assert f"    ot_config: {config[:200]}…" in lines
    assert "    key27: value" in lines
    assert lines[-1] == "    2 other values of its header: --json lists them"
    (origin,) = json.loads(scene.loragit("whence", "--json", str(file)).out)
    assert origin["header"] == values


def test_folders_are_walked_and_links_to_folders_are_not(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "a" / ".hidden").mkdir(parents=True)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    for place in ("a/m.safetensors", "a/.hidden/m.safetensors"):
        shutil.copy(model(scene), tmp_path / place)
    (tmp_path / "a" / "notes.txt").write_text("no model")
    rows = told(scene, tmp_path / "a")
    assert [row["path"] for row in rows] == [str(tmp_path / "a" / "m.safetensors")]


def test_runs_of_other_datasets_are_found_too(scene: Scene, home: Path) -> None:
    other = write_dataset(home / "datasets" / "moss")
    git(other, "init", "-q")
    commit_all(other, "images")
    assert scene.loragit("train", "noob-moss-v1s4", "--", "--seed", "3", cwd=other).status == 0
    (row,) = told(scene, model(scene, "noob-moss-v1s4"))
    assert ("noob-moss-v1s4", ["file", "weights", "stamp"], "noob-moss-v1s4.safetensors") in row[
        "matches"
    ]  # type: ignore[operator]
    # From anywhere, also from a folder in no repository.
    done = scene.loragit("whence", str(model(scene, "noob-moss-v1s4")), cwd=home)
    assert done.status == 0
    assert "noob-moss-v1s4 (" in done.out


def test_a_repository_of_many_datasets_is_asked_once(
    scene: Scene, home: Path, tmp_path: Path
) -> None:
    assert products.datasets(home / "datasets", scene.dataset) == (scene.dataset, home / "datasets")
    assert products.datasets(tmp_path / "nowhere", scene.dataset) == (scene.dataset,)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it ends within its header"),
        (struct.pack("<Q", 2**60) + b"{}", "it ends within its header"),
        (struct.pack("<Q", 9) + b"[[[[[[[[[", "its header does not parse"),
        (struct.pack("<Q", 200_000) + b'{"a":' * 40_000, "nested too deep"),
        (struct.pack("<Q", 41) + b'{"__metadata__": {"ss_output_name": 1}}   ', "does not parse"),
    ],
)
def test_a_hostile_or_broken_header_is_refused_not_obeyed(
    scene: Scene, tmp_path: Path, data: bytes, problem: str
) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    done = scene.loragit("whence", str(tmp_path / "x.safetensors"))
    assert done.status == 1
    assert "no run on record made it" in done.out
    assert problem in done.err
    assert "Traceback" not in done.err


def test_what_a_header_says_cannot_speak_to_the_terminal(scene: Scene, tmp_path: Path) -> None:
    name = "\x1b]0;owned\x07" + "x" * 500
    (tmp_path / "x.safetensors").write_bytes(safetensors({"w": b"1"}, {"ss_output_name": name}))
    done = scene.loragit("whence", str(tmp_path / "x.safetensors"))
    assert "    output name: \\x1b]0;owned\\x07xxx" in done.out
    assert max(map(len, done.out.splitlines())) < 300


def test_a_file_that_was_cut_short_is_told(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(model(scene).read_bytes()[:-10])
    done = scene.loragit("whence", str(tmp_path / "x.safetensors"))
    assert "x.safetensors is cut short: it is not as long as its header says" in done.err
    assert STAMP in done.out


def test_what_cannot_be_looked_at_is_told(scene: Scene, tmp_path: Path) -> None:
    missing = scene.loragit("whence", str(tmp_path / "gone.safetensors"))
    assert (missing.status, missing.out) == (2, "")
    assert missing.err.splitlines() == [
        f"error: there is no file {tmp_path}/gone.safetensors",
        "hint: name a .safetensors file, or a folder of them",
    ]
    (tmp_path / "empty").mkdir()
    empty = scene.loragit("whence", str(tmp_path / "empty"))
    assert empty.status == 2
    assert f"{tmp_path}/empty holds no model and no image" in empty.err
    (row,) = told(scene, "/dev/null", status=1)
    assert row == {"path": "/dev/null", "error": "null cannot be read: null is not a regular file"}
    assert (
        scene.loragit("whence", "/dev/null").err
        == "warning: null cannot be read: null is not a regular file\n"
    )
