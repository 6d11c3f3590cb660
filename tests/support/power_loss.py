"""What a disk holds after a power cut: replays what strace saw being written, named and waited for.

The model is harsher than file systems are. Bytes of a file are on the disk when an fsync of the
file that began after they were written has ended; a name in a folder, or that it is gone, when that
is so of the folder. Of everything else any part may be there or not. :func:`replay` stops at each
step, and :meth:`Disk.after_power_cut` writes down what a machine that went dark at that step may
come up with.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

CALLS = (
    "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,sendfile,copy_file_range,"
    "rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,"
    "fsync,fdatasync,syncfs,sync,chdir,fchdir,clone,clone3,fork,vfork,execve"
)
_FORKS = {"clone", "clone3", "fork", "vfork"}
_FROM_HERE = {
    "open",
    "creat",
    "rename",
    "link",
    "unlink",
    "rmdir",
    "mkdir",
    "truncate",
    "symlink",
    "chdir",
}
"""Calls whose paths are relative to the current folder; others say which folder they mean."""


def tracer(trace: Path) -> tuple[str, ...]:
    """Words that, before a command, write what it and its children do to ``trace``."""
    filters = ("-e", f"trace={CALLS}", "-e", "signal=none")
    # All bytes as hexadecimal digits and descriptors with their paths; only these calls are stopped
    # at.
    return (
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-y",
        "-xx",
        "-s",
        "4194304",
        "-o",
        str(trace),
        *filters,
    )


def why_not(folder: Path) -> str | None:
    """Why nothing can be traced here; ``None`` where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(
        [*tracer(folder / "try"), "true"], capture_output=True, text=True, check=False
    )
    return (
        None if done.returncode == 0 else f"strace does not work here: {done.stderr.strip()[:200]}"
    )


class NotModelled(Exception):
    """The program did something to a file that this model does not know; what it says would be
    wrong."""


@dataclass(eq=False)
class File:
    data: bytes
    """What a program reads."""
    kept: bytes | None
    """What is on the disk for certain; ``None`` where nobody waited for any of it."""

    @property
    def settled(self) -> bool:
        return self.data == self.kept


@dataclass(eq=False)
class Folder:
    names: dict[str, Node] = field(default_factory=dict)
    kept: dict[str, Node] = field(default_factory=dict)


@dataclass(eq=False)
class Link:
    """A symbolic link, as it was at the beginning."""

    target: Path


Node = File | Folder | Link
State = dict[str, bytes | None]
"""Files by path, folders with ``None``."""


class Call(NamedTuple):
    """A system call that succeeded."""

    name: str
    text: str
    """Its arguments, paths and strings decoded."""
    paths: tuple[Path, ...]
    """What it was about, absolute."""


@dataclass(eq=False)
class _Handle:
    """An open file."""

    file: File
    at: int | None
    """Where the next write goes; ``None`` for the end."""


@dataclass(eq=False)
class _Process:
    folder: Path
    handles: dict[int, _Handle] = field(default_factory=dict)


