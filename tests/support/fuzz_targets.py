"""Every parser of bytes that come from outside, each as a function of bytes that holds it to its
contract.

A target raises only where loragit breaks its word: an exception that is not documented, or an
outcome that a terminal would obey. :mod:`tests.hostile.test_fuzz` feeds them from hypothesis,
``fuzz/fuzz.py`` from atheris.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from loragit import parse, text
from loragit.commands.init import image_folders
from loragit.dataset import inputs, lfs
from loragit.dataset.digests import digest_lines, parse_digest_lines
from loragit.errors import LoragitError
from loragit.git import catfile, command, identity
from loragit.git.checkout import patches
from loragit.history import branch, lineage, plain_toml, record_parser, record_reader
from loragit.history.compare import captions, changes, details, lines
from loragit.history.query import where
from loragit.record import name as names
from loragit.record import notes, run_toml, trailers
from loragit.record.message import model_line, parse_model_line
from loragit.run.importing import headers, zsh_helpers
from loragit.secrets import redact, tables
from loragit.secrets.files import secrets_in
from loragit.settings import toml_text
from loragit.settings.document import read_settings_file
from loragit.store import journal, products
from loragit.system.logfold import Folder
from loragit.trainers import losses, safetensors, tensorboard
from loragit.trainers import products as products_of_trainers
from loragit.trainers.arguments import Arguments
from loragit.trainers.kinds import training_header
from loragit.trainers.sd_scripts.datasets import metadata, reading
from loragit.trainers.sd_scripts.trainer import SdScripts
from loragit.trainers.trainer import DatasetPlace

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"

Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {}
OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What no line may hold that goes to a terminal."""


def target(function: Target) -> Target:
    TARGETS[function.__name__] = function
    return function


def decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def check_shown(*lines: str | None) -> None:
    for line in lines:
        assert not OBEYED.search(text.shown(line or "")), ascii(line)


@contextmanager
def refusals() -> Iterator[None]:
    """A refusal is an answer, if a terminal can show it."""
    try:
        yield
    except LoragitError as error:
        for finding in error.findings:
            check_shown(finding.problem, finding.hint)
        check_shown(error.message, error.hint)


_FOLDER = tempfile.TemporaryDirectory(prefix="loragit-fuzz-")
"""One for all: to make one for each input would take longer than all the rest."""


@contextmanager
def a_file(data: bytes, name: str) -> Iterator[Path]:
    path = Path(_FOLDER.name, name)
    path.write_bytes(data)
    yield path


@target
def name(data: bytes) -> None:
    with refusals():
        run = names.RunName.parse(decoded(data))
        assert not OBEYED.search(run.text)
        assert "/" not in run.text
        run.dataset_candidates()
        run.bumped(frozenset({run.text}))


@target
def settings(data: bytes) -> None:
    with refusals(), a_file(data, "loragit.toml") as path:
        document = read_settings_file(path)
        for key, value in document.values.items():
            assert not OBEYED.search(toml_text.toml_literal(value)), key
            tomllib.loads(f"value = {toml_text.toml_literal(value)}")


@target
def message(data: bytes) -> None:
    """Of a commit or a tag."""
    said = data.decode("utf-8", "replace")
    trailers.parse(said)
    found = record_parser.parse_trailers(said)
    for key in (*found, "Run"):
        trailers.first(said, key)
    result = record_parser.parse_outcome(said, "x")
    check_shown(result.subject, result.output, *(model.path for model in result.models))
    for model in result.models:
        assert parse_model_line(model_line(model)) == model
    revert = record_parser.parse_revert("a" * 40, said)
    check_shown(revert.reason, *revert.log_tail)
    row = branch._row_of_commit("a" * 40, said.partition("\n")[2], said)
    assert not row or len(row.split("\x1f", 8)) == 9
    branch._parse_date(said)
    with suppress(ValueError):
        again = trailers.append("subject", [("Key", said)])
        assert again.count("\n") == 3


