"""Trailers of a message, as ``git interpret-trailers`` reads them."""

from __future__ import annotations


def parse(message: str) -> dict[str, tuple[str, ...]]:
    """Return the values of each trailer of ``message``, in their order; empty if its last paragraph
    has none."""
    import dulwich.trailers

    # dulwich takes an indented "---", as in a quoted log, as the end of the message; git does not.
    last = message.rstrip("\n").rpartition("\n\n")[2]
    _, found = dulwich.trailers.parse_trailers(b"subject\n\n" + last.encode())
    values: dict[str, list[str]] = {}
    for trailer in found:
        values.setdefault(trailer.key, []).append(trailer.value)
    return {key: tuple(several) for key, several in values.items()}


def append(message: str, trailers: list[tuple[str, str]]) -> str:
    """Return ``message`` with a last paragraph of ``trailers``, each value on one line."""
    lines = [f"{key}: {' '.join(value.splitlines()).strip()}" for key, value in trailers]
    return message.rstrip("\n") + "\n\n" + "\n".join(lines) + "\n"


def first(message: str, key: str) -> str:
    """Return the first value of ``key`` among the trailers of a message that loragit wrote; empty
    if there is none.

    Quicker than :func:`parse`: a log asks thousands of messages for three trailers each.
    """
    start = message.find(f"\n{key}: ", message.rstrip("\n").rfind("\n\n") + 1)
    if start < 0:
        return ""
    start += len(key) + 3
    end = message.find("\n", start)
    return message[start : end if end >= 0 else len(message)].strip()
