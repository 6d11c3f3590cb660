"""The arguments of two runs as texts that can be compared, whichever file or command gave them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loragit.history.record_parser import Record, Values
from loragit.trainers import kinds
from loragit.trainers.arguments import is_group, key_value_pairs


def argument_texts(old: Record, new: Record) -> tuple[dict[str, str], dict[str, str]]:
    """Return each side's arguments, one text each, pairs under their own names. Weights are left
    out: they are compared by content. So is the file that arguments come from.

    ``--seed 7 --network_args conv_dim=4 algo=lokr`` gives
    ``{"seed": "7", "conv_dim": "4", "algo": "lokr"}``. What was not given has the trainer's
    default, where that is on record and the other side has a value.
    """
    before, after = _given(old), _given(new)
    defaults = _as_texts(old.defaults), _as_texts(new.defaults)
    return (
        _known(defaults[0], after.keys() | defaults[1].keys()) | before,
        _known(defaults[1], before.keys() | defaults[0].keys()) | after,
    )


def _known(texts: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: texts[name] for name in names if name in texts}


def _given(record: Record) -> dict[str, str]:
    roles = {weights.role for weights in record.weights}
    trainer = kinds.trainer_of(record.trainer_kind)
    left_out = {name for name, role in trainer.weights.items() if role in roles}
    left_out |= trainer.per_run | {trainer.arguments_file or ""}
    args = {name: values for name, values in record.args.items() if name not in left_out}
    if not record.lists_arguments:
        args = {name: _paths_in_record(values, record) for name, values in args.items()}
    plain = {name: values for name, values in args.items() if not is_group(name, values)}
    return _as_texts(plain) | key_value_pairs(args)


def _as_texts(args: Values) -> dict[str, str]:
    return {name: " ".join(values) if values else "true" for name, values in args.items()}


def _paths_in_record(values: Iterable[str], record: Record) -> tuple[str, ...]:
    """Return ``values`` of a command, where each copy of an input goes by its path in the record:
    it lies in the output folder, which is another one for every run."""
    return tuple(
        key + sign + (input_path(path, record) or path)
        for key, sign, path in (value.rpartition("=") for value in values)
    )


def arguments_file(record: Record) -> str | None:
    """Return the path in the record of the file whose arguments it lists; ``None`` without one."""
    name = kinds.trainer_of(record.trainer_kind).arguments_file
    named = record.command_args.get(name, ()) if name and record.lists_arguments else ()
    return input_path(named[-1], record) if named else None


def input_path(copy: str, record: Record) -> str | None:
    """Return the path in the record of the input whose copy in the output folder the command names;
    ``None`` if it is none."""
    at = copy.rfind("/inputs/")
    return copy[at + 1 :] if at >= 0 and copy[at + 1 :] in record.files else None