class Disk:
    """A folder and all below it, at first as it is, and on the disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = _load(root)

    def state(self) -> State:
        """What programs see."""
        return dict(_walk(self.top, "", lambda folder: folder.names, lambda file: file.data))

    def least(self) -> State:
        """What is on the disk for certain, and nothing more; a file that nobody waited for is
        empty."""
        return dict(_walk(self.top, "", lambda folder: folder.kept, lambda file: file.kept or b""))

    def names_only(self) -> State:
        """Every name is there; of bytes that nobody waited for only how many they were."""
        return dict(_walk(self.top, "", lambda folder: folder.names, _zeros))

    def some(self, seed: int) -> State:
        """Any mixture of what is there for certain and what may be."""
        chance = Random(seed)

        def names(folder: Folder) -> dict[str, Node]:
            both = {*folder.names, *folder.kept}
            picked = {
                name: chance.choice((folder.names, folder.kept)).get(name) for name in sorted(both)
            }
            return {name: node for name, node in picked.items() if node is not None}

        def contents(file: File) -> bytes:
            return chance.choice((file.data, file.kept or b"", _zeros(file)))

        return dict(_walk(self.top, "", names, contents))

    def settled(self, path: Path) -> bool:
        """Whether the file or folder at ``path`` is found after a power cut, as it is now; a folder
        with all below."""
        node: Node = self.top
        for part in path.relative_to(self.root).parts:
            if (
                not isinstance(node, Folder)
                or part not in node.names
                or node.kept.get(part) is not node.names[part]
            ):
                return False
            node = node.names[part]
        return _settled(node)

    def _at(self, path: Path) -> tuple[Folder, str] | None:
        """Folder and name of ``path``; ``None`` where it is elsewhere."""
        if not path.is_relative_to(self.root) or path == self.root:
            return None
        *parents, name = path.relative_to(self.root).parts
        node: Node = self.top
        for part in parents:
            node = node.names[part] if isinstance(node, Folder) else node
        if not isinstance(node, Folder):
            raise NotModelled(f"{path} is below a link")
        return node, name

    def node(self, path: Path) -> Node | None:
        if path == self.root:
            return self.top
        found = self._at(path)
        return found[0].names.get(found[1]) if found else None

    def put(self, path: Path, node: Node) -> None:
        found = self._at(path)
        if found:
            found[0].names[found[1]] = node

    def take(self, path: Path) -> Node | None:
        found = self._at(path)
        return found[0].names.pop(found[1]) if found else None

    def settle_all(self) -> None:
        """As sync(2)."""
        waiting: list[Node] = [self.top]
        while waiting:
            node = waiting.pop()
            if isinstance(node, Folder):
                node.kept = dict(node.names)
                waiting.extend(node.names.values())
            elif isinstance(node, File):
                node.kept = node.data


def write_state(state: State, folder: Path, below: str) -> Path:
    """Write the part ``below`` of ``state`` (a relative path) to ``folder``, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path, data in state.items():
        if path.startswith(below + "/"):
            place = folder / path[len(below) + 1 :]
            if data is None:
                place.mkdir()
            else:
                place.write_bytes(data)
    return folder


def replay(
    trace: Path, disk: Disk, *, cwd: Path, unheard: Callable[[Call], bool] = lambda _: False
) -> Iterator[Call]:
    """Do to ``disk`` what was traced of a program started in ``cwd``, and yield each call when it
    is done.

    A program is yielded before it is executed. A wait for the disk that is ``unheard`` of does
    nothing.
    """
    player = _Player(disk, cwd)
    with trace.open(encoding="ascii") as lines:
        for line in lines:
            pid, rest = line.rstrip("\n").split(maxsplit=1)
            yield from player.line(int(pid), rest, unheard)


