"""The files that kohya_ss, the GUI of sd-scripts, writes beside the models of each training it
starts: ``NAME_20240511-181341.json`` with every field of the GUI, and
``config_lora-20240511-181341.toml`` with what the trainer was given.

One folder holds those of many trainings, of failed ones too. The two of a start bear the same
second or the next one (``lora_gui.py`` of kohya_ss asks for the time twice).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

PROMPTS = "sample/prompt.txt"
"""Written anew at each start."""

_STAMP = r"(?P<stamp>[0-9]{8}-[0-9]{6})"
_FIELDS = re.compile(rf"(?P<name>.+)_{_STAMP}\.json", re.DOTALL)
_CONFIG = re.compile(rf"config_\w+-{_STAMP}\.toml")
_SLACK = timedelta(seconds=1)


class GuiFiles(NamedTuple):
    """The files of one training, by name; ``None`` where there is none."""

    fields: str | None
    config: str | None
    latest: bool
    """Whether no training was started later, so that the prompts are this one's."""


def gui_files(
    names: Iterable[str],
    output_name: str,
    started: datetime | None,
    named_in: Callable[[str], str | None],
) -> GuiFiles:
    """Choose, among the files ``names`` of a folder, those of the training ``output_name``.

    Of several starts of that name, the last one before ``started`` counts. ``named_in`` returns
    the output name that a config holds, ``None`` if it holds none.
    """
    fields: dict[str, datetime] = {}
    configs: dict[str, datetime] = {}
    ours = set()
    for name in names:
        match = _FIELDS.fullmatch(name) or _CONFIG.fullmatch(name)
        moment = _moment(match["stamp"]) if match else None
        if match is None or moment is None:
            continue
        is_config = match.re is _CONFIG
        (configs if is_config else fields)[name] = moment
        if not is_config and match["name"] == output_name:
            ours.add(name)
    newest = max([*fields.values(), *configs.values()], default=None)
    chosen = _of_start({name: fields[name] for name in ours}, started)
    if chosen is not None:
        config = _partner(chosen, fields, configs)
        if config is not None and named_in(config) not in (output_name, None):
            config = None
    else:
        named = {name: when for name, when in configs.items() if named_in(name) == output_name}
        config = _of_start(named, started)
    times = [fields[chosen]] if chosen else []
    times += [configs[config]] if config else []
    return GuiFiles(chosen, config, bool(times) and newest == max(times))


def _moment(stamp: str) -> datetime | None:
    """The GUI writes local time; that of this machine is assumed."""
    try:
        return datetime.strptime(stamp, "%Y%m%d-%H%M%S").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _of_start(moments: dict[str, datetime], started: datetime | None) -> str | None:
    """Return the last of ``moments`` that is not after ``started``, else the first one; the last
    of all if that time is unknown."""
    ordered = sorted(moments, key=lambda name: (moments[name], name))
    if not ordered or started is None:
        return ordered[-1] if ordered else None
    before = [name for name in ordered if moments[name] <= started + _SLACK]
    return before[-1] if before else ordered[0]


def _partner(chosen: str, fields: dict[str, datetime], configs: dict[str, datetime]) -> str | None:
    """Return the config that the start of ``chosen`` wrote: the nearest one, unless it is nearer to
    another start."""

    def apart(config: str, name: str) -> timedelta:
        return abs(configs[config] - fields[name])

    near = sorted(
        (each for each in configs if apart(each, chosen) <= _SLACK),
        key=lambda each: (apart(each, chosen), configs[each], each),
    )
    return next(
        (
            each
            for each in near
            if not any(apart(each, other) < apart(each, chosen) for other in fields)
        ),
        None,
    )