@target
def record(data: bytes) -> None:
    """``run.toml``."""
    with refusals():
        found = record_parser.parse_record(data, "x")
        dict(where._values_of_record(found))
        nothing = record_parser.parse_environment(b"")
        side, other = (changes.Side(each, {}, {}, nothing) for each in (found, _EMPTY))
        for phrase in (
            *changes.compare_sides(side, other).phrases(),
            *changes.compare_sides(other, side).phrases(),
        ):
            check_shown(phrase)
        assert not changes.compare_sides(side, side).changes


_EMPTY = record_parser.parse_record(b"", "x")


@target
def environment(data: bytes) -> None:
    found = record_parser.parse_environment(data)
    for name, version in found.packages.items():
        check_shown(f"{name} {version}")


@target
def toml(data: bytes) -> None:
    """The quick reader against the library."""
    with suppress(UnicodeDecodeError):
        source = data.decode()
        assert _or_refused(plain_toml.parse_document, source) == _or_refused(
            parse.read_toml, source
        )
        with suppress(ValueError):
            parse.read_json(data)


def _or_refused(read: Callable[[str], object], source: str) -> object:
    try:
        return repr(read(source))  # not a number equals nothing
    except ValueError:
        return None


@target
def documents(data: bytes) -> None:
    """Two files of records, compared."""
    one, _, other = data.decode("utf-8", "backslashreplace").partition("\x00")
    for path in ("config.toml", "config.json", "a.txt"):
        values = details._value_changes(
            details._parse_document(path, one), details._parse_document(path, other)
        )
        back = details._value_changes(
            details._parse_document(path, other), details._parse_document(path, one)
        )
        assert (values is None) == (back is None)
        for change in values or ():
            check_shown(change.key, change.before, change.after)
    for line in lines.compare_lines(one, other):
        check_shown(line.text)
    caption = captions.caption_change("a", one, other)
    captions.tag_totals([caption])
    for word in lineage._WORD.findall(one):
        check_shown(word)
    with refusals():
        inputs.parse_input(Path("config.toml"), data, "config")
    with refusals():
        inputs.parse_input(Path("config.json"), data, "config")
    with refusals(), a_file(data, "config.toml") as file:
        config = reading.read_config(file)
        place = DatasetPlace(file.parent, file.parent, None, lambda module: False)
        reading.used_files(config, Arguments({}), place)
    for name in ("m.json", "m.jsonl"):
        with refusals():
            metadata.parse_metadata(Path(name), data)


@target
def digests(data: bytes) -> None:
    """``dataset.sha256``."""
    with refusals():
        files = parse_digest_lines(data)
        assert set(parse_digest_lines(digest_lines(files))) == set(files)
        check_shown(*(file.path for file in files))


