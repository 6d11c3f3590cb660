"""Feeds one parser of outside bytes with what atheris makes up: ``python fuzz/fuzz.py TARGET
[libFuzzer's options]``.

``fuzz/README.md`` tells how to set it up.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

with atheris.instrument_imports(include=["loragit", "dulwich", "tomllib", "json"]):
    from tests.hostile.test_fuzz import WORDS
    from tests.support.fuzz_targets import TARGETS


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"usage: python fuzz/fuzz.py TARGET [OPTIONS]\ntargets: {' '.join(TARGETS)}")
    corpus = ROOT / "fuzz" / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, word in enumerate(WORDS[name]):
        (corpus / f"word-{number}").write_bytes(word)
    (corpus / "words").write_bytes(b"".join(WORDS[name]))
    known = ROOT / "tests" / "fixtures" / "fuzz" / name
    folders = [str(corpus), *([str(known)] if known.is_dir() else [])]
    atheris.Setup(
        [sys.argv[0], *folders, f"-artifact_prefix={corpus}/", *sys.argv[2:]], TARGETS[name]
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
