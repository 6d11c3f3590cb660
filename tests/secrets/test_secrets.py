"""Secrets are found and hidden; hashes, commits, code and captions are left alone."""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
import sys

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from loragit.secrets import rules
from loragit.secrets.find import (
    SecretArgument,
    distinctive,
    find_known_secrets,
    find_secrets,
    secret_texts,
    trainer_secrets,
)
from loragit.secrets.redact import Redactor, redact_all, redact_argv, redact_unmarked
from loragit.secrets.rules import MASK, FoundSecret, is_secret_name
from loragit.secrets.tables import find_table_secrets
from loragit.trainers import kinds
from tests.support.growth import seconds, within

pytestmark = pytest.mark.every_python

NAMES = kinds.secret_arguments()

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def made_up(length: int, letters: str = LETTERS) -> st.SearchStrategy[str]:
    """What a machine makes up: letters and digits, both."""
    return st.text(letters, min_size=length, max_size=length).filter(
        lambda text: (
            re.search("[0-9].*[0-9].*[0-9]", text) is not None
            and re.search("[a-zA-Z]", text) is not None
        )
    )


HEX = "0123456789abcdef"
SHAPES = {
    "Hugging Face token": st.one_of(
        made_up(34).map(lambda text: f"hf_{text}"),
        made_up(34).map(lambda text: base64.b64encode(f"hf_{text}".encode()).decode()),
    ),
    "W&B API key": made_up(77).map(lambda text: f"wandb_v1_{text[:27]}_{text[28:]}"),
    "GitHub token": st.one_of(
        made_up(36).map(lambda text: f"ghp_{text}"),
        made_up(82).map(lambda text: f"github_pat_{text}"),
    ),
    "GitLab token": made_up(20).map(lambda text: f"glpat-{text}"),
    "API key": st.one_of(
        made_up(48).map(lambda text: f"sk-{text}"),
        made_up(60).map(lambda text: f"sk-proj-{text[:9]}-_{text}"),
        made_up(37).map(lambda text: f"r8_{text}"),
        made_up(35).map(lambda text: f"AIza{text}"),
        made_up(40).map(lambda text: f"rpa_{text}"),
        made_up(52).map(lambda text: f"gsk_{text}"),
        made_up(64).map(lambda text: f"nvapi-{text}"),
    ),
    "token in a URL": made_up(32).map(lambda text: f"https://{text}@example.org/data"),
    "AWS access key": made_up(16, LETTERS[26:]).map(lambda text: f"AKIA{text}"),
    "Slack token": made_up(24).map(lambda text: f"xoxb-{text}"),
    "web token": made_up(60).map(lambda text: f"eyJ{text[:17]}.eyJ{text[17:40]}.{text[40:]}"),
    "webhook": made_up(60).map(lambda text: f"https://discord.com/api/webhooks/1234567890/{text}"),
    "password in a URL": made_up(12).map(lambda text: f"https://ada:{text}@example.org/data"),
    "private key": made_up(64).map(
        lambda text: (
            f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n{text}\n-----END OPENSSH PRIVATE "
            "KEY-----"
        )
    ),
}
A_SHAPE = st.one_of(*(st.tuples(st.just(kind), shape) for kind, shape in SHAPES.items()))
AROUND = st.sampled_from(
    [("", ""), ("see ", " here"), ('x = "', '"'), ("(", ")"), ("['", "']"), ("1girl, ", ", solo")]
)

