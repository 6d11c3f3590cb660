"""Trailers of a message, as ``git interpret-trailers`` reads them."""

from __future__ import annotations


def parse(message: str) -> dict[str, tuple[str, ...]]:
    """Values of each trailer of ``message``, in their order; empty where its last paragraph holds
    none."""
    import dulwich.trailers

    # dulwich takes an indented "---", as in a quoted log, for the end of the message; git does not.
    last = message.rstrip("\n").rpartition("\n\n")[2]
    _, found = dulwich.trailers.parse_trailers(b"subject\n\n" + last.encode())
    values: dict[str, list[str]] = {}
    for trailer in found:
        values.setdefault(trailer.key, []).append(trailer.value)
    return {key: tuple(several) for key, several in values.items()}


def append(message: str, trailers: list[tuple[str, str]]) -> str:
    """``message`` with a last paragraph of ``trailers``. Values are put on one line."""
    lines = [f"{key}: {' '.join(value.splitlines()).strip()}" for key, value in trailers]
    return message.rstrip("\n") + "\n\n" + "\n".join(lines) + "\n"


def first(message: str, key: str) -> str:
    """The first value of ``key`` among the trailers of a message that loragit wrote; empty where
    there is none.

    Makes no table of all of them: a log asks thousands of messages for three each.
    """
    start = message.find(f"\n{key}: ", message.rstrip("\n").rfind("\n\n") + 1)
    if start < 0:
        return ""
    start += len(key) + 3
    end = message.find("\n", start)
    return message[start : end if end >= 0 else len(message)].strip()
