# pathlib takes longer to import than all of this to run; third-party finders may raise anything:
# ruff: noqa: PTH100, PTH116, PTH118, PTH120, PTH123, PTH208, BLE001, S112
"""The program that queries the trainer's own Python. Never imported by loragit:
:mod:`loragit.trainers.environment.packages` passes its source on.

Arguments: the folder that is first on ``sys.path`` (the trainer script's own), the key of the
packages that loragit has cached (empty for none), and, if modules are asked for, a third one:
standard input then has their names, one a line. Standard output has, between two :data:`MARKER`,
these fields, each followed by a NUL byte::

    version  executable  platform  origin  folder  key  settled  distributions

``origin`` is the file that ``import lycoris`` would execute, ``folder`` the package's folder; both
are empty if there is none. ``key`` changes with anything that the list of packages is read from;
``settled`` is ``yes`` if none of that is younger than :data:`SETTLE`. ``distributions`` is a JSON
list of ``[name, version, site folder, text of direct_url.json or null, found through an egg-link]``
in the order of ``sys.path``; it is empty if the key is the cached one.

If modules are asked for, there follow, up to a third :data:`MARKER`, rows of three fields:
``named``, a module that was asked for or a package that holds it, and its file; ``over``, a module
that lies in the folder and hides another one of its name, and its file; ``under``, a module in the
folder that is hidden by another one, and the file of that.

Standard library only, Python 3.8 or newer. Imports no package, least of all lycoris, and nothing
from the folder that it is started in or is given: that may hold a dataset made by somebody else.
"""

from __future__ import annotations

import os
import sys
import time
from itertools import islice

MARKER = b"\0--loragit-probe--\0"

SETTLE = 2 * 10**9
"""Nanoseconds. Within less, the coarsest file times in use (FAT, some network file systems) do not
distinguish two changes."""

LISTED = 1000
"""Entries of a folder that are looked at for a module, unless it is a package."""

PRELOADED = frozenset(sys.modules)
"""What the site imports, not what this program does."""

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


def spec_of(name: str, path: list[str] | None = None) -> object:
    """Return the spec of ``name``, whose package has the search path ``path``, or ``None``.

    The same as ``importlib.util.find_spec``, but without importing packages, and past a finder that
    raises.
    """
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except Exception:
            continue
        if spec is not None:
            return spec
    return None


def file_of(spec: object) -> str:
    """Return the file that an import would execute; empty for a namespace and for what has none."""
    origin = getattr(spec, "origin", None) if getattr(spec, "has_location", False) else None
    return os.path.abspath(origin) if origin else ""


def folders_of(spec: object) -> list[str]:
    """Return where the modules of a package are searched."""
    found = getattr(spec, "submodule_search_locations", None)
    try:
        return list(found or ())
    except Exception:  # of a namespace in one that is not imported
        return list(getattr(found, "_path", ()))


def named(name: str) -> list[tuple[str, str]]:
    """Return the module ``name`` and the packages that hold it, outermost first, each with its
    file; they end where there is no such module."""
    rows: list[tuple[str, str]] = []
    path: list[str] | None = None
    parts = name.split(".")
    for number in range(1, len(parts) + 1):
        whole = ".".join(parts[:number])
        loaded = getattr(sys.modules.get(whole), "__spec__", None) if whole in PRELOADED else None
        spec = loaded or spec_of(whole, path)
        # A namespace in a package that is not imported has no spec.
        spaces = [os.path.join(folder, parts[number - 1]) for folder in path or ()]
        path = folders_of(spec) if spec else [each for each in spaces if os.path.isdir(each)]
        if spec is None and not path:
            break
        rows.append((whole, file_of(spec)))
    return rows


def modules_in(folder: str) -> list[str]:
    """Return the names of modules and packages in ``folder``, sorted."""
    names = set()
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []
    for entry in entries:
        stem, dot, rest = entry.name.partition(".")
        file = rest in ("py", "so") or rest.endswith(".so")
        if stem.isidentifier() and (file or (not dot and holds_python(entry.path))):
            names.add(stem)
    return sorted(names)


def holds_python(folder: str) -> bool:
    """Whether a module lies in ``folder``. A folder of images is not listed to its end."""
    if os.path.isfile(os.path.join(folder, "__init__.py")):
        return True
    if os.path.isfile(os.path.join(folder, "pyvenv.cfg")):
        return False
    try:
        with os.scandir(folder) as entries:
            return any(entry.name.endswith(".py") for entry in islice(entries, LISTED))
    except OSError:
        return False


def beside(folder: str) -> list[tuple[str, str, str]]:
    """Return the rows ``over`` and ``under``, for ``folder``, which is first on ``sys.path``."""
    rows = []
    whole = list(sys.path)
    folder = os.path.abspath(folder)
    for name in modules_in(folder):
        loaded = getattr(sys.modules.get(name), "__spec__", None) if name in PRELOADED else None
        first = loaded or spec_of(name)
        file = file_of(first) or "".join(folders_of(first)[:1])
        if first is None or not file:
            continue
        if os.path.dirname(os.path.abspath(file)) not in (folder, os.path.join(folder, name)):
            rows.append(("under", name, file))
            continue
        sys.path[:] = whole[1:]
        try:
            hidden = spec_of(name)
        finally:
            sys.path[:] = whole
        # A namespace hides nothing.
        if hidden is not None and file_of(first) and file_of(hidden) != file:
            rows.append(("over", name, file))
    return rows


def find(name: str) -> tuple[str, str]:
    """Return the file that ``import name`` would execute, and the package's folder; each empty if
    there is none.

    What the site has imported is where it was imported from.
    """
    spec = getattr(sys.modules.get(name), "__spec__", None) or spec_of(name)
    folder = next(iter(folders_of(spec)), None)
    return file_of(spec), os.path.abspath(folder) if folder else ""


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


def names_from_stdin() -> list[str]:
    """Return the names of modules on standard input."""
    data = b""
    while True:
        piece = os.read(0, 1 << 16)
        if not piece:
            return [os.fsdecode(line) for line in data.split(b"\n") if line]
        data += piece


def main(folder: str, known: str, modules: str = "") -> None:
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
    answer = MARKER + b"".join(os.fsencode(field) + b"\0" for field in fields) + MARKER
    if modules:
        found_modules = [] if getattr(sys.flags, "safe_path", False) else beside(folder)
        for name in names_from_stdin():
            found_modules += [("named", *row) for row in named(name)]
        answer += b"".join(os.fsencode(each) + b"\0" for row in found_modules for each in row)
        answer += MARKER
    with open(1, "wb", closefd=False) as out:  # sys.stdout may be anything by now
        out.write(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