class _Player:
    def __init__(self, disk: Disk, cwd: Path) -> None:
        self.disk = disk
        self.cwd = cwd
        self.processes: dict[int, _Process] = {}
        self.begun: dict[int, str] = {}
        self.waits: dict[int, tuple[Node | None, bytes | dict[str, Node] | None]] = {}
        """What each process that waits for the disk waits for, as it was when the wait began."""

    def line(self, pid: int, text: str, unheard: Callable[[Call], bool]) -> Iterator[Call]:
        if text.startswith(("+++", "---")) or _only_read(text):
            return
        process = self._process(pid)
        if text.endswith(" <unfinished ...>"):
            self.begun[pid] = begun = text.removesuffix(" <unfinished ...>")
            yield from self._begin(pid, process, begun)
            return
        if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
            text = self.begun.pop(pid) + text[resumed.end() :]
        else:
            yield from self._begin(pid, process, text)
        match = re.fullmatch(r"(\w+)\((.*)\) += (-?\d+|\?)(.*)", text)
        if match is None:
            raise NotModelled(text[:300])
        name, arguments, result = match[1], match[2], match[3]
        if result == "?" or result.startswith("-") or name == "execve":
            self.waits.pop(pid, None)
            return
        call = self._call(process, name, arguments)
        if name in ("fsync", "fdatasync", "syncfs", "sync") and unheard(call):
            self.waits.pop(pid, None)
        else:
            self._do(pid, process, call, arguments, int(result))
        if name in _FORKS or any(path.is_relative_to(self.disk.root) for path in call.paths):
            yield call

    def _process(self, pid: int) -> _Process:
        if pid not in self.processes:
            # A vfork comes back after the child has gone on.
            parents = [
                each for each, begun in self.begun.items() if begun.partition("(")[0] in _FORKS
            ]
            parent = self.processes[parents[-1]] if parents else _Process(self.cwd)
            self.processes[pid] = _Process(parent.folder, dict(parent.handles))
        return self.processes[pid]

    def _begin(self, pid: int, process: _Process, text: str) -> Iterator[Call]:
        name, _, arguments = text.partition("(")
        if name == "execve":
            yield self._call(process, name, arguments)
        if name in ("fsync", "fdatasync"):
            node = self.disk.node(self._call(process, name, arguments).paths[0])
            seen = (
                node.data
                if isinstance(node, File)
                else dict(node.names)
                if isinstance(node, Folder)
                else None
            )
            self.waits[pid] = (node, seen)

    def _call(self, process: _Process, name: str, arguments: str) -> Call:
        if name in ("write", "pwrite64", "writev", "pwritev", "pwritev2"):
            arguments = arguments.partition(">")[0] + ">"
        # Of a descriptor with its path, and of a text: what it is.
        found = re.findall(r'(?:(-?\w+)<((?:\\x..)*)>(?:\(deleted\))?)|"((?:\\x..)*)"', arguments)
        shown = re.sub(
            r"(?:\\x..)+", lambda match: _decoded(match[0]).decode("utf-8", "replace"), arguments
        )
        paths: list[Path] = []
        base = process.folder if name in _FROM_HERE else None
        for handle, folder, text in found:
            if handle:
                base = Path(_decoded(folder).decode())
                if handle == "AT_FDCWD":
                    process.folder = base
                elif not name.endswith("at") and name != "renameat2":
                    paths.append(base)
            elif base is not None and name != "execve":
                paths.append(Path(os.path.normpath(base / os.fsdecode(_decoded(text)))))
        return Call(name, shown, tuple(paths))

    def _do(self, pid: int, process: _Process, call: Call, arguments: str, result: int) -> None:
        name, paths = call.name, call.paths
        if name in _FORKS:
            self.processes.setdefault(result, _Process(process.folder, dict(process.handles)))
            if "CLONE_THREAD" in arguments:
                self.processes[result] = process
        elif name in ("chdir", "fchdir"):
            process.folder = paths[0]
        elif name in ("open", "openat", "creat"):
            self._open(process, call, result)
        elif name == "write":
            self._write(process, paths[0], arguments, result)
        elif name == "sendfile":
            self._send(process, call, result)
        elif name in ("fsync", "fdatasync", "sync", "syncfs"):
            self._wait(pid, name)
        elif any(path.is_relative_to(self.disk.root) for path in paths):
            self._name(call)

    def _wait(self, pid: int, name: str) -> None:
        if name in ("sync", "syncfs"):
            self.disk.settle_all()
            return
        node, seen = self.waits.pop(pid)
        if isinstance(node, File) and isinstance(seen, bytes):
            node.kept = seen
        if isinstance(node, Folder) and isinstance(seen, dict):
            node.kept = seen

    def _name(self, call: Call) -> None:
        if call.name in ("mkdir", "mkdirat"):
            self.disk.put(call.paths[0], Folder())
        elif call.name in ("unlink", "unlinkat", "rmdir"):
            self.disk.take(call.paths[0])
        elif call.name in ("link", "linkat", "rename", "renameat", "renameat2"):
            self._second_name(call)
        else:
            raise NotModelled(f"{call.name}({call.text[:300]})")

    def _second_name(self, call: Call) -> None:
        old, new = call.paths
        inside = [path.is_relative_to(self.disk.root) for path in call.paths]
        if any(inside) and (not all(inside) or "RENAME_EXCHANGE" in call.text):
            raise NotModelled(f"{call.name}({call.text})")
        node = self.disk.node(old) if call.name.startswith("link") else self.disk.take(old)
        if node is not None:
            self.disk.put(new, node)

    def _open(self, process: _Process, call: Call, handle: int) -> None:
        process.handles.pop(handle, None)
        path = call.paths[-1]
        if not path.is_relative_to(self.disk.root):
            return
        node = self.disk.node(path)
        if node is None and ("O_CREAT" in call.text or call.name == "creat"):
            node = File(b"", None)
            self.disk.put(path, node)
        if isinstance(node, File):
            if "O_TRUNC" in call.text or call.name == "creat":
                node.data = b""
            process.handles[handle] = _Handle(node, None if "O_APPEND" in call.text else 0)

    def _write(self, process: _Process, path: Path, arguments: str, length: int) -> None:
        node = self.disk.node(path)
        if not isinstance(node, File):
            return
        number = int(arguments.partition("<")[0])
        handle = process.handles.get(number)
        if handle is None or handle.file is not node:
            handle = process.handles[number] = _Handle(node, None)
        quoted = re.search(r'>, "((?:\\x..)*)", \d+$', arguments)
        if quoted is None:
            raise NotModelled(f"more was written to {path} at once than was traced")
        self._put(handle, _decoded(quoted[1])[:length])

    def _send(self, process: _Process, call: Call, length: int) -> None:
        """As shutil.copyfile does it: from the beginning, and on where the last one ended."""
        there, source = (self.disk.node(path) for path in call.paths)
        handle = process.handles.get(int(call.text.partition("<")[0]))
        begin = re.search(r"\[(\d+)\]", call.text)
        if not length or not isinstance(there, File):
            return
        if handle is None or not isinstance(source, File) or begin is None:
            raise NotModelled(f"sendfile({call.text[:300]})")
        self._put(handle, source.data[int(begin[1]) :][:length])

    def _put(self, handle: _Handle, data: bytes) -> None:
        node = handle.file
        at = len(node.data) if handle.at is None else handle.at
        node.data = node.data[:at].ljust(at, b"\0") + data + node.data[at + len(data) :]
        if handle.at is not None:
            handle.at = at + len(data)