ASSIGNMENTS = {
    'wandb_api_key = "{}"': "W&B API key",
    "wandb_api_key = '{}'  # mine": "W&B API key",
    "export WANDB_API_KEY={}": "W&B API key",
    'WANDB_API_KEY="{}" python train.py': "W&B API key",
    "WANDB_KEY={}": "W&B API key",
    'wandb.login(key="{}")': "W&B API key",
    'wandb.login(relogin=True, key="{}")': "W&B API key",
    "accelerate launch train.py --wandb_api_key {} --seed 1": "W&B API key",
    "accelerate launch train.py --wandb_api_key={}": "W&B API key",
    'train.py --wandb_api_key "{}"': "W&B API key",
    "Command '['python', 'train.py', '--wandb_api_key', '{}']' returned": "W&B API key",
    '"wandb_api_key": "{}",': "W&B API key",
    'echo "{{\\"wandb_api_key\\": \\"{}\\"}}"': "W&B API key",
    'os.environ["WANDB_API_KEY"] = "{}"': "W&B API key",
    'os.environ.setdefault("WANDB_API_KEY", "{}")': "W&B API key",
    "wandb_api_key: {}": "W&B API key",
    'wandb_api_key: str = "{}"': "W&B API key",
    "wandb_api_key = '''{}'''": "W&B API key",
    'wandb_api_key = """{}"""': "W&B API key",
    "HF_TOKEN={}": "Hugging Face token",
    "--huggingface_token={}": "Hugging Face token",
    "CIVITAI_TOKEN={}": "Civitai token",
    "wget 'https://civitai.com/api/download/models/1?token={}'": "Civitai token",
    "https://civitai.com/api/download/models/1?type=Model&token={}&format=x": "Civitai token",
    "curl -H 'Authorization: Bearer {}'": "token",
    "password = '{}'": "password",
    "DB_PASSWORD={}": "password",
    'client_secret = "{}"': "secret",
    "SOME_API_KEY_2={}": "API key",
    "aws_secret_access_key = {}": "secret",
    "https://civitai.com/api/download/models/1234567?type=Model&format=SafeTensor&size=pruned&fp=fp16&token={}": (  # noqa: E501
        "Civitai token"
    ),
    "civitai_key: '{}'": "Civitai token",
    "CIVITAI_API_KEY={}": "Civitai token",
    "SOMEBODYS_KEY={}": "API key",
    "setx WANDB_API_KEY {}": "W&B API key",
    "curl -H 'Authorization: Basic {}'": "password",
    "machine api.wandb.ai login user password {}": "password",
}

HARMLESS = [
    "keep_tokens = 1",
    "keep_tokens_separator = '|||'",
    "class_tokens = 'zqx123 girl'",
    "max_token_length = 225",
    (
        "--max_token_length=225 --t5xxl_max_token_length 512 --num_vectors_per_token 8 "
        "--token_warmup_min 1"
    ),
    (
        "--token_warmup_step 0.25 --show_all_keys --no_token_padding --tokenizer_cache_dir "
        "tokenizers/v1"
    ),
    "--token_string zqx1234abc",
    "--placeholder_token zqx1234abc --initializer_token zqx1234abc",
    '"pad_token": "<|endoftext|>", "eos_token_id": 49407',
    "secondary_separator = ';;;'",
    "key visual, a token of love, secret garden, 1girl, password, (master key:1.2), token: rare",
    "best quality, secret_(blue_archive), key: 1234567, (token:1.25), (secret_token:1.2511111)",
    "SECRET: MASTERPIECES, KEY: VISUALS",
    (
        "monkey, keyboard, tokenizer, keychain=2000, asian, right hand, sky-scraper, sk-1girl, "
        "hf_transfer"
    ),
    "a sign that says password: hunter2",
    'wandb_api_key = ""',
    'wandb_api_key = "***"',
    'wandb_api_key = "your_wandb_api_key"',
    "HF_TOKEN=<your token>",
    "HF_TOKEN=$HF_TOKEN2_ABC",
    'HF_TOKEN="${HF_TOKEN2:-none}"',
    "HF_TOKEN=%HF_TOKEN1234%",
    "HF_TOKEN=$(cat ~/.hf1234)",
    "--wandb_api_key $WANDB_API_KEY",
    "--wandb_api_key YOUR_API_KEY",
    "--huggingface_token ~/secrets/hf1234567",
    "token_file = '/run/secrets/hf1234567'",
    "hf_token = '/run/secrets/hf1234567'",
    "hf_token = './hf1234567/token99999'",
    "hf_token = 'C:\\keys\\hf1234567'",
    "api_key = 'https://example.org/a1b2c3d4e5f6'",
    "token=args.huggingface_token",
    "token = args.hf2_token_9a",
    "token=get_token(1234567890)",
    "hf_token: Token1[Abc2]",
    'sensitive_args = ["wandb_api_key", "huggingface_token"]',
    'getattr(args, "hf_token", "none1234567")',
    'parser.add_argument("--wandb_api_key", type=str, default=None, help="specify WandB API key")',
    "wandb_run_name = 'noob-gren-v2s512'",
    "log_with = 'wandb'",
    "wandb==0.18.7",
    "wandb: 🚀 View run at https://wandb.ai/ada/gren/runs/a1b2c3d4",
    "https://user@example.org/repo.git",
    "ssh://git@example.org:2222/repo.git",
    "git@example.org:ada/repo.git",
    "https://user:$TOKEN@example.org",
    "https://user:${TOKEN}@example.org",
    "https://user:password@example.org",
    "https://user:***@example.org",
    "https://example.org:8080/a@b",
    "-----BEGIN PUBLIC KEY-----",
    "-----BEGIN CERTIFICATE-----",
    "image_key = '/data/Models/SDXL10/v2/Abc1234'",
    "cache_key = sdxl_te1_outputs_npz_v20_abc",
    "session key = 'a whole sentence about 1 or 2 or 3 Keys and Locks'",
    'token = ""',
    "token =",
    "token",
    'token = "unclosed1234567',
    "bearer of bad news, bearer extraordinaire_and_long",
]


