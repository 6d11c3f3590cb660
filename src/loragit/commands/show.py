"""``loragit show``: one run in full, or one file of its record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from loragit import console, git, text
from loragit.commands.log import heading
from loragit.errors import LoragitError
from loragit.history.as_json import listed_run, outcome_line, whole_run
from loragit.history.compare import cached
from loragit.history.history import History, RecordedRun
from loragit.history.record_parser import Record, RecordedOutcome, RecordedRepo
from loragit.record import attributes
from loragit.record.values import Weights
from loragit.trainers import kinds

_REST = "Other arguments"
_GROUPS = {
    "Network": "network_ conv_ lycoris base_weights pretrained_model vae ae weights "
    "clip_l clip_g t5xxl gemma2 byt5 qwen3 llm_adapter_path t5_tokenizer controlnet_model",
    "Learning rates": "learning_rate unet_lr text_encoder_lr lr_ loraplus optimizer "
    "scale_parameter",
    "Steps": "max_train_ train_batch_size gradient_ seed max_grad_norm initial_ resume",
    "Data": "dataset_ train_data in_json reg_data resolution enable_bucket bucket_ min_bucket "
    "max_bucket caption_ "
    "cache_ shuffle_ keep_tokens flip_aug color_aug random_crop",
    "Saving and samples": "save_ output_ logging_ log_ sample_ training_comment metadata_ wandb_",
}
"""Groups of arguments by the beginning of their names; the first group that fits counts."""

# fmt: off
_SHOWN_IN_WORDS = (
    "Run", "Dataset", "Dataset-Path", "Dataset-Commit", "Dataset-Dirty",
    "Config-SHA1", "Prompts-SHA1", "Script-SHA1",
    "Trainer-Commit", "Trainer-Branch", "Trainer-URL", "Trainer-Dirty",
    "LyCORIS", "LyCORIS-Version", "LyCORIS-Commit", "LyCORIS-URL", "LyCORIS-Dirty",
    "Resumed-From", "Derived-From", "Imported", "Repository", "Loragit-Format",
    *(role for each in kinds.all_trainers() for role in each.weights.values()),
)
# fmt: on
"""Trailers whose values are shown elsewhere."""
_AUTO_V2, _AUTO_V3 = 10, 12
"""Digits of the sha256 of file and payload that Civitai shows under these names."""
_CHART = 60


def show(folder: Path, wanted: str, home: str, *, as_json: bool = False) -> None:
    """Print the newest run that ``wanted`` names, or the file of its record after a colon, byte for
    byte.

    ``home`` is what ``~`` in a record stands for. Raises :class:`LoragitError`.
    """
    history = History.of(folder)
    name, colon, path = wanted.partition(":")
    run, *others = history.find(name)
    if colon:
        console.raw(run.read(path))
    elif as_json:
        import json

        console.write(json.dumps(_document(history, run, others), indent=2) + "\n")
    else:
        lines = list(_lines(history, run, others, home))
        console.start_pager(git.pager())
        for line in lines:
            console.out(line)
        if console.width() is None:  # it would be written into a pager's text
            console.info(f"a file of it: loragit show {wanted}:run.toml")


def _document(
    history: History, run: RecordedRun, others: Sequence[RecordedRun]
) -> dict[str, object]:
    bases = history.bases()
    counts = cached.outcome_counts([run]).get(run.commit)
    changed = cached.changes_in_brief([run], bases).get(run.commit)
    return whole_run(run, listed_run(run, counts, bases.get(run.commit), changed), others)


def _lines(
    history: History, run: RecordedRun, others: Sequence[RecordedRun], home: str
) -> Iterator[str]:
    yield heading(run)
    yield from (line for line in (run.subject, outcome_line(run)) if line)
    if run.imported:
        yield f"imported: {run.trailer('Imported')}"
    try:
        record = run.record
    except LoragitError as error:
        console.warn(error.message)
        yield from _block(
            "Trailers",
            [f"{key}: {value}" for key, values in run.trailers.items() for value in values],
        )
    else:
        yield from _record_blocks(run, record)
    outcome = run.outcome
    if outcome is not None:
        yield from _block("Came out", _outcome_lines(outcome))
        yield from _block("Loss", _loss_lines(run, outcome, home))
    if run.revert is not None:
        yield from _block(
            "Why it was taken back",
            [run.revert.reason, *(f"  {line}" for line in run.revert.log_tail)],
        )
    yield from _block("Notes", run.notes)
    yield from _block("Lineage", _lineage_lines(history, run))
    yield from _block("Changed", _changed_lines(history, run))
    yield from _block("Also on record", _other_trailers(run))
    yield from _block("Files", _file_lines(run))
    yield from _block(
        "Other runs of that name",
        [f"{each.commit[:8]}  {each.minute}  {each.state}" for each in others],
    )


def _block(title: str, lines: Sequence[str]) -> Iterator[str]:
    """Yield a paragraph with a heading; nothing without lines."""
    if lines:
        yield ""
        yield title
        yield from (f"  {line}".rstrip() for line in lines)


def _record_blocks(run: RecordedRun, record: Record) -> Iterator[str]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, value in _argument_values(record):
        groups.setdefault(_group_of(name), []).append((name, value))
    for title in (*_GROUPS, _REST):
        yield from _block(title, _aligned(groups.get(title, ())))
    codes = [
        code for code in (record.trainer, record.lycoris, *record.repositories) if code is not None
    ]
    yield from _block(
        "Repositories", [_repo_line(code) for code in codes if code.commit or code.version]
    )
    yield from _block("Weights", [_weights_line(each) for each in record.weights])
    yield from _block("Dataset", [_dataset_line(run, record)])
    yield from _block("Environment", _environment_lines(run))
    yield from _block("Command", _command_lines(record.argv, record.workdir))


def _argument_values(record: Record) -> list[tuple[str, str]]:
    """Return each argument with its value in words, those that people look for first at the top."""
    telling = kinds.trainer_of(record.trainer_kind).telling
    rank = {name: number for number, name in enumerate(telling)}
    found = {
        **{name: f"{_in_words(values)} (default)" for name, values in record.defaults.items()},
        **{name: _in_words(values) for name, values in record.args.items()},
    }
    return sorted(found.items(), key=lambda pair: rank.get(pair[0], len(rank)))


def _in_words(values: Sequence[str]) -> str:
    return _quote_words(values) if values else "yes"


def _group_of(name: str) -> str:
    return next(
        (title for title, starts in _GROUPS.items() if name.startswith(tuple(starts.split(" ")))),
        _REST,
    )


def _quote_words(words: Sequence[str]) -> str:
    import shlex

    return " ".join(shlex.quote(word) for word in words) if len(words) > 1 else words[0]


def _aligned(pairs: Sequence[tuple[str, str]]) -> list[str]:
    width = max((text.width(name) for name, _ in pairs), default=0)
    return [f"{name.ljust(width)}  {value}" for name, value in pairs]


def _repo_line(code: RecordedRepo) -> str:
    what = code.commit or f"release {code.version}"
    where = f" ({code.branch})" if code.branch else ""
    dirty = f"; not committed: {text.listed(code.dirty, 5)}" if code.dirty else ""
    return f"{code.label} {what}{where}" + (f" of {code.url}" if code.url else "") + dirty


def _weights_line(weights: Weights) -> str:
    known = ""
    if weights.sha256:
        known = f"  sha256 {weights.sha256}  AutoV2 {weights.sha256[:_AUTO_V2].upper()}"
    elif weights.files_sha256:
        known = f"  sha256 of its files {weights.files_sha256}"
    elif weights.revision:
        known = f"  revision {weights.revision}"
    return f"{weights.role}: {weights.name}{known}"


def _dataset_line(run: RecordedRun, record: Record) -> str:
    place = f" in {run.path}/" if run.path else ""
    if record.images is None or record.captions is None:
        return f"{record.dataset}{place}: its images, captions and commit are not on record"
    counts = f"{text.count(record.images, 'image')}, {text.count(record.captions, 'caption')}"
    commit = (
        f"at commit {record.dataset_commit[:8]}" if record.dataset_commit else "not committed yet"
    )
    dirty = (
        f", {text.count(record.dataset_dirty, 'file')} not committed"
        if record.dataset_dirty
        else ""
    )
    return f"{record.dataset}{place}: {counts}, {commit}{dirty}"


def _environment_lines(run: RecordedRun) -> list[str]:
    try:
        around = run.environment
    except LoragitError:
        return []
    about = [f"{key} {value}" for key, values in around.about.items() for value in values]
    known = (
        "torch",
        "torchvision",
        "xformers",
        "accelerate",
        "diffusers",
        "transformers",
        "lycoris_lora",
        "lycoris-lora",
    )
    named = [f"{name} {around.packages[name]}" for name in known if name in around.packages]
    cuda = around.packages.get("torch", "").partition("+cu")[2]
    if cuda.isdigit():
        named.append(f"CUDA {cuda[:-1]}.{cuda[-1]}")
    return [
        *about,
        *([", ".join(named)] if named else []),
        text.count(len(around.packages), "package"),
    ]


def _command_lines(argv: Sequence[str], workdir: str | None) -> list[str]:
    """Return the command as a shell takes it, an option on each line."""
    import shlex

    lines: list[list[str]] = [[]]
    for word in argv:
        if word.startswith("--"):
            lines.append([])
        lines[-1].append(_for_a_shell(word, shlex.quote(word)))
    joined = [" ".join(line) for line in lines if line]
    wrapped = [f"{'  ' if number else ''}{line}" for number, line in enumerate(joined)]
    command = [f"{line} \\" for line in wrapped[:-1]] + wrapped[-1:]
    return (
        [f"cd {_for_a_shell(workdir, shlex.quote(workdir))}"] if workdir and command else []
    ) + command


def _for_a_shell(word: str, quoted: str) -> str:
    """Return ``quoted``, but with ``~/`` at the beginning unquoted: it is the home folder in a
    record as in a shell."""
    import shlex

    return f"~/{shlex.quote(word[2:])}" if word.startswith("~/") and len(word) > 2 else quoted


def _outcome_lines(outcome: RecordedOutcome) -> list[str]:
    lines = []
    for model in outcome.models:
        when = [
            f"{noun} {number}"
            for noun, number in (("step", model.step), ("epoch", model.epoch))
            if number is not None
        ]
        lines.append(f"{model.path}  {', '.join([size(model.size), *when])}")
        lines.append(f"  sha256   {model.sha256}  AutoV2 {model.sha256[:_AUTO_V2].upper()}")
        if model.payload_sha256:
            lines.append(
                f"  payload  {model.payload_sha256}  AutoV3 "
                f"{model.payload_sha256[:_AUTO_V3].upper()}"
            )
    lines += [f"{path}  cut short" for path in outcome.truncated]
    lines += [f"{path}  could not be read" for path in outcome.unreadable]
    lines += [f"{path}/  training state" for path in outcome.states]
    for weights in outcome.state_weights:
        lines.append(f"{weights.path}  {size(weights.size)}")
        lines.append(f"  sha256   {weights.sha256}")
    lines.append(text.count(outcome.samples, "sample image"))
    lines += [text.count(outcome.other_files, "other file")] if outcome.other_files else []
    lines += [f"in {outcome.output}"] if outcome.output else []
    status = "" if outcome.exit_status is None else f"exit status {outcome.exit_status}"
    signal = f"interrupted by {outcome.interrupted_by}" if outcome.interrupted_by else ""
    signal += f", finished later, {text.timestamp(outcome.recovered)}" if outcome.recovered else ""
    times = [
        f"{word} {text.timestamp(at)}"
        for word, at in (("from", outcome.started), ("to", outcome.finished))
        if at
    ]
    return [*lines, ", ".join(part for part in (status, signal, " ".join(times)) if part)]


def size(number: int) -> str:
    """``1023 bytes``, ``101 KiB``, ``217 MiB``, ``6.5 GiB``."""
    if number < 1024:
        return text.count(number, "byte")
    value, unit = float(number), "bytes"
    for unit in ("KiB", "MiB", "GiB", "TiB"):  # noqa: B007
        value /= 1024
        if value < 1000:
            break
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def _loss_lines(run: RecordedRun, outcome: RecordedOutcome, home: str) -> list[str]:
    from loragit.history import losses

    final = [] if outcome.final_loss is None else [f"in the end {outcome.final_loss:.6g}"]
    found = losses.read_curve(run, home)
    drawn = losses.chart(found, _CHART, plain=console.plain()) if found else ""
    if found is None or not drawn:
        return final
    span = (
        f"{found.values[0]:.4g} at step {found.steps[0]}, {found.values[-1]:.4g} at step "
        f"{found.steps[-1]}"
    )
    return [drawn, span, *final]


def _lineage_lines(history: History, run: RecordedRun) -> list[str]:
    from loragit.history.lineage import parents

    lineage = [f"resumed from {value}" for value in run.resumed_from]
    lineage += [f"started from the weights of {value}" for value in run.derived_from]
    above = parents(history.runs)
    below = [
        each
        for each in history.runs
        if each.commit in above and above[each.commit][0].commit == run.commit
    ]
    return lineage + [f"{each.name} went on from it ({above[each.commit][1]})" for each in below]


def _changed_lines(history: History, run: RecordedRun) -> list[str]:
    base = history.previous(run)
    if base is None:
        return []
    try:
        phrases = history.compare(base, run).phrases()
    except LoragitError:
        return []
    return [f"since {base.name}:", *(f"  {phrase}" for phrase in phrases or ("nothing",))]


def _other_trailers(run: RecordedRun) -> list[str]:
    """Return trailers that are shown nowhere else: those of imported runs, and of later formats."""
    return [
        f"{key}: {value}"
        for key, values in run.trailers.items()
        if key not in _SHOWN_IN_WORDS
        for value in values
    ]


def _file_lines(run: RecordedRun) -> list[str]:
    files = run.files
    captions = sum(path.startswith("captions/") for path in files)
    others = [p for p in files if p != attributes.NAME and not p.startswith("captions/")]
    return others + ([f"captions/ ({captions})"] if captions else [])
