# pathlib takes longer to import than all of this to run; third-party finders may raise anything:
# ruff: noqa: PTH100, PTH116, PTH118, PTH123, PTH208, BLE001, S112
"""The program that queries the trainer's own Python. Never imported by loragit:
:mod:`loragit.trainers.environment.packages` passes its source on.

Arguments: the folder that is first on ``sys.path`` (the trainer script's own), and the key of the
packages that loragit has cached (empty for none). Standard output then has, between two
:data:`MARKER`, these fields, each followed by a NUL byte::

    version  executable  platform  origin  folder  key  settled  distributions

``origin`` is the file that ``import lycoris`` would execute, ``folder`` the package's folder; both
are empty if there is none. ``key`` changes with anything that the list of packages is read from;
``settled`` is ``yes`` if none of that is younger than :data:`SETTLE`. ``distributions`` is a JSON
list of ``[name, version, site folder, text of direct_url.json or null, found through an egg-link]``
in the order of ``sys.path``; it is empty if the key is the cached one.

Standard library only, Python 3.8 or newer. Imports no package, least of all lycoris, and nothing
from the folder that it is started in or is given: that may hold a dataset made by somebody else.
"""

from __future__ import annotations

import os
import sys
import time

MARKER = b"\0--loragit-probe--\0"

SETTLE = 2 * 10**9
"""Nanoseconds. Within less, the coarsest file times in use (FAT, some network file systems) do not
distinguish two changes."""

METADATA = (".dist-info", ".egg-info", ".egg-link")
"""Name endings of the entries that show which packages a folder holds. An egg has a plain
``EGG-INFO`` inside."""

REWRITTEN = ("/METADATA", "/direct_url.json")
REWRITTEN_OF_OLD = ("/PKG-INFO",)
"""Files inside ``.dist-info``, and inside the others, that may be rewritten in place without
changing the folder's times."""


def sources(path: list[str]) -> list[str]:
    """Return everything that the list of packages is read from, in the order of ``path``
    (``sys.path``).

    A folder without packages is ignored, and so are a site folder's own times: a trainer that
    writes into its own folder changes no package.
    """
    found = []
    for folder in path:
        try:
            names = sorted(os.listdir(folder or "."))
        except OSError:
            names = []
            if os.path.isfile(folder):  # a zip
                found.append(folder)
        for name in names:
            low = name.lower()
            if low.endswith(METADATA) or low == "egg-info":
                found.append(os.path.join(folder, name))
    return found


def key_of(found: list[str], now: int) -> tuple[str, bool]:
    """Return a digest of the names, times and inodes of :func:`sources`, and whether they are
    settled. ``now``: ns since 1970."""
    try:
        from _blake2 import blake2b  # hashlib would load OpenSSL, 4 ms
    except ImportError:
        from hashlib import blake2b
    rows = [sys.version]
    settled = True
    for path in found:
        inside = REWRITTEN if path.endswith(".dist-info") else REWRITTEN_OF_OLD
        for each in (path, *(path + name for name in inside)):
            try:
                status = os.stat(each)
            except OSError:
                continue
            mtime = status.st_mtime_ns
            rows.append(f"{each}\0{mtime} {status.st_ctime_ns} {status.st_ino} {status.st_size}")
            # A time in the future (an unpacked archive, a wrong clock) is not recent.
            settled = settled and abs(now - mtime) > SETTLE
    return blake2b(os.fsencode("\0".join(rows)), digest_size=20).hexdigest(), settled


def find(name: str) -> tuple[str, str]:
    """Return the file that ``import name`` would execute, and the package's folder; each empty if
    there is none.

    The same as ``importlib.util.find_spec``, but without importing it, and past a finder that
    raises.
    """
    spec = getattr(sys.modules.get(name), "__spec__", None)
    for finder in sys.meta_path:
        if spec is not None:
            break
        try:
            spec = finder.find_spec(name, None)
        except Exception:
            continue
    if spec is None:
        return "", ""
    origin = spec.origin if spec.has_location else None
    folder = next(iter(spec.submodule_search_locations or ()), None)
    return os.path.abspath(origin) if origin else "", os.path.abspath(folder) if folder else ""


def distributions(found: list[str], path: list[str]) -> list[list[object]]:
    """Return one row per package, as described in the module's docstring. Anything unreadable is
    left out."""
    from contextlib import suppress
    from importlib import metadata

    linked = set()
    for each in found:
        if each.endswith(".egg-link"):
            with suppress(OSError, ValueError), open(each, encoding="utf-8") as link:
                linked.add(os.path.realpath(link.readline().strip()))
    rows: list[list[object]] = []
    with suppress(Exception):
        for package in metadata.distributions(path=path):
            with suppress(Exception):
                name, version = package.metadata["Name"], package.version
                folder = os.path.realpath(str(package.locate_file("")))
                if name and version:
                    rows.append(
                        [
                            name,
                            version,
                            folder,
                            package.read_text("direct_url.json"),
                            folder in linked,
                        ]
                    )
    return rows


def platform() -> str:
    """Return a name such as ``Linux 6.1.0-18-amd64 x86_64, glibc 2.36``. The ``platform`` module
    may start a child process for this."""
    system = os.uname()
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION")
    except (OSError, ValueError):  # musl, macOS
        libc = None
    words = f"{system.sysname} {system.release} {system.machine}"
    return f"{words}, {libc}" if libc else words


def main(folder: str, known: str) -> None:
    """Write the answer to standard output."""
    # ``python script.py`` puts the script's folder first, except with -P. Here sys.path is set last
    # of all.
    path = [*([] if getattr(sys.flags, "safe_path", False) else [folder]), *sys.path]
    found = sources(path)
    key, settled = key_of(found, time.time_ns())
    rows = ""
    if key != known:
        from json import dumps

        rows = dumps(distributions(found, path))
    version = sys.version.split()[0]
    sys.path[:] = path
    fields = (
        version,
        sys.executable,
        platform(),
        *find("lycoris"),
        key,
        "yes" if settled else "no",
        rows,
    )
    with open(1, "wb", closefd=False) as out:  # sys.stdout may be anything by now
        out.write(MARKER + b"".join(os.fsencode(field) + b"\0" for field in fields) + MARKER)


if __name__ == "__main__":
    main(*sys.argv[1:])