@settings(max_examples=150, deadline=None)
@given(A_SHAPE, AROUND)
def test_a_secret_of_a_known_shape_is_found_and_does_not_survive(
    planted: tuple[str, str], around: tuple[str, str]
) -> None:
    kind, secret = planted
    text = f"first line\n{around[0]}{secret}{around[1]}\nlast line"
    assert FoundSecret(2, kind) in find_secrets(text.encode())
    hidden = redact_all(text.encode()).decode()
    assert all(part not in hidden for part in re.findall("[A-Za-z0-9]{12,}", secret))
    assert hidden.startswith(f"first line\n{around[0]}") and hidden.endswith(
        f"{around[1]}\nlast line"
    )
    assert find_secrets(hidden.encode()) == ()
    assert redact_all(hidden.encode()).decode() == hidden


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(ASSIGNMENTS)), st.one_of(made_up(40, HEX), made_up(32, HEX), made_up(20))
)
def test_a_secret_given_to_a_name_that_asks_for_one_is_found_and_does_not_survive(
    form: str, secret: str
) -> None:
    assume(not secret.isdigit() and re.fullmatch("[A-Za-z]+[0-9]{3}", secret) is None)
    text = "seed = 1\n" + form.format(secret) + "\n"
    if re.fullmatch("[0-9a-f]{40}", secret) or "relogin" not in form:
        assert find_secrets(text.encode()) == (FoundSecret(2, ASSIGNMENTS[form]),)
    hidden = redact_all(text.encode()).decode()
    assert hidden == "seed = 1\n" + form.format(MASK) + "\n"
    assert find_secrets(hidden.encode()) == ()


