"""Which files of the GUI belong to which training."""

from __future__ import annotations

from datetime import datetime

from loragit.run.importing.gui_files import GuiFiles, gui_files


def at(hour: int) -> datetime:
    """That hour of the day, local time as the GUI writes it; the zone of a test is its own."""
    return datetime(2024, 5, 11, hour).astimezone()


def chosen(
    *names: str,
    output_name: str = "zqx",
    hour: int | None = 10,
    inside: dict[str, str] | None = None,
) -> GuiFiles:
    started = None if hour is None else at(hour)
    return gui_files(names, output_name, started, (inside or {}).get)


def test_fields_and_config_of_one_start_belong_together() -> None:
    for second in ("095959", "100000", "100001"):
        config = f"config_lora-20240511-{second}.toml"
        assert chosen("zqx_20240511-100000.json", config, "zqx.safetensors") == GuiFiles(
            "zqx_20240511-100000.json", config, latest=True
        )
    other = chosen("zqx_20240511-100000.json", "config_lora-20240511-100002.toml")
    assert other == GuiFiles("zqx_20240511-100000.json", None, latest=False)


def test_of_two_starts_within_a_second_each_has_its_own_config() -> None:
    names = (
        "abc_20240511-100000.json",
        "zqx_20240511-100001.json",
        "config_lora-20240511-100000.toml",
        "config_lora-20240511-100001.toml",
    )
    assert chosen(*names) == GuiFiles(names[1], names[3], latest=True)
    assert chosen(*names, output_name="abc") == GuiFiles(names[0], names[2], latest=False)


def test_a_config_that_names_another_training_is_not_taken() -> None:
    config = "config_lora-20240511-100000.toml"
    found = chosen("zqx_20240511-100000.json", config, inside={config: "abc"})
    assert found == GuiFiles("zqx_20240511-100000.json", None, latest=True)


def test_of_several_starts_of_one_name_the_last_one_before_the_training_counts() -> None:
    names = tuple(f"zqx_20240511-{hour:02d}0000.json" for hour in (8, 9, 11))
    assert chosen(*names).fields == names[1]
    assert chosen(*names, hour=1).fields == names[0]
    assert chosen(*names, hour=None).fields == names[2]


def test_a_config_alone_is_known_by_the_name_in_it() -> None:
    config = "config_dreambooth-20240511-100000.toml"
    assert chosen(config, inside={config: "zqx"}) == GuiFiles(None, config, latest=True)
    assert chosen(config, inside={config: "abc"}) == GuiFiles(None, None, latest=False)
    assert chosen(config) == GuiFiles(None, None, latest=False)


def test_names_that_only_look_like_it_are_passed_over() -> None:
    assert chosen("zqx.json", "zqx_20240511.json", "zqx_20249911-100000.json", "config.toml") == (
        None,
        None,
        False,
    )
