"""The weights that a run starts from: which of them must be there, and what is known of each."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from loragit.dataset.hashes import HashCache
from loragit.errors import Findings
from loragit.record.values import Weights
from loragit.run.preflight.weights import hub_cache, identify
from loragit.trainers.arguments import Arguments, from_words
from loragit.trainers.sd_scripts.trainer import SdScripts
from loragit.trainers.trainer import Defaults, HubName

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 12345\n" % (b"a" * 64)
FORMAT = Path(__file__).parents[4] / "docs" / "record-format.md"
REVISION = "c0ffee" * 6 + "c0de"


def identified(
    folder: Path, *words: str, script: str = "train_network.py", **environ: str
) -> tuple[identify.Identified, Findings]:
    defaults = Defaults(
        "noob-gren-v1s4", folder / "config.toml", False, None, folder, script=script
    )
    plan = SdScripts().plan(Arguments({}), from_words(words), defaults, own_script=False)
    findings, cache = Findings(), HashCache(folder.parent / "cache")
    environ = {"HOME": str(folder / "home"), **environ}
    return identify.identify_weights(plan, folder, environ, cache, findings), findings


def known(folder: Path, *words: str, **others: str) -> tuple[Weights, ...]:
    found, findings = identified(folder, *words, **others)
    assert findings.all() == ()
    assert found.warnings == ()
    return found.weights


def refused(folder: Path, *words: str, **others: str) -> tuple[str, str | None]:
    """The one problem and its hint."""
    (finding,) = identified(folder, *words, **others)[1].all()
    return finding.problem, finding.hint


def files(folder: Path, *names: str) -> None:
    """Each file holds its own name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def diffusers(folder: Path, *further: str) -> None:
    """A model in diffusers' form."""
    files(folder, "unet/config.json", "unet/diffusion_pytorch_model.safetensors", *further)
    index = {"_class_name": "X", "unet": ["diffusers", "U"], "safety_checker": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index))


def cached(hub: Path, name: str = "owner/vae", revision: str = REVISION) -> Path:
    """A snapshot in a hub's cache."""
    folder = hub / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(revision)
    return snapshot


def sha256sum(folder: Path) -> str:
    """The one hash of a folder's files, by the command that the documentation shows."""
    (block,) = (
        part for part in FORMAT.read_text().split("```sh\n") if part.startswith("find -L .")
    )
    done = subprocess.run(
        ["bash", "-c", block.partition("```")[0]], cwd=folder, capture_output=True, text=True
    )
    return done.stdout.split()[0]


# ---- files ----


def test_a_file_is_known_by_its_hash(tmp_path: Path) -> None:
    files(tmp_path, "noob.safetensors")
    sha256 = hashlib.sha256(b"noob.safetensors").hexdigest()
    assert known(tmp_path, "--pretrained_model_name_or_path", "noob.safetensors") == (
        Weights("Base-Model", "noob.safetensors", sha256),
    )


EVERY = [
    *("pretrained_model_name_or_path", "vae", "ae", "network_weights", "base_weights", "weights"),
    *("clip_l", "clip_g", "t5xxl", "gemma2", "text_encoder", "byt5", "qwen3", "llm_adapter_path"),
    *("t5_tokenizer_path", "controlnet_model_name_or_path", "resume"),
]


@pytest.mark.parametrize("argument", EVERY)
@pytest.mark.parametrize("value", ["/none/x.safetensors", "./none", "../none", "~/none"])
def test_what_can_only_be_a_path_must_be_there(tmp_path: Path, argument: str, value: str) -> None:
    problem, hint = refused(tmp_path, f"--{argument}", value)
    assert problem.startswith(f"--{argument}: there is no ")
    assert problem.endswith(str(tmp_path / value))
    assert hint == "mend the path in the settings or the arguments"


@pytest.mark.parametrize("value", ["x.safetensors", "owner/x.ckpt", "x.pt", "x" * 300, "a\0b"])
def test_what_ends_as_weights_do_or_is_no_name_is_a_path(tmp_path: Path, value: str) -> None:
    assert refused(tmp_path, "--vae", value)[0].startswith("--vae: there is no file or folder ")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.safetensors")
    problem, _ = refused(tmp_path, "--vae", "x.safetensors")
    assert "is neither a file nor a folder; the trainer loads a file or folder" in problem


def test_a_folder_where_the_trainer_opens_a_file_is_refused(tmp_path: Path) -> None:
    diffusers(tmp_path / "diffusers")
    problem, hint = refused(tmp_path, "--network_weights", "diffusers")
    assert problem.endswith("diffusers is a folder, and the trainer loads a file")
    assert hint == "name the file"