@pytest.mark.parametrize("form", sorted(ASSIGNMENTS))
def test_every_form_of_assignment_is_understood(form: str) -> None:
    secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c"
    assert find_secrets(form.format(secret).encode()) == (FoundSecret(1, ASSIGNMENTS[form]),)
    assert redact_all(form.format(secret).encode()).decode() == form.format(MASK)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert find_secrets(text.encode()) == ()
    assert redact_all(text.encode()).decode() == text


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([32, 40, 64, 128]).flatmap(
        lambda length: st.text(HEX, min_size=length, max_size=length)
    ),
    st.sampled_from(
        [
            "{}",
            "{}  img/key.png",
            "Trainer-Commit: {}",
            "Base-Model: noob.safetensors sha256:{}",
            "wandb @ {}",
            "wandb @ git+https://github.com/wandb/wandb@{}",
            "wandb commit {}",
            "https://github.com/ada/repo/commit/{}",
            "/home/ada/sd-scripts: (main) {}",
            "key: {}",
            "cache_key = '{}'",
            '"key": "{}"',
            "token {}",
            "config_sha1={}",
        ]
    ),
)
def test_a_hash_is_never_a_secret(digest: str, form: str) -> None:
    assert find_secrets(form.format(digest).encode()) == ()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                *[
                    "1girl",
                    "solo",
                    "token",
                    "key",
                    "visual",
                    "secret",
                    "garden",
                    "password",
                    "keyhole",
                    "looking",
                ],
                *[
                    "at",
                    "viewer",
                    "hf_",
                    "sk-",
                    "wandb",
                    "bearer",
                    "of",
                    "trigger_token",
                    "master_key",
                    "2boys",
                ],
                *["(key:1.2)", "::", "=", "night-sky", "4k", "api", "monkey", "token-ring"],
            ]
        )
    )
)
def test_a_caption_is_never_a_secret(words: list[str]) -> None:
    assert find_secrets(", ".join(words).encode()) == ()
    assert find_secrets(" ".join(words).encode()) == ()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), made_up(34))
def test_any_bytes_around_a_token_change_nothing(noise: bytes, secret: str) -> None:
    token = b"hf_" + secret.encode()
    text = noise + b"\n" + token + b"\n" + noise
    assert any(found.kind != "" for found in find_secrets(text))
    assert token not in redact_all(text)


def test_a_long_value_is_not_cut_within_a_letter() -> None:
    for start in ("9abcdef", "9abcdefg"):
        assert Redactor([])(f"api_key={start}{'é' * 600}").startswith("api_key=***é")


def test_signs_that_overlap_are_one_secret() -> None:
    token = "hf_" + "aB3" * 12
    assert redact_all(f'HF_TOKEN="{token}-and-more"'.encode()) == b'HF_TOKEN="***"'
    assert find_secrets(f'HF_TOKEN="{token}-and-more"'.encode()) == (
        FoundSecret(1, "Hugging Face token"),
    )
    assert redact_all(b"https://ada:token=a1b2c3d4,rest@example.org") == b"https://***@example.org"


def test_a_placeholder_is_a_word_and_not_the_beginning_of_one() -> None:
    assert find_secrets(b'api_key = "insert-key-2024x"') == ()
    assert find_secrets(b'api_key = "insert9k2m4x7"') == (FoundSecret(1, "API key"),)


def test_secrets_are_told_by_line_and_once_a_kind() -> None:
    token = "hf_" + "aB3" * 12
    data = f"# notes\n{token} {token}\n\nHF_TOKEN={token}\nCIVITAI_TOKEN=a1b2c3d4e5f6a7b8c9d0\n"
    assert find_secrets(data.encode()) == (
        FoundSecret(2, "Hugging Face token"),
        FoundSecret(4, "Hugging Face token"),
        FoundSecret(5, "Civitai token"),
    )


def test_a_password_may_be_short_or_a_number_where_it_is_quoted() -> None:
    assert find_secrets(b'password = "hunter2"') == (FoundSecret(1, "password"),)
    assert find_secrets(b'password = "12345678"') == (FoundSecret(1, "password"),)
    assert find_secrets(b'password = "p(a[s]s"') == (FoundSecret(1, "password"),)
    assert find_secrets(b'api_key = "12345678"') == ()
    assert find_secrets(b'api_key = "mysecretkey"') == (FoundSecret(1, "API key"),)


def test_a_high_entropy_value_of_any_key_is_a_secret() -> None:
    assert find_secrets(b'flux_key = "aB3dE6gH9jK2mN5pQ8sT"') == (FoundSecret(1, "API key"),)
    assert find_secrets(b'"latent_key": "aB3dE6gH9jK2mN5pQ8sT"') == (FoundSecret(1, "API key"),)
    assert find_secrets(b"latent_key: aB3dE6gH9jK2mN5pQ8sT") == ()