@target
def note(data: bytes) -> None:
    lines = notes.stamp_lines(decoded(data).splitlines(), datetime(2026, 11, 24, tzinfo=UTC))
    check_shown(*lines)
    after = notes.append_lines(data, lines)
    assert after.startswith(data)
    assert after.endswith("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))


@target
def old_run(data: bytes) -> None:
    """``repos.git``, and a script of the helpers."""
    found = zsh_helpers.parse_repos_git(data)
    zsh_helpers.sorted_codes(found.repositories)
    for folder in zsh_helpers.dataset_folders(found, data, "/home/ada"):
        assert folder.is_absolute()
        check_shown(str(folder))


@target
def header(data: bytes) -> None:
    """A safetensors file."""
    for whole in (data, len(data).to_bytes(8, "little") + data + b"tensors"):
        with refusals(), a_file(whole, "a.safetensors") as path:
            safetensors.hash_file(path)
            _metadata(safetensors.read_header(path).metadata)
    # Most of what is made up is no header: what could be in one is tried without it.
    key, _, value = data.decode("utf-8", "replace").partition("\n")
    _metadata(
        {key: value, "ss_tag_frequency": value, "modelspec.date": key, "ss_training_comment": key}
    )


def _metadata(told: dict[str, str] | object) -> None:
    assert hasattr(told, "items")
    values = dict(told.items())
    found = training_header(values)
    assert found.started is None or found.started.tzinfo
    check_shown(found.network, found.output_name, *(weights.name for weights in found.weights))
    kept = headers.metadata_toml(values, "a.safetensors")
    if kept is not None:
        source = kept.entry.data.decode()
        tomllib.loads(source)
        assert not OBEYED.search(source.replace("\n", "").replace("\t", ""))
    for run, commit in products.stamps(values.get("ss_training_comment", "")):
        check_shown(f"{run} {commit}")


@target
def event_file(data: bytes) -> None:
    """TensorBoard's."""
    with a_file(data, "events.out.tfevents.1") as path:
        for scalar in tensorboard.scalars(path):
            check_shown(scalar.tag)
        losses.final_loss([path], SdScripts.losses)
    with suppress(tensorboard._Corrupt):
        tensorboard._event(data, None)


@target
def terminal(data: bytes) -> None:
    """What a trainer prints: the same lines, however it comes; and nothing in them to obey."""
    whole, pieces = Folder(), Folder()
    told = [*whole.feed(data), *whole.close()]
    size = len(data) % 7 + 1
    cut = [
        line for at in range(0, len(data), size) for line in pieces.feed(data[at : at + size])
    ] + pieces.close()
    assert told == cut
    for line in told:
        assert not OBEYED.search(line), ascii(line)


@target
def pointer(data: bytes) -> None:
    """Of git-lfs."""
    lfs.parse_pointer(data)
    lfs.parse_pointer(lfs.VERSION_LINE + b"\n" + data)


@target
def git_rows(data: bytes) -> None:
    """What git prints, cut anywhere."""
    for row in catfile._split(io.BytesIO(data), 64):
        assert len(row) <= 64
    with refusals():
        catfile._answer(io.BytesIO(data), b"x\n", 1 << 10)
    with refusals():
        dict(record_reader._parse_tree(data, 20))
    with refusals():
        identity._identity(command.Reply(0, data, b""))
    check_shown(command.last_words(command.Reply(1, b"", data)))


@target
def hook(data: bytes) -> None:
    """What is staged."""
    for found in secrets_in(data, ("s3cret-value",)):
        check_shown(found.kind)
    redact.redact_all(data)
    masked = tables.redact_table(data)
    assert masked == data or b"***" in masked
    redact.Redactor(["s3cret-value"])(decoded(data))


@target
def open_run(data: bytes) -> None:
    """A note of a run in progress."""
    (Path(_FOLDER.name) / "open").mkdir(exist_ok=True)
    with a_file(data, "open/x.1.toml"):
        for found in journal.read(Path(_FOLDER.name)):
            check_shown(found.run, found.output)


@target
def one_line(data: bytes) -> None:
    """Any text on its way to a terminal."""
    said = decoded(data)
    told = text.shown(said)
    assert not OBEYED.search(told)
    assert text.shown(told) == told
    text.home_as_tilde(said, "/home/ada")
    assert not OBEYED.search(
        run_toml.to_toml({"a": run_toml.encodable(said)})
        .decode()
        .replace("\n", "")
        .replace("\t", "")
    )
    text.without_credentials(said)


@target
def file_name(data: bytes) -> None:
    """Of what lies in an output folder or a dataset."""
    said = decoded(data)
    from loragit.run.importing.training import _output_name

    naming = SdScripts.naming
    for sort in (naming.model, naming.state, naming.sample):
        products_of_trainers.match_product(sort, said, said[:4])
        products_of_trainers.match_product(sort, said, None)
    _output_name(said, None)
    image_folders._REPEATED.fullmatch(said)
    patches._HUNK.match(data)