def test_a_file_where_the_trainer_loads_a_folder_is_refused(tmp_path: Path) -> None:
    files(tmp_path, "state")
    assert (
        "state is a file; the trainer loads a folder" in refused(tmp_path, "--resume", "state")[0]
    )


def test_a_file_that_is_not_really_there_names_the_command_that_fetches_it(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(LFS)
    (tmp_path / "b.safetensors").symlink_to(".git/annex/objects/x/y/KEY/KEY")
    (tmp_path / "c.safetensors").symlink_to("/mnt/none")
    assert refused(tmp_path, "--vae", "a.safetensors") == (
        f"--vae: {tmp_path}/a.safetensors is a git-lfs pointer",
        f"fetch it: git -C {tmp_path} lfs pull",
    )
    assert refused(tmp_path, "--clip_l", "b.safetensors")[1] == (
        f"fetch it: git -C {tmp_path} annex get b.safetensors"
    )
    problem, hint = refused(tmp_path, "--clip_l", "c.safetensors")
    assert problem.endswith("c.safetensors is a link to /mnt/none, which is not there")
    assert hint == "mend the link, or copy the file there"


BASE = "--pretrained_model_name_or_path"


def test_sdxl_scripts_take_a_links_target_as_relative_to_their_own_folder(tmp_path: Path) -> None:
    files(tmp_path, "models/sdxl/noob.safetensors")
    link = tmp_path / "models" / "noob.safetensors"
    link.symlink_to("sdxl/noob.safetensors")
    assert known(tmp_path, BASE, str(link))
    problem, hint = refused(tmp_path, BASE, str(link), script="sdxl_train_network.py")
    assert (
        f"is a link to sdxl/noob.safetensors, which the trainer takes as relative to {tmp_path}"
        in (problem)
    )
    assert hint == f"name the file itself: {tmp_path}/models/sdxl/noob.safetensors"
    # So it opens another file where there is one.
    files(tmp_path, "sdxl/noob.safetensors")
    (tmp_path / "sdxl" / "noob.safetensors").write_text("another")
    (found,) = known(tmp_path, BASE, str(link), script="sdxl_train_network.py")
    assert found.sha256 == hashlib.sha256(b"another").hexdigest()
    link.unlink()
    link.symlink_to("/mnt/none")
    problem, _ = refused(tmp_path, BASE, str(link), script="sdxl_train_network.py")
    assert problem.endswith("is a link to /mnt/none, which is not there")


@pytest.mark.parametrize("script", ["sd3_train.py", "x/anima_train_network.py", "lumina_train.py"])
def test_scripts_of_newer_models_open_files_and_nothing_else(tmp_path: Path, script: str) -> None:
    diffusers(tmp_path / "xl")
    cached(tmp_path / "home" / ".cache" / "huggingface" / "hub")
    for words in ((BASE, "owner/vae"), ("--vae", "owner/vae"), (BASE, "xl")):
        known(tmp_path, *words)
        assert words[0] in refused(tmp_path, *words, script=script)[0]


def test_flux_scripts_load_the_transformer_of_a_folder(tmp_path: Path) -> None:
    script = "flux_train_network.py"
    diffusers(tmp_path / "flux")
    assert "is a folder without transformer/" in refused(tmp_path, BASE, "flux", script=script)[0]
    parts = [
        f"transformer/diffusion_pytorch_model-0000{number}-of-00003.safetensors"
        for number in (1, 2, 3)
    ]
    index = {"transformer": ["diffusers", "T"], "unet": ["diffusers", "U"]}
    (tmp_path / "flux" / "model_index.json").write_text(json.dumps(index))
    files(tmp_path / "flux", *parts[:2])
    problem, _ = refused(tmp_path, BASE, "flux", script=script)
    assert f"there is no file {tmp_path}/flux/{parts[2]}, and 3 such files belong" in problem
    files(tmp_path / "flux", parts[2])
    known(tmp_path, BASE, "flux", script=script)


# ---- a file in several parts ----

PARTS = [f"dit-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]


def test_a_model_in_several_parts_has_the_hash_of_all(tmp_path: Path) -> None:
    files(tmp_path / "dit", *PARTS)
    digest = sha256sum(tmp_path / "dit")
    files(tmp_path / "dit", "other.safetensors")
    assert known(tmp_path, "--pretrained_model_name_or_path", f"dit/{PARTS[0]}") == (
        Weights("Base-Model", PARTS[0], None, files_sha256=digest),
    )


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    files(tmp_path, *PARTS[:2])
    problem, _ = refused(tmp_path, "--pretrained_model_name_or_path", PARTS[0])
    assert f"there is no file {tmp_path / PARTS[2]}" in problem
    (tmp_path / PARTS[2]).write_bytes(LFS)
    problem, _ = refused(tmp_path, "--pretrained_model_name_or_path", PARTS[0])
    assert problem.endswith(f"{PARTS[2]} is a git-lfs pointer")


# ---- folders ----


def test_a_folder_is_known_by_the_hash_that_sha256sum_gives(tmp_path: Path) -> None:
    files(tmp_path / "qwen", "config.json", "b/model.safetensors", "b\\a\n.json", "a b.txt")
    before = known(tmp_path, "--qwen3", "qwen")
    assert before == (Weights("Qwen3", "qwen", None, files_sha256=sha256sum(tmp_path / "qwen")),)
    files(tmp_path / "qwen", ".git/HEAD", "b/.DS_Store", "README.md", "grid.PNG", "b/x.jpeg")
    assert known(tmp_path, "--qwen3", "qwen") == before
    assert sha256sum(tmp_path / "qwen") == before[0].files_sha256
    files(tmp_path / "qwen", "b/generation_config.json")
    assert known(tmp_path, "--qwen3", "qwen") != before


def test_of_a_folder_in_diffusers_form_the_named_parts_count(tmp_path: Path) -> None:
    diffusers(tmp_path / "xl")
    digest = sha256sum(tmp_path / "xl")
    diffusers(tmp_path / "xl", "sd_xl_base.safetensors", "safety_checker/x.bin", "other/x.bin")
    assert known(tmp_path, "--pretrained_model_name_or_path", "xl") == (
        Weights("Base-Model", "xl", None, files_sha256=digest),
    )


@pytest.mark.parametrize("index", ["no json", "[]", "{}"])
def test_an_index_that_names_no_parts_is_a_file_like_any_other(tmp_path: Path, index: str) -> None:
    files(tmp_path / "xl", "model_index.json")
    (tmp_path / "xl" / "model_index.json").write_text(index)
    (found,) = known(tmp_path, "--pretrained_model_name_or_path", "xl")
    assert found.files_sha256 == sha256sum(tmp_path / "xl")


def test_a_folder_of_models_is_no_model(tmp_path: Path) -> None:
    files(tmp_path / "models", "noob.safetensors")
    problem, hint = refused(tmp_path, "--pretrained_model_name_or_path", "models")
    assert "models is a folder without model_index.json or transformer/" in problem
    assert hint == "name the folder of the model itself, or a file"


def test_a_state_is_known_by_the_hash_of_its_files(tmp_path: Path) -> None:
    files(tmp_path / "gren-state", "optimizer.bin", "random_states_0.pkl", "train_state.json")
    assert known(tmp_path, "--resume", "gren-state") == (
        Weights("Resume", "gren-state", None, files_sha256=sha256sum(tmp_path / "gren-state")),
    )


def test_files_of_a_folder_that_were_never_fetched_are_refused(tmp_path: Path) -> None:
    diffusers(tmp_path / "xl", "text_encoder/config.json")
    for name in ("unet/diffusion_pytorch_model.safetensors", "unet/config.json"):
        (tmp_path / "xl" / name).write_bytes(LFS)
    problem, hint = refused(tmp_path, "--pretrained_model_name_or_path", "xl")
    assert problem.endswith("xl/unet/config.json is a git-lfs pointer (2 such files)")
    assert hint == f"fetch them: git -C {tmp_path}/xl/unet lfs pull"


def test_another_format_of_the_same_weights_need_not_be_fetched(tmp_path: Path) -> None:
    diffusers(tmp_path / "xl")
    before = known(tmp_path, "--pretrained_model_name_or_path", "xl")
    (tmp_path / "xl" / "unet" / "diffusion_pytorch_model.bin").write_bytes(LFS)
    (tmp_path / "xl" / "unet" / "model.onnx").symlink_to("gone")
    assert known(tmp_path, "--pretrained_model_name_or_path", "xl") == before


def test_links_in_a_folder_that_lead_in_circles_end(tmp_path: Path) -> None:
    files(tmp_path / "state", "optimizer.bin")
    for name in "ab":
        (tmp_path / "state" / name).symlink_to(".")
    problem, hint = refused(tmp_path, "--resume", "state")
    assert problem.endswith("state holds more than 10,000 files and folders")
    assert hint == "name the folder of the model itself"


# ---- names on a hub ----


@pytest.mark.parametrize("value", ["owner/none", "owner/none-1.0"])
def test_a_name_that_the_cache_lacks_will_be_downloaded(tmp_path: Path, value: str) -> None:
    found, findings = identified(tmp_path, "--vae", value)
    assert findings.all() == ()
    assert found.weights == (Weights("VAE", value, None),)
    (warning,) = found.warnings
    assert f"there is no file or folder {tmp_path}/{value}, and the hub's cache" in warning
    assert f"{tmp_path}/home/.cache/huggingface/hub has no {value}: it will be down" in warning


def test_a_name_that_the_cache_holds_is_recorded_with_its_revision(tmp_path: Path) -> None:
    cached(tmp_path / "home" / ".cache" / "huggingface" / "hub")
    assert known(tmp_path, "--vae", "owner/vae") == (
        Weights("VAE", "owner/vae", None, revision=REVISION),
    )


@pytest.mark.parametrize(
    ("variable", "value", "hub"),
    [
        ("HF_HUB_CACHE", "~/cache", "home/cache"),
        ("HUGGINGFACE_HUB_CACHE", "cache", "cache"),
        ("HF_HOME", "~/hf", "home/hf/hub"),
        ("XDG_CACHE_HOME", "~/xdg", "home/xdg/huggingface/hub"),
    ],
)
def test_the_trainers_environment_says_where_the_cache_is(
    tmp_path: Path, variable: str, value: str, hub: str
) -> None:
    cached(tmp_path / hub)
    (found,) = known(tmp_path, "--vae", "owner/vae", **{variable: value})
    assert found.revision == REVISION


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_what_the_cache_lacks_is_refused(tmp_path: Path, variable: str) -> None:
    problem, hint = refused(tmp_path, "--vae", "owner/vae", **{variable: "1"})
    assert "there is no file or folder" in problem
    assert hint == "mend the path, or fetch it: hf download owner/vae"
    identified(tmp_path, "--vae", "owner/vae", **{variable: "0"})


def test_offline_the_cache_must_hold_the_files(tmp_path: Path) -> None:
    snapshot = cached(tmp_path / "home" / ".cache" / "huggingface" / "hub")
    (snapshot / "config.json").symlink_to("../../blobs/gone")
    known(tmp_path, "--vae", "owner/vae")
    problem, hint = refused(tmp_path, "--vae", "owner/vae", HF_HUB_OFFLINE="1")
    assert problem.endswith("config.json is a link into a hub's cache, whose file is gone")
    assert hint == f"fetch it: hf download owner/vae config.json --revision {REVISION}"


def test_a_name_without_an_owner_is_believed_where_the_cache_has_it(tmp_path: Path) -> None:
    assert "and the hub's cache" in refused(tmp_path, "--vae", "noob")[0]
    cached(tmp_path / "home" / ".cache" / "huggingface" / "hub", "noob")
    assert known(tmp_path, "--vae", "noob")[0].revision == REVISION


def test_a_tokenizer_is_looked_up_in_the_cache_alone(tmp_path: Path) -> None:
    problem, hint = refused(tmp_path, "--t5_tokenizer_path", "google/t5")
    assert problem.startswith("--t5_tokenizer_path: there is no file or folder")
    assert hint is not None
    assert hint.endswith("hf download google/t5")


@pytest.mark.parametrize("argument", ["network_weights", "controlnet_model_name_or_path", "qwen3"])
def test_what_the_trainer_never_fetches_must_be_there(tmp_path: Path, argument: str) -> None:
    assert refused(tmp_path, f"--{argument}", "owner/name")[0].startswith(
        f"--{argument}: there is no file"
    )


@pytest.mark.parametrize("refs", ["", "main", "../../x", "c0ffee"])
def test_a_cache_that_names_no_commit_holds_nothing(tmp_path: Path, refs: str) -> None:
    snapshot = cached(tmp_path)
    (snapshot.parents[1] / "refs" / "main").write_text(refs)
    assert hub_cache.cached_snapshot(HubName("owner/vae"), tmp_path) is None
    assert hub_cache.cached_snapshot(HubName("owner/vae", "../refs/main"), tmp_path) is None
    assert hub_cache.cached_snapshot(HubName("owner/vae", REVISION), tmp_path) == snapshot


def test_a_state_on_a_hub_is_a_folder_of_a_repository(tmp_path: Path) -> None:
    cached(tmp_path / "home" / ".cache" / "huggingface" / "hub", "owner/states")
    value = "owner/states/gren-state"
    words = ("--resume_from_huggingface", "--resume")
    assert known(tmp_path, *words, value) == (Weights("Resume", value, None, revision=REVISION),)
    problem, hint = refused(tmp_path, *words, "gren-state")
    assert problem == "--resume: 'gren-state' does not name a folder on a hub"
    assert hint == "write OWNER/NAME/PATH, or OWNER/NAME/PATH:REVISION"
    problem, hint = refused(tmp_path, *words, f"{value}:v1:dataset", HF_HUB_OFFLINE="1")
    assert hint == (
        "mend the path, or fetch it: hf download owner/states --repo-type dataset --revision v1"
    )