def test_a_private_key_without_its_end_is_hidden_up_to_the_closing_quote() -> None:
    text = b'a = "-----BEGIN RSA PRIVATE KEY-----\\nMIIEabcd1234\\" \\"x"\nb = 1\n'
    assert redact_all(text) == b'a = "***\\" \\"x"\nb = 1\n'


@pytest.mark.parametrize(
    "unit",
    [
        *[b"key=", b'key="', b"key='key=\"", b"hf_", b"hf_a", b"ghp_", b"eyJ", b"eyJaaaaaaaa."],
        *[
            b"://",
            b"://a:",
            b"sk-",
            b"://a:aaaaaaaa",
            b"-----BEGIN ",
            b"-----BEGIN PRIVATE KEY-----",
        ],
        *[
            b"token ",
            b"token                                                            ",
            b"xoxb-",
        ],
        *[b"wandb_v1_", b"glpat-", b"AIza", b"secret: ", b"bearer ", b"token=a1", b'"HF_TOKEN", '],
        *[b"key=\x80", b"\\", b"-here", b"a=", b'a="""', b"a='", b'a="\\', b"a.", b"password=("],
        *[b"api_key=a.", b"key=/", b"1e", b"_aA1", b"token: str = ", b"password='\\'", b"\n", b" "],
        *[
            b'"',
            b"'",
            b"'''",
            b"machine a.b ",
            b"machine a.b login x ",
            b"aGZf",
            b"uthorization: Basic ",
            b"://a1",
        ],
        *[
            b"machine a.b login password ",
            b"rpa_a",
            b"nvapi-",
            b" a.py:1 ",
            b"A_KEY=a1",
            b"A_KEY a1",
        ],
    ],
    ids=repr,
)
def test_the_time_grows_with_the_text_whatever_it_is(unit: bytes) -> None:
    def search(length: int) -> None:
        text = unit * (length // len(unit))
        text = text + b'\napi_key="' + text + b'"'
        find_secrets(text)
        list(find_table_secrets(b"token\n" + text))
        find_known_secrets(text, ["hf_aaaaaaaa", "key=key=key="])
        Redactor(["hf_aaaaaaaa", "key=key=key="])(text.decode("latin-1"))

    # Eight times the text: eight times the time where it is linear, 64 times where it is not.
    short = seconds(lambda: search(6_250), times=3)
    assert any(seconds(lambda: search(50_000)) < 30 * short + 0.05 for _ in range(3))


def test_ten_thousand_captions_take_no_time() -> None:
    captions = [
        b"masterpiece, 1girl, solo, dress, looking at viewer, number %d" % number
        for number in range(10_000)
    ]
    with within(1):  # a twentieth, on an idle machine
        assert not any(map(find_secrets, captions))


def test_looking_for_nothing_compiles_nothing() -> None:
    script = (
        "import re, sys\n"
        "compiled = []\n"
        "compile_ = re.compile\n"
        "re.compile = lambda *given: compiled.append(given) or compile_(*given)\n"
        "import loragit.secrets.find\n"
        "loragit.secrets.find.find_secrets(b'1girl, solo')\n"
        "sys.exit(any(b'hf_' in str(given).encode() for given in compiled))\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_known_word_is_looked_for_from_16_letters_on() -> None:
    words = ("a" * 15, "b" * 16)
    assert distinctive(words) == ("b" * 16,)


def test_two_secrets_without_a_letter_between_are_two() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----"
    text = f"https://hooks.slack.com/services/T0B0/{'x7Kq2mZp' * 3}{key}"
    assert [secret.kind for secret in find_secrets(text.encode())] == ["webhook", "private key"]
    assert redact_all(text.encode()) == b"https://hooks.slack.com/services/******"


def test_the_table_of_names_in_the_rules_is_true() -> None:
    rows = re.findall(r"^``(\S+)``\s+(yes|no)\s", str(rules.__doc__), re.MULTILINE)
    assert len(rows) > 5
    assert rows == [(name, "yes" if is_secret_name(name) else "no") for name, _ in rows]


MIXED, LETTERS, DIGITS = "x7Kq2mZp9R", "xkqmzprwtyb", "31415926"
CODE = "opt.hf7Tok9n"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f'hf_token = "{LETTERS}"', True),
        (f'hf_token = "{DIGITS}"', False),
        (f'password = "{DIGITS}"', True),
        (f"HF_TOKEN={MIXED}", True),
        (f"HF_TOKEN={DIGITS}", False),
        (f"hf_token={MIXED}", True),
        ("hf_token=x7Kq2mZ", False),
        (f"hf_token={CODE}", False),
        (f"--hf_token {CODE}", True),
        (f"hf_token {MIXED}", False),
        (f'"HF_TOKEN", "{MIXED}"', True),
        (f'"hf_token", "{MIXED}"', False),
    ],
)
def test_the_table_of_values_in_the_rules_is_true(text: str, secret: bool) -> None:
    assert bool(find_secrets(text.encode())) is secret


