"""What is no secret stops nobody: records of our own, and what people who train write into configs
and captions."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragit.errors import Findings
from loragit.record import message
from loragit.record.values import Entry, LyCORIS, ModelFile, RepoState, Run, Weights
from loragit.run.preflight.disclosure import Sources, check_secrets
from loragit.secrets.files import redacted, secrets_in
from loragit.secrets.rules import is_secret_name
from tests.support.made_up_runs import NAME, a_run, an_outcome, opened
from tests.support.paths import FIXTURES
from tests.support.processes import commit_all, git
from tests.support.user_home import Scene, make_scene

HEX = "0123456789abcdef"


def digest(length: int) -> st.SearchStrategy[str]:
    return st.text(HEX, min_size=length, max_size=length)


CAPTIONS = [
    (
        "1girl, solo, key, holding key, keyhole, keychain, skeleton key, old key, :3, ^_^, >:), "
        "=_=, "
        "+_+, @_@, ;), :d"
    ),
    (
        "secret, secret garden, password, token, coin, game token, poker chip, wallet, safe, lock, "
        "padlock"
    ),
    "a hacker types the password: hunter2 into a terminal; the secret key is 42, token = love",
    (
        "masterpiece, best quality, (key:1.2), (holding key:1.15), [secret:password:0.5], "
        "<lora:token_v1:0.8>"
    ),
    (
        "char_(series), hatsune_miku, saber_(fate), artist:wlop, by greg rutkowski, "
        "rating:general, "
        "score_9, score_8_up"
    ),
    (
        "absurdres, highres, 2023, 4k, 8k uhd, f/1.8, 85mm, iso100, dslr-1234567890, "
        "IMG_20231105_142311, DSC0012345"
    ),
    (
        "source: https://danbooru.donmai.us/posts/1234567?q=1girl+key, "
        "https://www.pixiv.net/en/artworks/104857600"
    ),
    (
        "md5:0f1e2d3c4b5a69788796a5b4c3d2e1f0, 0f1e2d3c4b5a69788796a5b4c3d2e1f0.jpg, sha1 "
        "0f1e2d3c4b5a69788796"
    ),
    "zqx1234abc girl, sks dog, ohwx man, trigger word: zqxT0k3nV2, activation token zqx2024style",
    "猫耳, 秘密, パスワード, ключ, clé secrète, contraseña, Schlüssel: geheim",
    (
        "the user@example.org stands in front of http://localhost:7860, ssh://git@host:2222/x, "
        "C:\\keys\\token.txt"
    ),
    (
        "user:pass, key=value, a=b&c=d, token=abc, password=1girl, key: visual, KEY VISUAL, SECRET "
        "AGENT, TOKEN RING"
    ),
    (
        "She whispered her password, and the token fell; keyboard, monkey, turkey, whiskey, "
        "hockey, "
        "donkey_kong_64"
    ),
    (
        "basic auth, bearer of bad news, standard_bearer_(warhammer_40000), wandb, hugging, "
        "hf_style, "
        "sk-girl, glpat"
    ),
]
PROMPTS = [
    (
        "1girl, key visual, (secret:1.3) --n lowres, bad anatomy, token --w 1024 --h 1024 --d 1 "
        "--l "
        "7.5 --s 28"
    ),
    (
        "holding key --d 1234567890 --ctrl /data/control/0f1e2d3c4b5a69788796a5b4c3d2e1f0.png --am "
        "0.8,0.5"
    ),
    (
        "# secret prompts, password protected\n\nportrait, key light, rim light, low-key, high-key "
        "--g 3.5 --fs 3.1582"
    ),
    json.dumps(
        [
            {
                "prompt": "key, token: secret",
                "seed": 12345678901234567890,
                "negative_prompt": "password",
            }
        ]
    ),
    (
        '[prompt]\nwidth = 768\n[[prompt.subset]]\nprompt = "holding key, :3"\nseed = '
        '123456789\nsampler = "k_dpm_2"'
    ),
]
CONFIGS = [
    (
        '[general]\nkeep_tokens = 2\nkeep_tokens_separator = "|||"\nsecondary_separator = ";;;"\n'
        'caption_extension = ".txt"\n[[datasets]]\nresolution = [1024, '
        "1024]\n[[datasets.subsets]]\n"
        'image_dir = "/data/secret_garden/key"\nclass_tokens = "zqx2024abc '
        'girl"\ntoken_warmup_min = 1'
    ),
    (
        "max_token_length = 225\nnum_vectors_per_token = 8\ntoken_string = "
        '"zqx1234abcd"\ninit_word = "girl"\n'
        'learning_rate = 1e-4\nunet_lr = 5.0e-05\nlr_scheduler = "cosine_with_restarts"\nseed = '
        "3407\n"
        'network_args = ["conv_dim=32", "algo=lokr", "factor=-1", "preset=attn-mlp"]\nlog_with = '
        '"wandb"\n'
        'wandb_run_name = "noob-gren-v2s512"\nhuggingface_repo_id = '
        '"ada/noob-gren"\nhuggingface_path_in_repo = "v2"\n'
        'huggingface_token = ""\nwandb_api_key = ""\nlog_tracker_name = "gren"\noptimizer_args = '
        '["weight_decay=0.01"]'
    ),
    (
        'pretrained_model_name_or_path = "/models/noobaiXLNAIXL_vPred10Version.safetensors"\n'
        'vae = "https://huggingface.co/madebyollin/sdxl-vae-fp16-fix/resolve/main/sdxl_vae.safetensors?download=true"\n'
        'tokenizer_cache_dir = "~/tokenizers/v1"\nt5xxl_max_token_length = 512\nmetadata_author = '
        '"Ada"\n'
        'cache_key = "sdxl_0f1e2d3c4b5a69788796a5b4c3d2e1f0"\nauto_v2 = "0f1e2d3c4b"\nmodel_hash '
        '= "0F1E2D3C4B"'
    ),
    json.dumps(
        {
            "img/password_1.png": {
                "caption": "key, token",
                "tags": "secret",
                "train_resolution": [1024, 1024],
            }
        }
    ),
    (
        '{"file_name": "secret.png", "text": "1girl, holding key, token"}\n{"file": "key=1.png", '
        '"text": "password"}\n'
    ),
    json.dumps(
        {
            "pad_token": "<|endoftext|>",
            "bos_token": {"content": "<|startoftext|>", "lstrip": False},
            "unk_token": "x",
        }
    ),
    json.dumps(
        {
            "tokens": {"subject": "zqx girl", "class": "girl"},
            "trigger_tokens": ["zqx1234abc"],
            "keys": {"a": 1},
        }
    ),
    "version https://git-lfs.github.com/spec/v1\noid sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f0"
    + "0" * 32
    + "\nsize 12345\n",
    '[wandb]\nproject = "gren"\nentity = "ada"\ntags = ["v2"]\nkey = "val_loss"\n[hf]\nrevision = "'
    + "0f1e" * 10
    + '"',
    (
        "#!/bin/sh\nexport HF_HOME=~/hf WANDB_MODE=offline HF_TOKEN=$(cat ~/.hf) "
        "WANDB_API_KEY=${WANDB_API_KEY:?}\n"
        "accelerate launch --num_cpu_threads_per_process 1 train.py --wandb_api_key "
        '"$WANDB_API_KEY" --keep_tokens 1\n'
    ),
    "machine learning, login to the website, password protected",
    "GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D\nPYTHON_SHA256=0f1e2d3c4b5a69788796a5b4c3d2e1f0\nSTATE_KEY=model12\n",
]


@pytest.mark.parametrize(
    "content", [*CAPTIONS, *PROMPTS, *CONFIGS], ids=range(len(CAPTIONS + PROMPTS + CONFIGS))
)
def test_what_people_write_is_no_secret(content: str) -> None:
    assert secrets_in(content.encode()) == ()
    assert redacted(content.encode()) == content.encode()


TAGS = sorted({tag.strip() for caption in CAPTIONS for tag in caption.split(",")})
LINK = st.sampled_from([", ", " ", "\n", ",", "\t", " | ", ". ", " BREAK "])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TAGS), LINK), max_size=25))
def test_no_mixture_of_tags_is_a_secret(tags: list[tuple[str, str]]) -> None:
    caption = "".join(tag + link for tag, link in tags)
    assert secrets_in(caption.encode()) == ()


TEXTS = sorted(path for path in FIXTURES.rglob("*") if "golden" not in path.parts)
"""The golden transcripts begin with commands that are given secrets."""


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_no_fixture_holds_a_secret(path: Path) -> None:
    if path.is_file():
        assert secrets_in(path.read_bytes()) == ()


NAMES = st.sampled_from(
    [
        "token",
        "key",
        "secret-v2",
        "password",
        "hf_token",
        "wandb",
        "gren",
        "api_key.toml",
        "a b",
        "é",
    ]
)
URLS = st.sampled_from(
    [
        "https://github.com/kohya-ss/sd-scripts",
        "git@github.com:ada/secret-key.git",
        "ssh://git@example.org:2222/token.git",
        "https://example.org/0f1e2d3c4b5a69788796a5b4c3d2e1f0/key",
        "~/repos/token",
    ]
)
STATES = st.builds(
    RepoState,
    label=st.sampled_from(["sd-scripts", "LyCORIS"]),
    path=st.just(Path("/code/key")),
    commit=digest(40),
    branch=NAMES.map(lambda name: name.replace(" ", "-")),
    url=URLS,
    dirty=st.lists(NAMES, max_size=2).map(tuple),
)
WEIGHTS = st.builds(
    Weights, role=st.sampled_from(["Base-Model", "VAE"]), name=NAMES, sha256=digest(64)
)
ENTRIES = st.tuples(
    st.builds(lambda name: f"inputs/{name}", NAMES),
    st.sampled_from([content.encode() for content in (*PROMPTS, *CONFIGS)]),
)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    files = dict(draw(st.lists(ENTRIES, max_size=3)))
    lines = "".join(f"{draw(digest(64))}  img/{draw(NAMES)}.png\n" for _ in range(3))
    packages = "".join(f"{draw(NAMES)} @ {draw(digest(40))}\n" for _ in range(2))
    entries = [Entry(path, data) for path, data in files.items()]
    entries += [
        Entry("dataset.sha256", lines.encode()),
        Entry("environment.txt", packages.encode()),
    ]
    entries += [Entry(f"captions/img/{draw(NAMES)}.txt", draw(st.sampled_from(CAPTIONS)).encode())]
    return a_run(
        dataset=draw(NAMES),
        prefix=draw(NAMES),
        trainer=draw(STATES),
        lycoris=LyCORIS(
            repo=draw(STATES), commit=draw(digest(40)), version="3.2.0.post2", editable=True
        ),
        dataset_commit=draw(digest(40)),
        weights=tuple(draw(st.lists(WEIGHTS, max_size=2))),
        argv=(
            "python",
            "--keep_tokens",
            "2",
            "--wandb_api_key",
            "***",
            "--class_tokens",
            draw(NAMES),
            f"x={draw(digest(8))}",
        ),
        entries=tuple(entries),
    )


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(runs())
def test_nothing_of_our_own_is_a_secret(run: Run) -> None:
    for allow in (True, False):
        findings = Findings()
        disclosed = check_secrets(run, (), Sources({}), allow=allow, findings=findings)
        assert findings.all() == ()
        assert disclosed.run == run
        assert disclosed.warnings == ()


@settings(max_examples=100, deadline=None)
@given(digest(64), digest(64), st.integers(0, 10**9), NAMES)
def test_no_outcome_and_no_revert_is_a_secret(sha: str, payload: str, step: int, name: str) -> None:
    model = ModelFile(f"{name}-step{step:08}.safetensors", step, sha, payload, step, 1)
    outcome = an_outcome(models=(model,), truncated=(f"{name}.pt",), output=f"~/output_dir/{name}")
    assert secrets_in(message.outcome_message(NAME, outcome).encode()) == ()
    assert (
        secrets_in(
            message.revert_message(
                opened(a_run(dataset=name), sha[:40]), 1, "It failed.", (sha,)
            ).encode()
        )
        == ()
    )


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(NAMES.map(lambda name: f"inputs/{name}"), digest(40), max_size=4), st.booleans()
)
def test_tables_of_hashes_are_no_secrets(files: dict[str, str], as_json: bool) -> None:
    table = {"files": {path: {"sha1": sha, "size": 1} for path, sha in files.items()}}
    data = json.dumps(table) if as_json else tomli_w.dumps(table)
    assert secrets_in(data.encode()) == ()


def test_a_real_record_of_every_kind_of_file_holds_no_secret(home: Path) -> None:
    scene = make_scene(home)
    for number, caption in enumerate(CAPTIONS[:4]):
        (scene.dataset / "img" / f"{number:02d}.txt").write_text(caption)
    (scene.dataset / "sample-prompts.txt").write_text("\n".join(PROMPTS[:3]))
    (scene.home / "key.toml").write_text(CONFIGS[1])
    scene.settings("[record]\ninputs = ['~/key.toml']\n")
    commit_all(scene.dataset, "words")
    git(scene.trainer, "remote", "add", "origin", "https://github.com/kohya-ss/sd-scripts")
    (scene.trainer / "token.py").write_text(
        'def key(token=None, api_key: str = ""):\n    return token or api_key\n'
    )
    done = scene.train(NAME, "--allow-dirty", "--", "--seed", "1234567890")
    assert done.status == 0, done.err
    assert_clean(scene)
    (scene.dataset / "img" / "00.txt").write_text("changed")
    assert scene.train("noob-gren-v2s4", "--allow-dirty", STUB="fail").status == 1
    assert_clean(scene)
    assert tomllib.loads(scene.git("show", f"{NAME}:run.toml"))["trainer"]["dirty"] == ["token.py"]


def assert_clean(scene: Scene) -> None:
    """Nothing that loragit committed or tagged would stop a commit."""
    for what in (
        ("log", "-p", "--all"),
        ("for-each-ref", "--format=%(contents)"),
        ("show", f"{NAME}:run.toml"),
    ):
        assert secrets_in(scene.git(*what).encode("utf-8", "surrogateescape")) == ()


def test_the_names_of_sd_scripts_arguments_ask_for_no_secret_but_two() -> None:
    names = (
        "bucket_no_upscale cache_latents caption_dropout_rate clip_l_dropout_rate "
        "conditioning_data_dir config_file "
        "huggingface_path_in_repo huggingface_repo_id huggingface_repo_type "
        "huggingface_repo_visibility "
        "huggingface_token keep_tokens keep_tokens_separator log_tracker_config log_tracker_name "
        "masked_loss "
        "max_token_length metadata_author network_args network_weights no_token_padding "
        "num_vectors_per_token "
        "save_precision show_timesteps t5xxl_max_token_length token_string token_warmup_min "
        "token_warmup_step "
        "tokenizer_cache_dir use_object_template wandb_api_key wandb_run_name "
        "gemma2_max_token_length weighted_captions"
    )
    assert [name for name in names.split() if is_secret_name(name)] == [
        "huggingface_token",
        "wandb_api_key",
    ]
