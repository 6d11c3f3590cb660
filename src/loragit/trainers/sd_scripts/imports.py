"""The Python modules that sd-scripts imports because an argument names them: ``get_optimizer`` and
``get_scheduler_fix`` in ``library/train_util.py``, ``train`` in ``train_network.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from loragit.errors import Area, Finding
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
_OWN = ("networks", "lycoris")
"""Packages of the trainer itself, and one whose absence is told with its own hint."""
_DISTRIBUTIONS = {"lion_pytorch": "lion-pytorch"}
"""What installs a module, where it is called otherwise."""
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


def missing_findings(
    known: Arguments, missing: Iterable[str], folder: Path, packages: Iterable[str]
) -> Iterator[Finding]:
    """Yield what stops the trainer of the modules ``missing``, which its Python does not find.
    ``folder`` is that of its script."""
    complete = any(line.startswith("torch") for line in packages)
    for module in missing:
        top, _, rest = module.partition(".")
        if module != known.one("network_module"):
            # Without PyTorch it is no environment to train in, which is told elsewhere.
            if complete:
                yield _missing_package(known, module)
        elif rest and (folder / top).is_dir():
            names = sorted(path.stem for path in (folder / top).glob("*.py"))
            near = get_close_matches(rest, names, 1)
            hint = f"is {top}.{near[0]} meant?" if near else f"see what is in {folder / top}"
            problem = f"network_module is {module}: there is no such module in {folder / top}"
            yield Finding(problem, hint, Area.SETTINGS)
        elif top not in _OWN:
            yield Finding(
                f"network_module is {module}, which the trainer's Python does not find",
                "correct it, or install it in that environment",
                Area.SETTINGS,
            )


def _missing_package(known: Arguments, module: str) -> Finding:
    by = next(
        (
            f"{name} {known.one(name)}"
            for name in ("optimizer_type", "lr_scheduler_type")
            if known.one(name)
        ),
        module,
    )
    flag = next((name for name, package in _OF_FLAG.items() if package == module), None)
    if flag is not None and flag in known.options:
        by = f"--{flag}"
    package = _DISTRIBUTIONS.get(module, module.partition(".")[0])
    return Finding(
        f"{by} needs the module {module}, which the trainer's Python does not find",
        f"install it in that environment, as with: pip install {package}",
        Area.SETTINGS,
    )