@pytest.mark.parametrize(
    "name",
    [
        *[each.name for each in NAMES],
        *[
            "--wandb-api-key",
            "WANDB_API_KEY",
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "CIVITAI_TOKEN",
            "hub_token",
        ],
        *[
            "token",
            "apiKey",
            "accessToken",
            "api-key",
            "MY_PASSWORD",
            "passwd",
            "AWS_SECRET_ACCESS_KEY",
            "API_KEY_2",
        ],
        *[
            "client.secret",
            "wandb_key",
            "civitai_key",
            "secret_key",
            "OPENAI_API_KEY",
            "GITHUB_TOKEN",
        ],
    ],
)
def test_names_that_ask_for_a_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *[
            "keep_tokens",
            "keep_tokens_separator",
            "class_tokens",
            "max_token_length",
            "gemma2_max_token_length",
        ],
        *[
            "t5xxl_max_token_length",
            "t5xxl_token_length",
            "num_vectors_per_token",
            "token_string",
            "token_warmup_min",
        ],
        *[
            "token_warmup_step",
            "tokenizer_cache_dir",
            "t5_tokenizer_path",
            "no_token_padding",
            "show_all_keys",
        ],
        *[
            "metadata_author",
            "secondary_separator",
            "placeholder_token",
            "initializer_token",
            "eosToken",
            "key",
        ],
        *[
            "image_key",
            "GPG_KEY",
            "SSH_AUTH_SOCK",
            "wandb_run_name",
            "huggingface_repo_id",
            "hf_monkey",
            "",
            "-",
        ],
    ],
)
def test_names_that_do_not(name: str) -> None:
    assert not is_secret_name(name)


def test_the_values_of_secret_arguments_are_masked_however_they_look() -> None:
    argv = [
        "python",
        "train.py",
        "--wandb_api_key",
        "x",
        "--keep_tokens",
        "1",
        "--huggingface_token=ab",
        "--seed",
        "1",
    ]
    assert redact_argv(argv, NAMES) == (
        *("python", "train.py", "--wandb_api_key", MASK, "--keep_tokens", "1"),
        *(f"--huggingface_token={MASK}", "--seed", "1"),
    )