def _only_read(text: str) -> bool:
    """Whether this is a file that was opened for reading, as most are."""
    return (
        text.startswith("openat(")
        and "O_RDONLY" in text
        and "O_CREAT" not in text
        and "unfinished" not in text
    )


def _load(path: Path) -> Folder:
    folder = Folder()
    for entry in path.iterdir():
        node: Node
        if entry.is_symlink():
            node = Link(entry.readlink())
        elif entry.is_dir():
            node = _load(entry)
        else:
            data = entry.read_bytes()
            node = File(data, data)
        folder.names[entry.name] = node
    folder.kept = dict(folder.names)
    return folder


def _walk(
    folder: Folder,
    prefix: str,
    names: Callable[[Folder], dict[str, Node]],
    contents: Callable[[File], bytes],
) -> Iterable[tuple[str, bytes | None]]:
    for name, node in sorted(names(folder).items()):
        path = prefix + name
        if isinstance(node, Folder):
            yield path, None
            yield from _walk(node, path + "/", names, contents)
        elif isinstance(node, File):
            yield path, contents(node)


def _zeros(file: File) -> bytes:
    kept = file.kept or b""
    return kept if file.settled else kept.ljust(len(file.data), b"\0")


def _settled(node: Node) -> bool:
    if isinstance(node, Folder):
        return node.names == node.kept and all(map(_settled, node.names.values()))
    return not isinstance(node, File) or node.settled


def _decoded(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
