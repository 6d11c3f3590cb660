"""What must outlast a power cut: files and folders that are written through to the disk before work goes on."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of whatever is at ``path``: after a power cut either is there whole. Raises OSError.

    The new file is written beside it under a name of this process's own, which a crash may leave behind.
    """
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        fresh.replace(path)
    except OSError:
        # A disk that is full needs its room.
        with suppress(OSError):
            fresh.unlink()
        raise
    sync(path.parent)


def sync(path: Path) -> None:
    """Write a file's bytes, or a folder's list of names, through to the disk. Raises OSError.

    A file system that cannot do it for folders (EINVAL, as some network ones say) does it in its own way.
    """
    import errno

    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