@pytest.mark.parametrize(
    ("argv", "hidden"),
    [
        (["--wandb_api_k", "x"], ["--wandb_api_k", MASK]),
        (["--huggingface_tok=x", "y"], [f"--huggingface_tok={MASK}", "y"]),
        (["--wandb_r", "name"], ["--wandb_r", "name"]),
        (["--wandb_api_keys", "name"], ["--wandb_api_keys", "name"]),
        (["--wandb_api_key"], ["--wandb_api_key"]),
        (["--wandb_api_key", "--seed", "1"], ["--wandb_api_key", "--seed", "1"]),
        (["--wandb_api_key", "", "--seed=1"], ["--wandb_api_key", "", "--seed=1"]),
        (["--wandb_api_key="], ["--wandb_api_key="]),
        (["--wandb_api_key", "a=b", "c"], ["--wandb_api_key", MASK, "c"]),
        (["--api-key", "x", "y"], ["--api-key", MASK, "y"]),
        (["wandb_api_key", "x"], ["wandb_api_key", "x"]),
        (["--num_vectors_per_token", "8"], ["--num_vectors_per_token", "8"]),
        (
            ["--network_args", "api_key=a1b2c3d4e5", "x=1"],
            ["--network_args", f"api_key={MASK}", "x=1"],
        ),
        (["--url", "https://ada:pw@example.org"], ["--url", f"https://{MASK}@example.org"]),
        (["-c", "train.py --wandb_api_key a1b2c3d4"], ["-c", f"train.py --wandb_api_key {MASK}"]),
        (
            ["--wandb_api_key", "opensesame", "--note=opensesame!"],
            ["--wandb_api_key", MASK, f"--note={MASK}!"],
        ),
        ([], []),
    ],
)
def test_arguments_are_masked_as_argparse_reads_them(argv: list[str], hidden: list[str]) -> None:
    assert redact_argv(argv, NAMES) == tuple(hidden)


def test_only_a_trainers_own_words_are_its_secret_arguments() -> None:
    pin = SecretArgument("pin_code", "pin")
    argv = ["--pin_co", "1234", "--pi", "1", "--pin_codes=2", "--pin_code=1234"]
    assert redact_argv(argv, (pin,)) == (
        *("--pin_co", MASK, "--pi", "1"),
        *("--pin_codes=2", f"--pin_code={MASK}"),
    )
    assert redact_argv(argv, ()) == tuple(argv)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(max_size=30), max_size=6),
    st.sampled_from([each.name for each in NAMES]),
    made_up(20),
    st.booleans(),
)
def test_a_secret_argument_never_survives_among_any_others(
    others: list[str], name: str, secret: str, joined: bool
) -> None:
    argv = [
        *others,
        *([f"--{name}={secret}"] if joined else [f"--{name}", secret]),
        *others,
        f"x{secret}y",
    ]
    hidden = redact_argv(argv, NAMES)
    assert len(hidden) == len(argv)
    assert not any(secret in argument for argument in hidden)


def test_secrets_come_from_arguments_and_from_the_environment() -> None:
    token = "hf_" + "aB3" * 12
    argv = [
        "--wandb_api_key",
        "opensesame",
        "--huggingface_token",
        "tiny",
        "--comment",
        f"with {token}",
    ]
    environ = {
        "WANDB_API_KEY": "from-environment",
        "HF_TOKEN": "opensesame",
        "CIVITAI_TOKEN": "",
        "PATH": "/usr/bin:/bin",
        "KEEP_TOKENS": "1234567",
        "SOME_PASSWORD": "correct horse",
    }
    assert trainer_secrets(argv, NAMES, environ) == (
        "opensesame",
        "from-environment",
        "correct horse",
        token,
    )


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=8, max_size=40), st.text(max_size=20), st.text(max_size=20))
@example("pass'word\"1\\2\n3\t4", "", "")
@example("pässwörd", "", "")
@example("ab\ud800cdefgh", "x", "y")
def test_a_known_secret_is_hidden_however_it_is_quoted(
    secret: str, before: str, after: str
) -> None:
    assume(len(set(secret)) > 3 and secret.strip() == secret and not set(secret) & {" ", "*"})
    assume(
        secret
        not in f"{before}|{after} ['--wandb_api_key', ] Command returned non-zero exit status 1."
    )
    redactor = Redactor([secret])
    assert secret not in redactor(f"{before}{secret}{after}")
    assert secret not in redactor(f"{before}|\n{secret}\n|{after}")
    for quoted in (
        repr(secret),
        repr(["--wandb_api_key", secret]),
        json.dumps(secret),
        shlex.quote(secret),
    ):
        hidden = redactor(f"Command {quoted} returned non-zero exit status 1.")
        assert hidden.replace("'--wandb_api_key', ", "") in {
            f"Command {opening}{MASK}{closing} returned non-zero exit status 1."
            for opening, closing in (("'", "'"), ('"', '"'), ("['", "']"), ('["', '"]'), ("", ""))
        }


