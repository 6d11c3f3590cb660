"""The search for secrets before a commit: real commits through the installed hook, and the files
that are named."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from loragit.commands import hook
from loragit.commands.hook import files, staged
from loragit.commands.hook.staged import check, check_files
from loragit.commands.hook.trainer_clean import CommitCheck
from loragit.errors import LoragitError
from tests.support.growth import within

HF = "hf_" + "aB3dE6gH9j" * 4
LINE = f"HF_TOKEN={HF}"


def git(folder: Path, *args: str, data: bytes | None = None) -> str:
    done = subprocess.run(["git", *args], cwd=folder, capture_output=True, input=data)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().removesuffix("\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository without a dataset's settings, the hook with its search for secrets in it."""
    folder = tmp_path / "a data set"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    files.install(folder, shlex.join([sys.executable, "-m", "loragit"]), secrets=True)
    return folder


def commit(folder: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Commit what is staged, as a user would."""
    words = ["git", "commit", "-m", "more", *args]
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, env={**os.environ, **environ}
    )


def passes(folder: Path, *args: str) -> None:
    done = commit(folder, *args)
    assert (done.returncode, done.stderr) == (0, "")


def refused(folder: Path, *told: str, **environ: str) -> str:
    before = git(folder, "rev-parse", "HEAD")
    done = commit(folder, **environ)
    assert done.returncode == 1, done
    assert git(folder, "rev-parse", "HEAD") == before
    for each in told:
        assert each in done.stderr, done.stderr
    assert HF not in done.stderr
    assert "git commit --no-verify" in done.stderr
    return done.stderr


def stage(folder: Path, path: str, content: str | bytes) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    git(folder, "add", "--force", "--", path)
    return file


# ---- commits ----


def test_a_commit_with_a_secret_is_refused_with_file_and_line_and_what_to_do(folder: Path) -> None:
    stage(folder, ".env", f"A=1\n{LINE}\n")
    err = refused(folder, "error: what would be committed holds what looks like a secret\n")
    assert "  - .env, line 2: Hugging Face token\n" in err
    assert (
        "take it out and stage the files again; if it is none, end its line with the comment # "
        "loragit: no" in err
    )
    stage(folder, "img/01.txt", f"1girl\n{HF}")
    assert "2 secrets" in refused(folder, "  - img/01.txt, line 2: Hugging Face token\n")
    passes(folder, "--no-verify")


@pytest.mark.parametrize(
    ("path", "content", "told"),
    [
        (
            ".netrc",
            "machine api.wandb.ai\n  login user\n  password 0f1e2d3c4b5a6978\n",
            "line 3: password",
        ),
        (".git-credentials", "https://ada:sekret9Pw@github.com\n", "line 1: password in a URL"),
        (
            "tracker.toml",
            '[wandb]\nkey = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"\n',
            "line 2: W&B API key",
        ),
        (
            "loragit.toml",
            '[trainer.args]\nwandb_api_key = "correct-horse"\n',
            "line 2: W&B API key",
        ),
        (
            "accounts.json",
            '{"tokens": {\n"hf": "correcthorsebattery"}}',
            "line 2: Hugging Face token",
        ),
        ("meta.jsonl", '{"file": "a"}\n{"api_key": "x y z"}\n', "line 2: API key"),
        (
            "get.sh",
            "wget 'https://civitai.com/api/download/models/1?token=0f1e2d3c4b5a69788796a5b4c3d2e1f0'",
            "Civitai",
        ),
        (
            "id_ed25519",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----",
            "private key",
        ),
        ("notes.txt", f"\ufeffone\n{HF}".encode("utf-16-le"), "line 2: Hugging Face token"),
        (
            ".git/../setup.bat",
            "setx WANDB_API_KEY 0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c",
            "W&B API key",
        ),
    ],
)
def test_secrets_as_people_commit_them(
    folder: Path, path: str, content: str | bytes, told: str
) -> None:
    path = os.path.normpath(path)
    stage(folder, path, content)
    refused(folder, f"- {path}, ", told)


def test_what_is_staged_counts_and_not_what_lies_in_the_work_tree(folder: Path) -> None:
    file = stage(folder, "a.env", LINE)
    file.write_text("clean")
    refused(folder, "a.env, line 1")
    git(folder, "add", "a.env")
    file.write_text(LINE)
    passes(folder)
    stage(folder, "b.env", LINE).unlink()
    refused(folder, "b.env, line 1")


def test_a_commit_of_named_paths_is_judged_by_its_own_index(folder: Path) -> None:
    stage(folder, "a.env", "clean")
    stage(folder, "b.env", "clean")
    passes(folder)
    (folder / "b.env").write_text("clean again")
    stage(folder, "a.env", LINE)
    passes(folder, "b.env")
    (folder / "b.env").write_text(LINE)
    git(folder, "reset", "-q", "a.env")
    assert commit(folder, "b.env").returncode == 1
    assert commit(folder, "-a").returncode == 1


def test_a_secret_that_is_there_already_is_not_new(folder: Path) -> None:
    stage(folder, "a.env", f"one\n{LINE}\n")
    passes(folder, "--no-verify")
    stage(folder, "a.env", f"a line more\n\none\r\n{LINE}\n")
    passes(folder)
    git(folder, "mv", "a.env", "other name.env")
    passes(folder)
    stage(folder, "other name.env", f"rewritten\n{LINE}\n# and moved\n")
    git(folder, "mv", "other name.env", "third.env")
    passes(folder)
    stage(folder, "third.env", f"rewritten\n{LINE}\n{LINE}1\n")
    assert "line 3" in refused(folder, "what looks like a secret\n")
    stage(folder, "third.env", "")
    passes(folder)
    stage(folder, "third.env", LINE)
    refused(folder, "third.env, line 1")


def test_what_a_merge_brings_is_not_new(folder: Path) -> None:
    stage(folder, "a.env", "base\n")
    passes(folder)
    git(folder, "switch", "-q", "-c", "side")
    stage(folder, "a.env", f"side\n{LINE}\n")
    passes(folder, "--no-verify")
    git(folder, "switch", "-q", "main")
    stage(folder, "a.env", "ours\n")
    passes(folder)
    assert (
        subprocess.run(["git", "merge", "-q", "side"], cwd=folder, capture_output=True).returncode
        == 1
    )
    stage(folder, "a.env", f"both\n{LINE}\n")
    passes(folder)


def test_the_first_commit_is_searched_whole(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "new")
    stage(tmp_path / "new", "a.env", LINE)
    (refusal,) = check(tmp_path / "new", {}, None).refusals
    assert [finding.problem for finding in refusal.findings] == [
        "a.env, line 1: Hugging Face token"
    ]


def test_a_marked_line_passes_and_its_neighbours_do_not(folder: Path) -> None:
    stage(folder, "a.py", f"x = '{HF}'  # loragit: no secret\n")
    stage(folder, "b.js", f"x = '{HF}' // loragit: no secret\n")
    stage(folder, "c.html", f"<a title={HF}> <!-- loragit: no secret -->\n")
    stage(folder, "d.toml", 'api_key = "x y z" # loragit: no secret')
    passes(folder)
    stage(folder, "e.py", f"# loragit: no secret\nx = '{HF}'\ny = 'loragit: no secret {HF}'\n")
    err = refused(folder, "e.py, line 2", "e.py, line 3")
    assert "2 secrets" in err


def test_names_of_any_kind_are_searched_and_told_in_a_line(folder: Path) -> None:
    for name in (" a b ", "new\nline", "tab\t'\"\\", os.fsdecode(b"\xff\xfe"), "é", "-rf", "$HOME"):
        stage(folder, name, LINE)
        if name == "$HOME":
            (folder / name).unlink()
    err = refused(
        folder,
        "7 secrets",
        "  -  a b , line 1:",
        r"  - new\x0aline, line 1",
        r"\xff\xfe, line 1",
        "- -rf, line",
    )
    assert len(err.splitlines()) == 10


def test_a_file_named_as_a_secret_is_told_without_it(folder: Path) -> None:
    stage(folder, f"img/{HF}.txt", "1girl")
    refused(folder, "- the file name img/***.txt")


def test_pictures_models_binaries_links_and_submodules_are_let_be(
    folder: Path, tmp_path: Path
) -> None:
    for name in ("a.PNG", "b.safetensors", "c.npz"):
        stage(folder, name, LINE)
    stage(folder, "d.dat", b"\0" + LINE.encode())
    (folder / "link").symlink_to(tmp_path / "nowhere")
    git(folder, "add", "link")
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    passes(folder)
    (folder / "other").symlink_to(HF)
    git(folder, "add", "other")
    refused(folder, "- other, line 1")


def test_a_text_that_is_too_large_is_told_and_passes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = LINE + "\n" + " " * staged.MAX_BYTES
    stage(folder, "large.txt", large)
    stage(folder, "gone.txt", large).unlink()
    stage(folder, "large.dat", b"\0" + large.encode())
    done = commit(folder)
    assert done.returncode == 0
    for name in ("large.txt", "gone.txt"):
        assert (
            f"warning: {name} was not searched for secrets: it is larger than 8 MiB\n"
            in done.stderr
        )
    assert "large.dat" not in done.stderr


def test_a_value_of_the_environment_is_found_whatever_it_looks_like(folder: Path) -> None:
    stage(folder, "img/01.txt", "1girl, correct-horse")
    stage(folder, "meta.toml", 'x = "correct-horse" # loragit: no secret')
    err = refused(
        folder,
        "- img/01.txt, line 1: the value of a variable",
        "- meta.toml, line 1",
        MY_TOKEN="correct-horse",
    )
    assert "horse" not in err
    passes(folder)


def test_many_findings_are_cut_and_counted(folder: Path) -> None:
    stage(folder, "a.txt", "\n".join([LINE] * 13))
    refused(folder, "13 secrets", "  - a.txt, line 10:", "  - and 3 more\n")


def test_ten_thousand_captions_are_searched_in_no_time(folder: Path) -> None:
    (folder / "img").mkdir()
    for number in range(10_000):
        (folder / "img" / f"{number:05}.txt").write_text(
            f"1girl, solo, key, holding key, monkey, number {number}"
        )
    git(folder, "add", "img")
    with within(3):  # a third of a second on an idle machine
        assert check(folder, {}, None) == CommitCheck()
    stage(folder, "img/09999.txt", f"1girl\n{HF}")
    (refusal,) = check(folder, {}, None).refusals
    assert [finding.problem for finding in refusal.findings] == [
        "img/09999.txt, line 2: Hugging Face token"
    ]


def test_more_text_than_is_searched_at_once_is_searched(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("1girl, " * 100_000 + (LINE if number == 1 else ""))
    (refusal,) = check_files([f"{number}.txt" for number in range(3)], tmp_path, {}).refusals
    assert [finding.problem for finding in refusal.findings] == [
        "1.txt, line 1: Hugging Face token"
    ]


# ---- turned on and off ----


def test_the_search_is_off_until_it_is_wanted_and_off_again(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "new")
    folder = tmp_path / "new"
    (folder / "loragit.toml").touch()
    command = shlex.join([sys.executable, "-m", "loragit"])
    done = files.install(folder, command)
    stage(folder, "a.env", LINE)
    passes(folder)
    assert "it does not look for secrets; let it: loragit hook install --secrets" in hook.lines(
        files.status(folder)
    )
    again = files.install(folder, command, secrets=True)
    assert not again.changed
    assert hook.lines(again)[1] == "it also refuses secrets in what is staged"
    assert git(folder, "config", "--local", "loragit.secrets") == "true"
    assert "it also refuses secrets in what is staged" in hook.lines(files.status(folder))
    stage(folder, "b.env", LINE)
    refused(folder, "b.env")
    assert files.install(folder, command).status.secrets  # what is not said stays as it is
    assert not files.install(folder, command, secrets=False).status.secrets
    passes(folder)
    files.install(folder, command, secrets=True)
    files.uninstall(folder)
    assert subprocess.run(["git", "config", "loragit.secrets"], cwd=folder).returncode == 1
    assert done.status.path == again.status.path


def test_the_command_line_turns_it_on_and_off(folder: Path) -> None:
    for word, value in (("--no-secrets", "false"), ("--secrets", "true")):
        words = [sys.executable, "-m", "loragit", "hook", "install", word]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert ("refuses secrets" in done.stdout) == (value == "true")
        assert git(folder, "config", "loragit.secrets") == value


def test_a_repository_that_is_searched_is_held_up_where_loragit_is_gone(folder: Path) -> None:
    git(folder, "config", "loragit.command", "/nowhere/loragit")
    path = ":".join(
        each for each in os.environ["PATH"].split(":") if not Path(each, "loragit").exists()
    )
    stage(folder, "a.txt", "clean")
    done = commit(folder, PATH=path)
    assert done.returncode == 1
    assert "could not run loragit" in done.stderr
    git(folder, "config", "loragit.secrets", "false")
    assert commit(folder, PATH=path).returncode == 0


def test_a_setting_that_is_no_truth_is_refused(folder: Path) -> None:
    git(folder, "config", "loragit.secrets", "perhaps")
    stage(folder, "a.txt", "clean")
    refused(
        folder,
        "loragit.secrets in git's configuration is neither true nor false",
        "git config loragit.secrets true",
    )


def test_a_dirty_trainer_and_a_secret_are_told_together(folder: Path, tmp_path: Path) -> None:
    trainer = tmp_path / "sd"
    trainer.mkdir()
    git(trainer, "init", "-q")
    git(trainer, "commit", "-q", "--allow-empty", "-m", "x")
    (trainer / "new.py").touch()
    stage(folder, "loragit.toml", f'[trainer]\nrepo = "{trainer}"\n')
    stage(folder, "a.env", LINE)
    refused(folder, "sd has an uncommitted change", "a.env, line 1")


# ---- alone ----


def run(folder: Path, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "loragit", "hook", "run", "secrets", *args]
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, env={**os.environ, **environ}
    )


def test_without_files_it_searches_what_is_staged_whatever_the_setting(folder: Path) -> None:
    git(folder, "config", "loragit.secrets", "false")
    assert (run(folder).returncode, run(folder).stderr) == (0, "")
    stage(folder, "a.env", LINE)
    (folder / "sub").mkdir()
    done = run(folder / "sub")
    assert done.returncode == hook.REFUSED
    assert "a.env, line 1" in done.stderr
    assert done.stdout == ""


def test_with_files_it_searches_them_as_they_lie_there(folder: Path, tmp_path: Path) -> None:
    (folder / "a.env").write_text(LINE)
    (folder / "--help").write_text(LINE)
    (tmp_path / "b.env").write_text(LINE)
    (folder / "c.png").write_text(LINE)
    done = run(folder, "a.env", "--help", str(tmp_path / "b.env"), "c.png")
    assert done.returncode == hook.REFUSED
    assert "3 secrets" in done.stderr
    assert f"- {tmp_path / 'b.env'}, line 1" in done.stderr
    assert run(folder, "--", "a.env").returncode == hook.REFUSED
    (folder / "a.env").write_text("clean")
    assert run(folder, "--", "a.env").returncode == 0
    assert run(tmp_path, "b.env").returncode == hook.REFUSED


def test_files_that_cannot_be_searched_are_notes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "large.txt").write_text(" " * (staged.MAX_BYTES + 1))
    verdict = check_files(["missing", "fifo", ".", "large.txt"], tmp_path, {})
    assert verdict.refusals == ()
    assert verdict.notes == (
        "missing was not searched for secrets: No such file or directory",
        "fifo was not searched for secrets: it is not a plain file",
        ". was not searched for secrets: Is a directory",
        "large.txt was not searched for secrets: it is larger than 8 MiB",
    )


def test_where_there_is_no_repository_nothing_is_searched_and_that_is_told(tmp_path: Path) -> None:
    verdict = check(tmp_path, {}, None)
    assert "what is staged was not searched for secrets" in verdict.notes[0]


def test_an_index_that_git_cannot_read_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "index").write_text("no index")
    with pytest.raises(LoragitError, match="git diff-index failed"):
        check(folder, {}, str(tmp_path / "index"))
    assert run(folder, GIT_INDEX_FILE=str(tmp_path / "index")).returncode == hook.REFUSED


def test_staged_objects_that_are_lost_do_not_stop_the_search(folder: Path) -> None:
    blob = git(folder, "hash-object", "--stdin", data=b"never written")
    git(folder, "update-index", "--add", "--cacheinfo", f"100644,{blob},lost.txt")
    stage(folder, "a.env", LINE)
    (refusal,) = check(folder, {}, None).refusals
    assert len(refusal.findings) == 1


def test_the_search_imports_nothing_heavy() -> None:
    code = (
        "import sys, os; from pathlib import Path; from loragit.commands.hook import staged;"
        "staged.check_files(['x.toml'], Path.cwd(), os.environ);"
        "print([m for m in sys.modules if m in ('typer', 'pygit2', 'dulwich', 'tomli_w')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"
