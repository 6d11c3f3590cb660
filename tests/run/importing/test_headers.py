"""What the header of a model tells, honest or not."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragit.record.values import Weights
from loragit.run.importing import headers
from loragit.trainers.arguments import Arguments
from loragit.trainers.kinds import training_header
from loragit.trainers.safetensors import read_header
from loragit.trainers.trainer import UNKNOWN, TrainingHeader
from tests.support.helpers_folder import BASE, COMMIT, STARTED, header
from tests.support.paths import SD_SCRIPTS

FIXTURES = SD_SCRIPTS / "output_dir"


def table(values: dict[str, str]) -> dict[str, object]:
    kept = headers.metadata_toml(values, "a.safetensors")
    assert kept is not None
    read = tomllib.loads(kept.entry.data.decode())
    assert tuple(read["cut"]) == kept.cut
    assert read["file"] == "a.safetensors"
    values_read: dict[str, object] = read["metadata"]
    return values_read


def test_a_header_tells_name_dates_code_and_base_model() -> None:
    assert training_header(header("gren")) == TrainingHeader(
        output_name="gren",
        session="7",
        identity=f"7 {STARTED.timestamp()}",
        started=STARTED,
        finished=STARTED + timedelta(seconds=600.25),
        commit=COMMIT,
        steps=100,
        network="lycoris.kohya dim=4 alpha=2.0",
        weights=(Weights("Base-Model", "noobaiXL.safetensors", BASE),),
        stamp="",
        kind="sd-scripts",
        arguments=Arguments(
            {
                "network_module": ("lycoris.kohya",),
                "network_dim": ("4",),
                "network_alpha": ("2.0",),
                "learning_rate": ("0.001",),
                "max_train_steps": ("100",),
                "network_args": ("algo=lokr", "factor=4"),
            }
        ),
    )
    assert training_header({}) == UNKNOWN


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.rglob("*.safetensors")), ids=lambda path: path.name
)
def test_headers_that_sd_scripts_wrote_are_read(path: Path) -> None:
    values = read_header(path).metadata
    told = training_header(values)
    assert told.output_name == path.parent.name
    assert told.commit == "48d368fa557731ad0488c07304dfeba8c07910eb"
    assert told.started
    assert told.finished
    assert timedelta(0) < told.finished - told.started < timedelta(minutes=1)
    assert told.weights == (Weights("Base-Model", "tiny-sd15", None),), "a folder has no hash"
    assert table(dict(values))["ss_tag_frequency"] == {
        "img": {"zqx": 4, "a round thing": 4} | {f"colour {n}": 1 for n in range(4)}
    }


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("ss_output_name", "None", "output_name"),
        ("ss_session_id", "7; rm", "session"),
        ("ss_session_id", "9" * 21, "session"),
        ("ss_training_started_at", "0", "started"),
        ("ss_training_started_at", "1e300", "started"),
        ("ss_training_started_at", "9999999999.5", "started"),
        ("ss_training_started_at", "nan", "started"),
        ("ss_training_started_at", "100000000", "started"),
        ("ss_sd_scripts_commit_hash", "(unknown)", "commit"),
        ("ss_sd_scripts_commit_hash", "1f" * 19, "commit"),
        ("ss_max_train_steps", "-1", "steps"),
        ("ss_network_module", "None", "network"),
    ],
)
def test_a_value_of_another_form_counts_as_none(key: str, value: str, field: str) -> None:
    assert getattr(training_header(header("gren", **{key: value})), field) is None


def test_without_the_ss_values_modelspec_tells_some() -> None:
    told = training_header(
        {
            "modelspec.date": "2024-03-09T18:40:00",
            "modelspec.implementation_version": f"sd-scripts/{COMMIT}",
        }
    )
    assert told.commit == COMMIT
    assert told.finished == datetime(2024, 3, 9, 18, 40).astimezone(UTC), (
        "a local time, as sd-scripts writes it"
    )
    zoned = training_header({"modelspec.date": "2024-03-09T18:40:00Z"})
    assert zoned.finished == datetime(2024, 3, 9, 18, 40, tzinfo=UTC)
    assert training_header({"modelspec.date": "0001-01-01"}).finished is None
    assert training_header({"modelspec.date": "9999-12-31"}).finished is None


@pytest.mark.parametrize(
    "written",
    [
        {
            "modelspec.implementation": "https://github.com/Nerogar/OneTrainer",
            "ot_branch": "master",
        },
        {"modelspec.hash_sha256": "0xabab", "simpletuner.config": "{}", "modelspec.title": "x"},
        {"modelspec.implementation": "diffusers", "modelspec.title": "x"},
    ],
)
def test_what_another_trainer_wrote_by_modelspecs_rules_is_not_sd_scripts(
    written: dict[str, str],
) -> None:
    told = training_header({**written, "modelspec.date": "2024-03-09T18:40:00Z"})
    assert told.kind is None
    # ModelSpec's date is no trainer's own.
    assert told == UNKNOWN._replace(finished=datetime(2024, 3, 9, 18, 40, tzinfo=UTC))


@pytest.mark.parametrize(
    "written",
    [
        {"modelspec.implementation_version": "sd-scripts/unknown"},
        {"modelspec.implementation": "https://github.com/kohya-ss/sd-scripts"},
        {"sshs_model_hash": "0"},
    ],
)
def test_what_names_sd_scripts_is_sd_scripts(written: dict[str, str]) -> None:
    assert training_header(written).kind == "sd-scripts"


def test_a_hash_that_is_none_of_the_file_is_not_made_up() -> None:
    told = training_header(
        header("gren", ss_new_sd_model_hash="abcd1234", ss_vae_name="v.pt", ss_new_vae_hash=BASE)
    )
    assert told.weights == (
        Weights("Base-Model", "noobaiXL.safetensors", None),
        Weights("VAE", "v.pt", BASE),
    )
    assert training_header(header("gren", ss_sd_model_name="x" * 300)).weights == ()


@pytest.mark.parametrize(
    ("comment", "commit"),
    [
        (f"loragit: gren-v1s4 {COMMIT}", COMMIT),
        (f"my own words (loragit: gren-v1s4 {COMMIT})", COMMIT),
        ("loragit: gren-v1s4", None),
        (f"loragit: gren-v1s4 {COMMIT} or so", None),
    ],
)
def test_loragits_own_comment_names_the_commit(comment: str, commit: str | None) -> None:
    assert training_header({"ss_training_comment": comment}).made_by == commit


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        ("dimension is resized from 4 to 2; ", ("dimension is resized from 4 to 2",)),
        (
            "Dynamic resize with sv_ratio: 2 from 8; dimension is resized from 16 to 8 (conv: 4); ",
            (
                "Dynamic resize with sv_ratio: 2 from 8",
                "dimension is resized from 16 to 8 (conv: 4)",
            ),
        ),
        ("split from DyLoRA, rank 16 to 4; ", ("split from DyLoRA, rank 16 to 4",)),
        ("", ()),
    ],
)
def test_what_tools_put_before_the_comment_is_none_of_it(
    before: str, changes: tuple[str, ...]
) -> None:
    told = training_header({"ss_training_comment": f"{before}loragit: gren-v1s4 {COMMIT}"})
    assert told.changes == changes
    assert told.made_by == COMMIT
    # What the user wrote alike is the user's.
    told = training_header({"ss_training_comment": f"my {before}words"})
    assert told.changes == ()
    assert told.stamp == f"my {before}words"


def told_arguments(**values: str) -> dict[str, tuple[str, ...]]:
    """The arguments that a header of ``ss_…`` values tells."""
    return dict(training_header({f"ss_{key}": value for key, value in values.items()}).arguments[0])


def test_arguments_have_their_own_names_and_the_form_of_a_command_line() -> None:
    assert told_arguments(
        seed="42",
        learning_rate="0.0001",
        unet_lr="None",
        text_encoder_lr="[1e-05, 5e-06]",
        network_dim="16",
        network_dropout="0.1",
        network_args='{"algo": "lokr", "dropout": 0.1, "factor": "4", "preset": null}',
        optimizer="bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.99),x=[1, 2])",
        lr_scheduler="cosine",
        batch_size_per_device="2",
        resolution="(512, 512)",
        gradient_checkpointing="True",
        lowram="False",
        session_id="7",
        of_a_fork="1",
        steps="3",
    ) == {
        "seed": ("42",),
        "learning_rate": ("0.0001",),
        "text_encoder_lr": ("1e-05", "5e-06"),
        "network_dim": ("16",),
        "network_dropout": ("0.1",),
        "network_args": ("algo=lokr", "factor=4"),
        "optimizer_type": ("AdamW8bit",),
        "optimizer_args": ("weight_decay=0.1", "betas=0.9,0.99", "x=[1,2]"),
        "lr_scheduler": ("cosine",),
        "train_batch_size": ("2",),
        "resolution": ("512,512",),
        "gradient_checkpointing": (),
    }


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("torch.optim.adamw.AdamW", "AdamW"),
        ("prodigyopt.prodigy.Prodigy(d_coef=1)", "Prodigy"),
        ("my.module.Opt", "my.module.Opt"),
        ("Lion", "Lion"),
    ],
)
def test_an_optimizer_is_called_as_the_argument_calls_it(written: str, kind: str) -> None:
    assert told_arguments(optimizer=written)["optimizer_type"] == (kind,)


def test_of_a_resized_or_merged_model_the_rank_is_not_what_was_trained() -> None:
    merged = {"ss_network_dim": "2", "ss_network_args": '{"conv_dim": 2}', "ss_seed": "4"}
    header = training_header({**merged, "modelspec.merged_from": "a, b"})
    assert dict(header.arguments.options) == {"seed": ("4",)}
    told = told_arguments(
        network_dim="2",
        network_alpha="1",
        seed="4",
        training_comment="dimension is resized from 4 to 2; ",
    )
    assert told == {"seed": ("4",)}


@pytest.mark.parametrize(
    "values",
    [
        {"seed": "x" * 201},
        {"seed": "4\x1b[31m"},
        {"network_args": "[" * 60_000},
        {"network_args": '{"a": "' + "x" * 300 + '"}'},
        {"optimizer": "None"},
        {"network_args": "[1]"},
        {"text_encoder_lr": "[]"},
        {"network_dim": "Dynamic"},
        {"text_encoder_lr": "[ ]\n"},
    ],
)
def test_an_argument_of_another_form_is_left_out(values: dict[str, str]) -> None:
    assert told_arguments(**values) == {}


def test_the_network_is_bounded() -> None:
    told = training_header({"ss_network_module": "x" * 1000}).network
    assert told is not None
    assert len(told) == 200
    assert told.endswith("…")


# ---- metadata.toml ----


def test_json_is_expanded() -> None:
    values = header("gren", ss_datasets='[{"a": 1, "b": null}, {"a": [2, {"c": true}]}]')
    read = table(values)
    assert read["ss_network_args"] == {"algo": "lokr", "factor": "4"}
    assert read["ss_datasets"] == [{"a": 1}, {"a": [2, {"c": True}]}]
    assert read["modelspec.title"] == "gren"
    assert headers.metadata_toml({}, "a") is None


def test_the_headers_of_other_trainers_are_kept_whole() -> None:
    values = {
        "ot_branch": "master",
        "ot_config": '{"training_method": "LORA", "concepts": [{"path": "D:/x"}]}',
        "lokr_config": '{"algo": "lokr", "factor": 16}',
        "software": '{"name": "ai-toolkit", "version": "0.1.0"}',
        "training_info": '{"step": 500, "epoch": 49}',
        "lora_adapter_metadata": '{"transformer.r": 16, "transformer.target_modules": ["to_k"]}',
        "simpletuner.config": '{"lora_rank": 8}',
        'a key with blanks, \u732b and "quotes"': "x",
        "format": "pt",
    }
    read = table(values)
    assert read.keys() == values.keys()
    assert read["ot_config"] == {"training_method": "LORA", "concepts": [{"path": "D:/x"}]}
    assert read["lokr_config"] == {"algo": "lokr", "factor": 16}
    assert read["training_info"] == {"step": 500, "epoch": 49}


def test_a_key_that_is_too_long_is_counted() -> None:
    kept = headers.metadata_toml({"x" * 201: "a", "y" * 200: "b"}, "a.safetensors")
    assert kept is not None
    assert kept.cut == ("1 key",)
    assert table({"x" * 201: "a", "y" * 200: "b"}) == {"y" * 200: "b"}


@pytest.mark.parametrize(
    "raw",
    [
        "{broken",
        "[null]",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": 99999999999999999999}',
        '{"a": "\\ud800"}',
        '{"\\ud800": 1}',
        "[" * 100 + "]" * 100,
        "[" * 60_000,
    ],
)
def test_what_toml_cannot_express_stays_text(raw: str) -> None:
    assert table({"ss_x": raw}) == {"ss_x": raw}


def test_the_rarest_tags_are_cut_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "MAX_TAGS", 3)
    tags = {"img": {"a": 1, "b": 9, "c": 5}, "more": {"d": 7}}
    kept = headers.metadata_toml({"ss_tag_frequency": json.dumps(tags)}, "a.safetensors")
    assert kept is not None
    assert kept.cut == ("ss_tag_frequency: 1 of 4 tags, the rarest",)
    assert table({"ss_tag_frequency": json.dumps(tags)})["ss_tag_frequency"] == {
        "img": {"b": 9, "c": 5},
        "more": {"d": 7},
    }
    long = {"img": {"x" * 200: 1, "y": 2}}
    assert table({"ss_tag_frequency": json.dumps(long)})["ss_tag_frequency"] == {"img": {"y": 2}}


@pytest.mark.parametrize(
    "tags", ['{"img": 4}', '{"img": {"a": "b"}}', "[1]", '{"img": {"a": true}}']
)
def test_a_tag_frequency_of_another_form_is_a_value_like_any(tags: str) -> None:
    assert table({"ss_tag_frequency": tags})["ss_tag_frequency"] == json.loads(tags)


def test_large_values_are_cut_and_that_is_said() -> None:
    values = {
        "ss_a": "x" * 100_000,
        "ss_b": json.dumps(["y" * 100_000]),
        "modelspec.thumbnail": "z" * 100_000,
    }
    kept = headers.metadata_toml(values, "a.safetensors")
    assert kept is not None
    assert kept.cut == (
        "modelspec.thumbnail: 100000 characters",
        "ss_a: 34464 of 100000 characters",
        "ss_b: 34468 of 100004 characters",
    )
    assert len(kept.entry.data) < 140_000
    many = headers.metadata_toml(
        {f"ss_{n}": "x" for n in range(headers.MAX_KEYS + 7)}, "a.safetensors"
    )
    assert many is not None
    assert many.cut == ("7 keys",)


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8"), max_size=9), st.text(st.characters(codec="utf-8"))
    )
)
def test_any_values_come_back_and_nothing_in_them_is_obeyed(values: dict[str, str]) -> None:
    kept = headers.metadata_toml(values, "a.safetensors")
    training_header(values)
    if kept is None:
        assert not values
        return
    text = kept.entry.data.decode()
    assert all(
        line.isprintable() or line == ""
        for line in text.replace("\t", " ").split("\n")
        if line.isascii()
    )
    read = tomllib.loads(text)["metadata"]
    assert read.keys() == values.keys()
    assert all(read[key] == value for key, value in values.items() if value[:1] not in ("{", "["))