def test_a_known_secret_is_hidden_where_a_terminal_broke_it() -> None:
    secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
    redactor = Redactor([secret])
    assert redactor("--seed 1\n--steps 4") == "--seed 1\n--steps 4"
    for broken in (
        f"{secret[:9]}\n{secret[9:]}",
        f"{secret[:9]}  │\r\n│    {secret[9:]}",
        "\n".join(secret),
    ):
        assert redactor(f"--key {broken} --seed 1") == f"--key {MASK} --seed 1"


def test_a_line_that_may_go_on_is_told_from_one_that_does_not() -> None:
    redactor = Redactor(["0f1e2d3c4b5a69788796a5b4c3d2e1fa"])
    for line in (
        "x 0",
        "x 0f1e2d  ",
        "│ 0f1 │",
        "x 0f1e    train_util.py:17",
        "x 0f1e\n 2d3c",
        f"{'0f1e2d3c4b5a697887'}\r",
    ):
        assert redactor.may_go_on(line), line
    for line in ("", "x", "x 0f1e2d3c4b5a69788796a5b4c3d2e1fa", "0f1e.", "0f1e\nx", "0 x", "f1e2"):
        assert not redactor.may_go_on(line), line
    assert not Redactor([]).may_go_on("x 0")
    assert (
        redactor("x 0f1e    train_util.py:17\n   2d3c4b5a6978   a.py\n 8796a5b4c3d2e1fa y")
        == "x *** y"
    )


def test_a_token_that_was_appended_to_a_line_without_an_end_is_found() -> None:
    for token in (
        "hf_aB3dE6gH9jaB3dE6gH9jaB3dE6gH9jaB3d",
        "ghp_aB3dE6gH9jaB3dE6gH9jaB3dE6gH9jaB3dE6",
    ):
        assert find_secrets(f"1girl, solo{token}\n".encode()) != ()
        assert redact_all(f"colour 1{token}".encode()) == b"colour 1***"
        assert find_secrets(f"solo{token}x".encode()) == ()
        assert find_secrets(f"solo{token.lower()}".encode()) == ()


def test_a_marked_line_holds_no_secret_but_in_a_log() -> None:
    token = "hf_" + "aB3" * 12
    marked = f"a = '{token}'  # loragit: no secret\r\nb = 1"
    assert find_secrets(marked.encode()) == ()
    assert redact_unmarked(marked.encode()) == marked.encode()
    assert token not in redact_all(marked.encode()).decode()
    assert find_secrets(f"a = '{token}'\n# loragit: no secret".encode()) == (
        FoundSecret(1, "Hugging Face token"),
    )
    assert secret_texts(f"{token}\n{marked}".encode()) == (token,)


def test_the_longest_of_several_secrets_goes_first() -> None:
    assert (
        Redactor(["opensesame", "opensesame-and-more"])("x opensesame-and-more opensesame y")
        == f"x {MASK} {MASK} y"
    )


def test_each_line_of_a_secret_of_several_lines_is_hidden() -> None:
    redactor = Redactor(["first line of a key\nsecond line of a key\nend"])
    assert redactor("> second line of a key") == f"> {MASK}"


def test_short_values_are_not_looked_for() -> None:
    assert Redactor(["abc", ""])("abcdef and more") == "abcdef and more"


def test_a_secret_too_long_to_break_is_still_hidden() -> None:
    secret = "a1-" * 400
    assert Redactor([secret])(f"x\n{secret}") == f"x\n{MASK}"


def test_any_text_passes_the_redactor() -> None:
    assert (
        Redactor(["opensesame"])("lone \ud800 surrogate, é, \udcff")
        == "lone \ud800 surrogate, é, \udcff"
    )
