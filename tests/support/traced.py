"""Measures the coverage of a ``loragit`` that a test started; run by the child itself, before
anything else.

coverage's own way costs each child 0.12 s: its import takes longer than most commands. This one
takes its tracer alone, and leaves what that saw as it is to the test session (child_coverage.py),
which knows how to read it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any


def measure(tracer_file: str, package: str, folder: str) -> None:
    """Trace the files of ``package``, a folder; at the end write what was seen into ``folder``."""
    import atexit
    import marshal
    import os
    import sys
    import threading
    from importlib.machinery import ExtensionFileLoader, ModuleSpec

    loader = ExtensionFileLoader("coverage.tracer", tracer_file)
    module = loader.create_module(ModuleSpec("coverage.tracer", loader, origin=tracer_file))
    loader.exec_module(module)

    def about(name: str, frame: FrameType) -> object:
        """What the tracer asks of each file, as coverage.inorout.InOrOut.should_trace answers."""
        found = module.CFileDisposition()
        found.original_filename = found.canonical_filename = found.source_filename = name
        found.trace, found.reason = name.startswith(package), ""
        found.file_tracer, found.has_dynamic_filename = None, False
        return found

    seen: dict[str, set[int]] = {}
    known: dict[str, object] = {}
    tracers: list[Any] = []

    def start() -> Any:
        tracer = module.CTracer()
        tracer.data, tracer.trace_arcs = seen, True
        tracer.should_trace, tracer.should_trace_cache = about, known
        tracer.check_include = lambda name, frame: name.startswith(package)
        tracer.lock_data = tracer.unlock_data = lambda: None
        tracer.warn = tracer.disable_plugin = lambda *args, **named: None
        tracer.concur_id_func = tracer.should_start_context = tracer.switch_context = None
        tracer.file_tracers = {}
        tracers.append(tracer)
        return tracer.start()

    def start_thread(frame: FrameType, event: str, arg: object) -> Any:
        sys.settrace(None)
        tracing = start()
        return tracing(frame, event, arg) if tracing else None

    def write() -> None:
        for tracer in tracers:
            tracer.stop()
        threading.settrace(None)
        found = {name: list(pairs.copy()) for name, pairs in seen.copy().items() if pairs}
        path = f"{folder}/{os.getpid()}-{os.urandom(4).hex()}"
        with open(path, "wb") as file:
            file.write(marshal.dumps(found))
        os.rename(path, f"{path}.arcs")

    atexit.register(write)
    threading.settrace(start_thread)
    start()
