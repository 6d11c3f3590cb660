"""What a run would give away is refused, file and line told; with ``--allow-secrets`` it is
recorded as ``***``."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragit import text
from loragit.errors import Findings
from loragit.git.checkout import patched_line
from loragit.record import message, run_toml
from loragit.record.values import Entry, LyCORIS
from loragit.run.preflight import disclosure
from loragit.run.preflight.disclosure import Sources, check_secrets
from loragit.secrets import files
from loragit.secrets.files import redacted, secrets_in
from tests.support.made_up_runs import CODE, a_run
from tests.support.processes import Result, commit_all, git
from tests.support.user_home import Scene, make_scene

NAME = "noob-gren-v1s4"
HF = "hf_" + "aB3dE6gH9j" * 4
WANDB = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c"
CIVITAI = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


def append(path: Path, more: str) -> int:
    """Append a line; its number."""
    old = path.read_text() if path.exists() else ""
    path.write_text(old + ("\n" if old and not old.endswith("\n") else "") + more + "\n")
    return path.read_text()[: path.read_text().index(more)].count("\n") + 1


def refused(
    scene: Scene, *told: str, args: tuple[str, ...] = (), hide: str = "", **environ: str
) -> Result:
    done = scene.train(NAME, *args, **environ)
    assert done.status == 1, done
    for each in told:
        assert each in done.err, done.err
    assert not hide or hide not in done.err + done.out
    assert scene.tags() == []
    assert scene.git("for-each-ref", "refs/heads/runs") == ""
    assert not (scene.output / NAME).exists()
    return done


def record(scene: Scene) -> str:
    """All that is committed and tagged, of all runs."""
    return scene.git("log", "-p", "--format=%B", "runs") + scene.git(
        "for-each-ref", "--format=%(contents)"
    )


LEAKS = {
    "an HF token": (f"# {HF}", HF, "Hugging Face token"),
    "a W&B key": (f'wandb_api_key = "{WANDB}"', WANDB, "W&B API key"),
    "a Civitai token": (f'civitai_token = "{CIVITAI}"', CIVITAI, "Civitai token"),
    "an address of Civitai": (
        f'# wget "https://civitai.com/api/download/models/1?type=Model&format=SafeTensor&token={CIVITAI}"',
        CIVITAI,
        "Civitai token",
    ),
    "a variable _TOKEN=": (f"# export SOME_TOKEN={CIVITAI}", CIVITAI, "token"),
    "a variable _KEY=": (f"# export SOME_KEY={CIVITAI}", CIVITAI, "API key"),
    "an address with a password": (
        "# url = https://ada:sekret9Pw@example.org/x",
        "sekret9Pw",
        "password in a URL",
    ),
    "an address with a token": (
        f"# git clone https://{CIVITAI}@example.org/x",
        CIVITAI,
        "token in a URL",
    ),
}


# ---- each kind in each kind of file ----


@pytest.mark.parametrize("leak", sorted(LEAKS))
def test_every_kind_is_refused_in_every_file_of_a_record_with_file_and_line(
    scene: Scene, leak: str
) -> None:
    line, secret, kind = LEAKS[leak]
    where = [
        scene.dataset / "config.toml",
        scene.dataset / "sample-prompts.txt",
        scene.home / "notes.env",
        scene.home / "args.toml",
        scene.dataset / "img" / "01.txt",
        scene.trainer / "sdxl_train_network.py",
    ]
    scene.settings("[record]\ninputs = ['~/notes.env']\n")
    numbers = [append(path, f"# {line}" if path.suffix == ".py" else line) for path in where]
    args = ("--allow-dirty", "--", "--config_file", str(scene.home / "args.toml"))
    done = refused(scene, args=args, hide=secret)
    told = done.err.splitlines()
    for path, number in zip(where, numbers, strict=True):
        wanted = f"  - {path}, line {number}, holds what looks like a secret ({kind})"
        assert wanted in told
        hint = told[told.index(wanted) + 1]
        assert "--allow-secrets" in hint
        assert ("# loragit: no secret" in hint) == (path.suffix == ".toml"), hint
    assert f"{len(where)} problems found" in done.err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (
            "sample-prompts.toml",
            f'[prompt]\nwidth = 64\n[[prompt.subset]]\nprompt = "1girl"\nhf_token = "{CIVITAI}"\n',
        ),
        (
            "sample-prompts.json",
            json.dumps([{"prompt": "1girl"}, {"wandb_api_key": WANDB}]).replace(
                "}, ", "},\n\n\n\n"
            ),
        ),
    ],
)
def test_prompts_of_the_other_kinds_are_refused_too(scene: Scene, name: str, content: str) -> None:
    (scene.dataset / name).write_text(content)
    scene.settings(f'[paths]\nprompts = "{name}"\n')
    refused(scene, f"{scene.dataset / name}, line 5, holds", hide=CIVITAI)


def test_what_a_tracker_config_holds_is_refused_and_masked(scene: Scene) -> None:
    tracker = scene.home / "tracker.toml"
    tracker.write_text(
        f'[wandb]\nname = "x"\nkey = "{WANDB}"\n\n[tokens]\nhf = "correcthorsebattery"\n'
    )
    args = ("--", "--log_tracker_config", str(tracker))
    scene.trainer.joinpath("sdxl_train_network.py").write_text(
        scene.trainer.joinpath("sdxl_train_network.py")
        .read_text()
        .replace("caption_extension", "caption_extension log_tracker_config", 1)
    )
    commit_all(scene.trainer, "one argument more")
    refused(scene, f"{tracker}, line 3, holds", f"{tracker}, line 6, holds", args=args, hide=WANDB)
    done = scene.train(NAME, "--allow-secrets", *args)
    assert done.status == 0, done.err
    assert scene.git("show", f"{NAME}:inputs/tracker.toml") == (
        '[wandb]\nname = "x"\nkey = "***"\n\n[tokens]\nhf = "***"'
    )


def test_the_line_in_a_patch_is_told_as_the_line_of_the_file(scene: Scene) -> None:
    new = scene.trainer / "new one.py"
    new.write_text(f"x = 1\n\nlogin('{HF}')\n")
    script = scene.trainer / "sdxl_train_network.py"
    script.write_text(
        script.read_text().replace("import signal\n", f"import signal\nTOKEN = '{HF}'\n")
    )
    number = script.read_text().split("TOKEN = ")[0].count("\n") + 1
    refused(
        scene,
        f"{new}, line 3, holds",
        f"{script}, line {number}, holds",
        args=("--allow-dirty",),
        hide=HF,
    )


def test_a_patch_tells_of_each_line_where_it_stands() -> None:
    patch = (
        b"diff --git a/gone.py b/gone.py\ndeleted file mode 100644\nindex 1..0\n--- "
        b"a/gone.py\n+++ /dev/null\n"
        b"@@ -1 +0,0 @@\n-old\n"
        b'diff --git "a/n\\303\\251 w.py" "b/n\\303\\251 w.py"\nindex 1..2 100644\n--- '
        b'"a/n\\303\\251 w.py"\n'
        b'+++ "b/n\\303\\251 w.py"\t\n@@ -3,3 +5,3 @@ def f():\n one\n-two\n+--- a/no/name\n '
        b"three\n\\ No newline\n"
        b"diff --git a/b.bin b/b.bin\nGIT binary patch\nliteral 3\n"
    )
    told = [patched_line(patch, number) for number in range(1, patch.count(b"\n") + 1)]
    other = r"n\303\251 w.py"
    assert told[0] == (None, None)
    assert told[6] == ("gone.py", None)
    assert told[7] == (None, None)
    assert told[12:17] == [(other, 5), (other, None), (other, 6), (other, 7), (other, None)]
    assert told[-1] == (None, None)


def test_names_are_refused_where_they_hold_secrets_and_branches_can_be_masked(scene: Scene) -> None:
    git(scene.trainer, "switch", "-q", "-c", HF)
    refused(scene, "run.toml, line", "the message, line", hide=HF)
    done = scene.train(NAME, "--allow-secrets")
    assert done.status == 0, done.err
    assert HF not in record(scene)
    assert scene.trailers(NAME)["Trainer-Branch"] == "***"
    assert "Redacted" not in scene.trailers(NAME)


def test_a_file_whose_name_is_a_secret_is_refused_whatever_is_allowed(scene: Scene) -> None:
    for suffix in ("png", "txt"):
        (scene.dataset / "img" / f"00.{suffix}").rename(scene.dataset / "img" / f"{HF}.{suffix}")
    for args in ((), ("--allow-secrets",)):
        done = refused(
            scene,
            "the file name captions/img/***.txt holds what looks like a secret",
            args=args,
            hide=HF,
        )
        assert "give the file another name" in done.err


def test_more_lines_than_a_few_are_counted(scene: Scene) -> None:
    append(scene.dataset / "sample-prompts.txt", "\n".join([HF] * 5))
    done = refused(scene, f"{scene.dataset / 'sample-prompts.txt'} holds 2 more", hide=HF)
    assert "4 problems found" in done.err


# ---- allowed ----


def test_what_is_allowed_is_masked_in_the_record_and_in_nothing_else(scene: Scene) -> None:
    config, prompts, caption = (
        scene.dataset / each for each in ("config.toml", "sample-prompts.txt", "img/01.txt")
    )
    number = append(config, f'[x]\nhub_token = "{HF}"')
    append(prompts, f"1girl {HF} --d 1")
    append(caption, HF)
    args = scene.home / "args.toml"
    args.write_text('seed = 1\nwandb_api_key = "correct-horse"\n')
    before = {path: path.read_bytes() for path in (config, prompts, caption, args)}
    done = scene.train(NAME, "--allow-secrets", "--", "--config_file", str(args))
    assert done.status == 0, done.err
    warning = (
        f"warning: {config}, line {number + 1}, holds what looks like a secret (Hugging "
        "Face token): recorded as ***"
    )
    assert warning in done.err.splitlines()
    assert (
        f"warning: {args}, line 2, holds what looks like a secret (W&B API key): recorded as ***"
        in done.err
    )
    assert f"warning: {caption}, line 2, holds" in done.err
    told = record(scene)
    assert HF not in told
    assert "horse" not in told
    assert scene.git("show", f"{NAME}:config.toml") == before[config].decode().replace(
        HF, "***"
    ).rstrip("\n")
    assert scene.git("show", f"{NAME}:captions/img/01.txt").splitlines()[-1] == "***"
    # The trainer's copies and the user's own files are what they were.
    assert {path: path.read_bytes() for path in before} == before
    output = scene.output / NAME
    assert (output / "config.toml").read_bytes() == before[config]
    assert (output / "sample-prompts.txt").read_bytes() == before[prompts]
    assert (output / "inputs" / "args.toml").read_bytes() == before[args]
    # What the record says of its files is said of the committed bytes.
    trailers = scene.git("log", "-1", "--format=%(trailers:key=Redacted,valueonly)", NAME).split()
    redacted = ["captions/img/01.txt", "config.toml", "inputs/args.toml", "sample-prompts.txt"]
    assert trailers == redacted
    table = tomllib.loads(scene.git("show", f"{NAME}:run.toml"))
    assert table["run"]["redacted"] == redacted
    for path, key in (("config.toml", "Config-SHA1"), ("sample-prompts.txt", "Prompts-SHA1")):
        data = scene.git("show", f"{NAME}:{path}") + "\n"
        assert scene.trailers(NAME)[key] == text.sha1(data.encode()) == table["files"][path]["sha1"]
        assert table["files"][path]["size"] == len(data)
    # And what lies beside the copies, of the copies.
    assert f"{text.sha1(before[config])}  config.toml" in (output / "repos.git").read_text()


def test_the_setting_and_the_variable_allow_it_too(scene: Scene) -> None:
    append(scene.dataset / "sample-prompts.txt", HF)
    assert scene.train(NAME, LORAGIT_RECORD_ALLOW_SECRETS="1").status == 0
    scene.settings("[record]\nallow_secrets = true\n")
    assert scene.train("noob-gren-v2s4").status == 0
    assert HF not in record(scene)


def test_a_run_without_secrets_is_the_same_with_and_without_the_flag(scene: Scene) -> None:
    assert scene.train(NAME).status == 0
    tree = scene.git("rev-parse", f"{NAME}^{{tree}}")
    scene.git("tag", "-d", NAME)
    (scene.output / NAME).rename(scene.output / "other")
    done = scene.train(NAME, "--allow-secrets")
    assert "warning" not in done.err
    assert scene.git("rev-parse", f"{NAME}^{{tree}}") == tree


def test_masking_is_deterministic_and_captions_are_never_taken_over_unmasked(scene: Scene) -> None:
    caption = scene.dataset / "img" / "02.txt"
    caption.write_text("zqx, correct-horse")
    runs = {
        "noob-gren-v1s4": ({}, ()),  # nobody knows that it is a secret
        "noob-gren-v2s4": ({"MY_TOKEN": "correct-horse"}, ("--allow-secrets",)),
        "noob-gren-v3s4": ({"MY_TOKEN": "correct-horse"}, ("--allow-secrets",)),
        "noob-gren-v4s4": ({}, ()),
    }
    for name, (environ, args) in runs.items():
        done = scene.train(name, *args, **environ)
        assert done.status == 0, done.err
    shown = [scene.git("show", f"{name}:captions/img/02.txt") for name in runs]
    assert shown == ["zqx, correct-horse", "zqx, ***", "zqx, ***", "zqx, correct-horse"]
    assert scene.git("rev-parse", "noob-gren-v2s4:captions") == scene.git(
        "rev-parse", "noob-gren-v3s4:captions"
    )
    assert ["Redacted" in scene.trailers(name) for name in runs] == [False, True, True, False]
    done = scene.train("noob-gren-v5s4", MY_TOKEN="correct-horse")
    assert done.status == 1
    assert f"{caption}, line 1, holds what looks like a secret" in done.err


def test_a_caption_that_was_masked_once_is_refused_again_without_the_flag(scene: Scene) -> None:
    append(scene.dataset / "img" / "02.txt", HF)
    assert scene.train(NAME, "--allow-secrets").status == 0
    done = scene.train("noob-gren-v2s4")
    assert done.status == 1
    assert f"{scene.dataset / 'img' / '02.txt'}, line 2, holds" in done.err


def test_a_dry_run_tells_it_and_shows_the_record_masked(scene: Scene) -> None:
    append(scene.dataset / "config.toml", f"# {HF}")
    done = scene.train(NAME, "--allow-secrets", "--dry-run")
    assert done.status == 0, done.err
    assert "recorded as ***" in done.err
    assert "Redacted: config.toml" in done.out
    assert HF not in done.out + done.err


def test_a_line_that_is_marked_holds_no_secret_but_for_one_that_is_known(scene: Scene) -> None:
    append(scene.dataset / "config.toml", f'[x]\ntoken = "{CIVITAI}"  # loragit: no secret')
    done = scene.train(NAME)
    assert done.status == 0, done.err
    assert CIVITAI in scene.git("show", f"{NAME}:config.toml")
    done = scene.train("noob-gren-v2s4", MY_TOKEN=CIVITAI)
    assert done.status == 1
    assert f"{scene.dataset / 'config.toml'}, line" in done.err


# ---- as functions ----


def disclosed(
    *entries: Entry, known: tuple[str, ...] = (), allow: bool = True, **changes: object
) -> list[str]:
    """What speaks against a run of these entries."""
    findings = Findings()
    check_secrets(
        a_run(entries=entries, **changes), known, Sources({}), allow=allow, findings=findings
    )
    return [finding.problem for finding in findings.all()]


def test_what_masking_does_not_help_is_refused() -> None:
    assert disclosed(Entry("inputs/a.toml", f"x = '{HF}'".encode())) == []
    assert disclosed(Entry("config.toml", b"a = 1"), dataset=HF) == [
        f"{where}, line {line}, holds what looks like a secret (Hugging Face token), and masking "
        "it does not help"
        for where, lines in (("run.toml", (10,)), ("the message", (1, 8)))
        for line in lines
    ]
    # Of a key that is a string itself, no value is found to be masked.
    odd = '"\\u0061pi_key" = """"correct horse""""\n'
    assert disclosed(Entry("inputs/a.toml", odd.encode())) == [
        "inputs/a.toml holds what looks like a secret (API key), and masking it does not help"
    ]


def test_what_is_masked_is_told_of_code_and_lycoris_too() -> None:
    state = CODE._replace(branch=HF, dirty=(f"{HF}.py", "b.py"))
    run = a_run(
        trainer=state,
        lycoris=LyCORIS(repo=state, commit="a" * 40),
        workdir=f"~/{HF}",
        trainer_script=HF,
    )
    done = check_secrets(run, (), Sources({}), allow=True, findings=Findings())
    assert HF not in message.run_message(done.run) + run_toml.run_toml(done.run).data.decode()
    assert done.run.trainer.dirty == ("***.py", "b.py")
    assert done.run.redacted == ()
    plain = a_run(trainer=CODE._replace(branch=None))
    assert check_secrets(plain, (), Sources({}), allow=True, findings=Findings()).run == plain


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_looked_at_and_masked_in_its_own_form(codec: str) -> None:
    content = f"\ufeffone\r\n1girl, {HF}\r\nétwo"
    data = content.encode(codec)
    assert [each.line for each in secrets_in(data)] == [2]
    assert redacted(data) == content.replace(HF, "***").encode(codec)
    assert redacted(data + b"x") == data + b"x"


def test_values_are_handed_on_for_the_log() -> None:
    entry = Entry("inputs/a.toml", f'wandb_api_key = "correct-horse"\n# {HF}\n'.encode())
    assert files.secrets_of_files([entry.data, b"token = 'short'"]) == (
        "correct-horse",
        HF,
    )


KEYS = st.sampled_from(["wandb_api_key", "a", "note", '"a b"', "seed"])
VALUES = st.sampled_from(
    [
        '"x"',
        "1",
        "'correct-horse'",
        f'"{HF}"',
        '"""two\nlines"""',
        "['a', \"b\"]",
        "{ token = 'q' }",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(KEYS, VALUES, max_size=5), st.sampled_from(["", "  # why 'not'"]), st.booleans()
)
def test_masking_leaves_no_secret_and_changes_nothing_else(
    table: dict[str, str], end: str, nested: bool
) -> None:
    lines = [f"{key} = {value}{end}" for key, value in table.items()]
    data = ("[deep.tokens]\n" * nested + "\n".join(lines) + "\n").encode()
    hidden = redacted(data, ("correct-horse",))
    assert secrets_in(hidden, ("correct-horse",)) == ()
    assert redacted(hidden) == hidden
    if not secrets_in(data, ("correct-horse",)):
        assert hidden == data
    before, after = (flat(tomllib.loads(each.decode())) for each in (data, hidden))
    assert [key for key, _ in before] == [key for key, _ in after]
    assert all(new in (old, "***") for (_, old), (_, new) in zip(before, after, strict=True))


def flat(tree: object, place: str = "") -> list[tuple[str, object]]:
    """(where, value) of all that is no table and no list."""
    items = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else None
    )
    return (
        [(place, tree)]
        if items is None
        else [one for key, value in items for one in flat(value, f"{place}/{key}")]
    )


def test_a_string_that_is_cut_wrongly_is_left_alone() -> None:
    data = b'api_key = "xyz"\nx = [""""a"""", \'\\d "\', "xyz"]\n'
    assert redacted(data) == b'api_key = "***"\nx = [""""a"""", \'\\d "\', "***"]\n'


def test_suspects_are_all_but_captions_that_cannot_hold_any() -> None:
    entries = (
        Entry("config.toml", b""),
        Entry("captions/a.txt", b"1girl"),
        Entry("captions/b.txt", b"key"),
    )
    assert disclosure._suspect_entries(entries, ()) == entries[:1]
    assert disclosure._suspect_entries((*entries, Entry("captions/c.txt", HF.encode())), ())[
        1:
    ] == (
        *entries[1:],
        Entry("captions/c.txt", HF.encode()),
    )
