"""How long loragit takes, next to what the same machine takes for less: ``bench.py [NAME...]``.

Every benchmark alternates two commands, A B A B, in a scratch home, and judges the difference or
the ratio of the two, so that a slow or busy machine shifts both. docs/benchmarks.md says what each
means.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from measures import BENCHMARKS, DIFFERENCE, FULL, QUICK, RATIO, SPEED, Result, measure
from workshop import LORAGIT, ChildFailed

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- results: written by bench.py --markdown -->", "<!-- end of results -->"


def main() -> int:
    """Exit status 0, also over budget; 1 with ``--check`` over budget, or where a command
    failed."""
    options = _options()
    if not LORAGIT.is_file():
        print(
            f"error: {LORAGIT} is not there; run this with the Python that loragit is installed "
            "for",
            file=sys.stderr,
        )
        return 1
    about = machine()
    if options.quick:
        about["Measured"] = "quick: fewer and smaller than the budgets are meant for"
    print("\n".join(f"{key}: {value}" for key, value in about.items()) + "\n", flush=True)
    results = []
    with tempfile.TemporaryDirectory(prefix="loragit-bench-", ignore_cleanup_errors=True) as folder:
        try:
            for result in measure(
                options.names or list(BENCHMARKS), Path(folder), QUICK if options.quick else FULL
            ):
                results.append(result)
                print("\n".join(lines(result)) + "\n", flush=True)
        except ChildFailed as failure:
            print(f"error: {failure}", file=sys.stderr)
            return 1
    if options.json:
        options.json.write_text(json.dumps(_document(about, results), indent=2) + "\n")
    if options.markdown:
        fill(DOCUMENT, markdown(about, results))
    over = [result.name for result in results if result.within is False]
    print(f"over budget: {', '.join(over)}" if over else "all within their budgets")
    return 1 if over and options.check else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure loragit against its budgets.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default, all"
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer pairs, smaller data: does everything work?"
    )
    parser.add_argument(
        "--check", action="store_true", help="exit 1 where a figure is over its budget"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measured value")
    parser.add_argument(
        "--markdown", action="store_true", help="replace the table in docs/benchmarks.md"
    )
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    return options


def machine() -> dict[str, str]:
    """What the figures hang on. Nothing that names a person or a place."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    load = os.getloadavg()[0]
    busy = " (busy: the figures are noisy)" if load > cores / 2 else ""
    return {
        "Processor": f"{_processor()}, {cores} {'core' if cores == 1 else 'cores'}",
        "System": f"{platform.system()} {platform.release().split('-')[0]}",
        "Python": platform.python_version(),
        "git": _said("git", "--version").removeprefix("git version "),
        "loragit": _said(str(LORAGIT), "--version").removeprefix("loragit "),
        "Load before": f"{load:.2f}{busy}",
    }


def _processor() -> str:
    try:
        rows = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    found = (row.partition(":")[2].strip() for row in rows if row.startswith("model name"))
    return next(found, platform.machine())


def _said(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def amount(value: float, unit: str) -> str:
    """``0.123 s``, ``47 MiB``."""
    return f"{value:.0f} {unit}" if unit == "MiB" else f"{value:.3f} {unit}"


def spread(values: Sequence[float], unit: str) -> str:
    """``0.123 s (0.120 to 0.150)``: median, least and most."""
    least, most = (
        amount(value, unit).removesuffix(f" {unit}") for value in (min(values), max(values))
    )
    return f"{amount(median(values), unit)} ({least} to {most})"


def figure(result: Result, value: float) -> str:
    """``value`` as this result's figure reads: ``+0.123 s``, ``1.02 x``, ``84 %``."""
    if result.reading == DIFFERENCE:
        return f"{value:+.3f} {result.unit}"
    if result.reading == RATIO:
        return f"{value:.2f} x"
    if result.reading == SPEED:
        return f"{value:.0%}".replace("%", " %")
    return amount(value, result.unit)


def budget(result: Result) -> str:
    if result.budget is None:
        return "none"
    return f"at {'least' if result.reading == SPEED else 'most'} {figure(result, result.budget)}"


def verdict(result: Result) -> str:
    return {None: "no budget", True: "within budget", False: "OVER BUDGET"}[result.within]


def lines(result: Result) -> list[str]:
    """A result for the terminal; the times are medians with least and most."""
    width = max(len(result.base), len(result.ours))
    return [
        f"{result.name}: {result.what}",
        f"  {result.base:<{width}}  {spread(result.base_values, result.unit)}",
        (
            f"  {result.ours:<{width}}  {spread(result.values, result.unit)}, {len(result.values)} "
            f"pairs"
        ),
        f"  {figure(result, result.figure)}; budget {budget(result)}: {verdict(result)}",
    ]


def markdown(about: dict[str, str], results: Sequence[Result]) -> str:
    """The machine and the results, as docs/benchmarks.md holds them."""
    rows = ["| " + " | ".join(about) + " |", "| " + " | ".join("---" for _ in about) + " |"]
    rows += ["| " + " | ".join(about.values()) + " |", ""]
    rows += [
        "| what | compared with | that | loragit | figure | budget |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        base, ours = spread(result.base_values, result.unit), spread(result.values, result.unit)
        bold = "" if result.within is not False else "**"
        cells = (
            result.what,
            result.base,
            base,
            ours,
            f"{bold}{figure(result, result.figure)}{bold}",
            budget(result),
        )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def fill(file: Path, table: str, begin: str = BEGIN, end: str = END) -> None:
    """Put ``table`` between two markers of ``file``, or at its end where it has none."""
    text = file.read_text() if file.exists() else ""
    before, begun, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        before, after = text, "\n"
    file.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}")


def _document(about: dict[str, str], results: Sequence[Result]) -> dict[str, object]:
    found = [
        {**asdict(result), "figure": result.figure, "within": result.within} for result in results
    ]
    return {"machine": about, "results": found}


if __name__ == "__main__":
    sys.exit(main())
