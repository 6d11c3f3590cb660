"""The Python modules that sd-scripts imports because an argument names them: ``get_optimizer`` and
``get_scheduler_fix`` in ``library/train_util.py``, ``train`` in ``train_network.py``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from loragit.trainers.arguments import Arguments

_OF_OPTIMIZER = (
    # (how its name begins, how it ends, the package); in lower case, the first that fits.
    ("lion", "lion", "lion_pytorch"),
    ("", "8bit", "bitsandbytes"),
    ("pagedadamw", "", "bitsandbytes"),
    ("dadapt", "", "dadaptation"),
    ("prodigy", "prodigy", "prodigyopt"),
    ("adafactor", "adafactor", "transformers"),
    ("", "schedulefree", "schedulefree"),
)
_OF_FLAG = {
    "use_8bit_adam": "bitsandbytes",
    "use_lion_optimizer": "lion_pytorch",
    "xformers": "xformers",
}


def named_modules(known: Arguments) -> Iterator[str]:
    """Yield the modules that the arguments ``known`` name, dotted."""
    module = known.one("network_module")
    if module:
        yield module
    for flag, package in _OF_FLAG.items():
        if flag in known.options:
            yield package
    for option in ("optimizer_type", "lr_scheduler_type"):
        written = known.one(option)
        # my.module.Opt: everything before the last dot is imported.
        if written and "." in written:
            yield written.rpartition(".")[0]
    optimizer = (known.one("optimizer_type") or "").lower()
    fitting = (
        package
        for begins, ends, package in _OF_OPTIMIZER
        if optimizer.startswith(begins) and optimizer.endswith(ends)
    )
    yield from islice(fitting, 1)
