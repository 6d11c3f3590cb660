"""Relays a trainer's output to our own stdout and stderr at once, and folds it into a log.

No failure here stops the flow: a closed terminal or a full disk is noted, and the rest goes on.
Linux and macOS.
"""

from __future__ import annotations

import os
import select
import stat
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from loragit.errors import LoragitError
from loragit.system.logfold import Folder

LEFT_OUT = "[a line was left out: it could not be redacted]"

_READ = 65_536
"""Bytes read at once."""

_TOGETHER = 16
"""Most lines redacted as one: enough for a key of 64 characters in a column of four."""

_OUTSIDERS = 64
"""Reads granted to a stream after all of the training's processes are gone: another process may
write to it forever."""


class CannotLog(LoragitError):
    """The log or the channel to it could not be created; nothing was started."""


def own_streams() -> tuple[int | None, int | None]:
    """Return our stdout and stderr; ``None`` for a closed one.

    Call this before opening anything: the next file opened gets a closed stream's number.
    """
    return (1 if _is_open(1) else None), (2 if _is_open(2) else None)


class Output:
    """The streams of one training, from start to end.

    The child gets ``stdout`` and ``stderr``. If our stream is a terminal, the child gets a
    pseudo-terminal, a single one if both are terminals. Otherwise it gets a pipe, so that its bytes
    stay plain and separate.
    """

    def __init__(
        self,
        log: Path,
        redact: Callable[[str], str],
        tail: int,
        sinks: tuple[int | None, int | None],
        goes_on: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Create ``log``, which must not exist. ``sinks`` come from :func:`own_streams`. Raises
        :class:`CannotLog`.

        Lines for which ``goes_on`` is true are redacted together with the next one.
        """
        self._trouble: dict[str, None] = {}
        self._goes_on = goes_on
        self.transcript = Transcript(log, redact, tail, self.note)
        for sink, name in zip(sinks, ("stdout", "stderr"), strict=True):
            if sink is None:
                self.note(f"{name} was closed: the output that belongs there is in the log alone")
        terminals = [sink is not None and os.isatty(sink) for sink in sinks]
        self._slaves: list[int] = []
        self._writers: list[int] = []
        self._channels: list[_Channel] = []
        try:
            self.stdout = self._open(sinks[0], terminals[0])
            self.stderr = self.stdout if all(terminals) else self._open(sinks[1], terminals[1])
        except OSError as error:
            self.discard()
            raise CannotLog(f"no pipe for the trainer's output: {error.strerror}") from error

    @property
    def trouble(self) -> tuple[str, ...]:
        """Problems on our side, each once, in the order they happened."""
        return tuple(self._trouble)

    def note(self, problem: str) -> None:
        self._trouble.setdefault(problem)

    def started(self) -> None:
        """Close our copies of the child's ends, so that the end of a pipe shows. Call it once the
        child has them."""
        _close(self._writers)

    def readers(self) -> list[int]:
        """Descriptors to poll for output. A stream is left out until its last bytes have been
        delivered."""
        return [c.source for c in self._channels if c.source is not None and not c.pending]

    def writers(self) -> list[int]:
        """Descriptors that have bytes waiting to be delivered."""
        return [c.sink for c in self._channels if c.sink is not None and c.pending]

    def relay(self, ready: Iterable[int]) -> None:
        """Move what can be moved without waiting, given the file descriptors that are ready."""
        ready = frozenset(ready)
        for channel in self._channels:
            if channel.pending:
                if channel.sink in ready:
                    channel.deliver(self.note)
            elif channel.source in ready:
                self._take(channel)

    def drain(self) -> bool:
        """After the training, read what the streams still hold. True while bytes wait to be
        delivered."""
        # Held open until now so that the last bytes are not discarded with the terminal, as macOS
        # does.
        _close(self._slaves)
        for channel in self._channels:
            while channel.source is not None and not channel.pending:
                channel.reads_left -= 1
                if not self._take(channel) or not channel.reads_left:
                    channel.close()
        return bool(self.writers())

    def abandon(self) -> None:
        """Give up delivering: the reader of our output has stopped reading."""
        for channel in self._channels:
            channel.pending, channel.sink = b"", None

    def resize(self) -> None:
        """Give each pseudo-terminal the size of the terminal it stands for."""
        for channel in self._channels:
            if channel.terminal and channel.source is not None and channel.sink is not None:
                _copy_size(channel.sink, channel.source)

    def close(self) -> None:
        """Finish the log and close all our descriptors."""
        for channel in self._channels:
            channel.close()
            self.transcript.add([*self._whole(channel, channel.folder.close()), *channel.rest()])
        _close(self._slaves)
        _close(self._writers)
        self.transcript.close()

    def discard(self) -> None:
        """Close everything and remove the log, as nothing was started."""
        self.close()
        self.transcript.path.unlink()

    def _open(self, sink: int | None, terminal: bool) -> int:
        """Open a channel to ``sink``; return the child's end."""
        if terminal and sink is not None:
            try:
                source, end = _pseudo_terminal(sink)
            except OSError as error:
                self.note(f"no pseudo-terminal for the trainer: {error.strerror}")
                terminal = False
            else:
                self._slaves.append(end)
        if not terminal:
            source, end = os.pipe()
            self._writers.append(end)
        os.set_blocking(source, False)
        self._channels.append(_Channel(source, sink, terminal))
        return end

    def _take(self, channel: _Channel) -> bool:
        """Read once. False if there was nothing (more) to read."""
        data = channel.read()
        if data:
            self.transcript.add(self._whole(channel, channel.folder.feed(data)))
            if channel.sink is not None:
                channel.pending = data
                channel.deliver(self.note)
        return bool(data)

    def _whole(self, channel: _Channel, lines: list[str]) -> list[str]:
        """Return ``lines``, with those that a program broke within a secret joined into one text.
        The last may have to wait for the next line."""
        texts: list[str] = []
        for line in lines:
            channel.begun.append(line)
            if len(channel.begun) == _TOGETHER or not self._begins(channel.begun):
                texts += channel.rest()
        return texts

    def _begins(self, lines: list[str]) -> bool:
        try:
            return self._goes_on("\n".join(lines))
        except Exception as error:  # noqa: BLE001  whatever fails, the training goes on
            self.note(f"a line was redacted without the next: {type(error).__name__}: {error}")
            return False


class _Channel:
    """One stream, from the child's end to one of ours."""

    def __init__(self, source: int, sink: int | None, terminal: bool) -> None:
        self.source: int | None = source
        self.sink = sink
        self.terminal = terminal
        self.pending = b""
        self.reads_left = _OUTSIDERS
        self.folder = Folder()
        self.begun: list[str] = []
        self._piece = 0 if sink is None else _piece(sink)

    def read(self) -> bytes:
        """Return the bytes available now; empty if there are none, or at the end."""
        assert self.source is not None
        try:
            data = os.read(self.source, _READ)
        except BlockingIOError:
            return b""
        except OSError:  # Linux, once nobody holds the other end of a pseudo-terminal
            data = b""
        if not data:
            self.close()
        return data

    def rest(self) -> list[str]:
        """Return the lines waiting for the next one as one text, and forget them."""
        texts = ["\n".join(self.begun)] if self.begun else []
        self.begun = []
        return texts

    def deliver(self, note: Callable[[str], None]) -> None:
        """Write as much as the sink takes without blocking, since a blocked process could not pass
        on a signal."""
        while self.pending and self.sink is not None:
            _, ready, _ = select.select([], [self.sink], [], 0)
            if not ready:
                return
            try:
                written = os.write(self.sink, self.pending[: self._piece])
            except BlockingIOError:  # whoever gave us this stream made it non-blocking
                return
            except OSError as error:
                note(f"output was not shown to its end: {error.strerror}")
                self.pending, self.sink = b"", None
            else:
                self.pending = self.pending[written:]

    def close(self) -> None:
        if self.source is not None:
            os.close(self.source)
            self.source = None


class Transcript:
    """The log: each line redacted as it comes; the last ones are kept in memory."""

    def __init__(
        self, path: Path, redact: Callable[[str], str], tail: int, note: Callable[[str], None]
    ) -> None:
        self.path = path
        self._redact = redact
        self._note = note
        self._tail: deque[str] = deque(maxlen=tail)
        self._torn = False
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            hint = (
                "an earlier run left it: move it away"
                if isinstance(error, FileExistsError)
                else "see what its folder allows"
            )
            raise CannotLog(
                f"the log {path} cannot be made: {error.strerror}", hint=hint
            ) from error

    @property
    def tail(self) -> tuple[str, ...]:
        return tuple(self._tail)

    def add(self, texts: list[str]) -> None:
        """Append ``texts``, each of one or more lines.

        The system has them when this returns: only a system crash can lose them.
        """
        if not texts:
            return
        lines = [line for text in texts for line in self._redacted(text).split("\n")]
        self._tail.extend(lines)
        text = "\n" * self._torn + "".join(f"{line}\n" for line in lines)
        data = memoryview(text.encode("utf-8", "replace"))
        try:
            while data:
                written = os.write(self._file, data)
                self._torn = data[written - 1] != 0x0A
                data = data[written:]
        except OSError as error:
            self._note(f"the log is not complete: {error.strerror}")

    def close(self) -> None:
        os.close(self._file)

    def _redacted(self, line: str) -> str:
        try:
            return self._redact(line)
        except Exception as error:  # noqa: BLE001  whatever fails, the training goes on and no secret is written
            self._note(f"a line could not be redacted: {type(error).__name__}: {error}")
            return LEFT_OUT


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _piece(sink: int) -> int:
    """Return how many bytes can be written without blocking once ``select`` reports ``sink``
    writable.

    For a pipe, POSIX guarantees PIPE_BUF. Files, and devices that are not terminals, take any
    number.
    """
    mode = os.fstat(sink).st_mode
    waits = not stat.S_ISREG(mode) and (not stat.S_ISCHR(mode) or os.isatty(sink))
    return select.PIPE_BUF if waits else _READ


def _pseudo_terminal(like: int) -> tuple[int, int]:
    """Open a pseudo-terminal of the size of ``like``; return our end and the child's.

    Line ends pass unchanged: our own terminal turns them into ``\\r\\n``.
    """
    import termios

    master, slave = os.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    _copy_size(like, master)
    return master, slave


def _copy_size(from_terminal: int, to_terminal: int) -> None:
    import termios

    try:
        termios.tcsetwinsize(to_terminal, termios.tcgetwinsize(from_terminal))
    except termios.error:  # it was closed; its output is about to say so
        return


def _close(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())
