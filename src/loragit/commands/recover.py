"""``loragit recover``: finish the runs whose loragit is gone, and tell of what it left."""

from __future__ import annotations

from collections.abc import Mapping

from loragit import console, git, text
from loragit.errors import LoragitError, UsageError
from loragit.git import identity
from loragit.git.repository import Repository
from loragit.history.history import History, RecordedRun
from loragit.record.name import RUNS, RunName
from loragit.run.recovery import leftovers
from loragit.run.recovery.recover import RecoverOptions, Recovery
from loragit.settings import paths
from loragit.settings.values import Settings
from loragit.store import free_name, journal
from loragit.store.journal import JournalEntry


class RunsBroken(LoragitError):
    """The branch ``runs`` is there and cannot be read: how any run stands nobody can tell."""


def recover(chosen: Settings, options: RecoverOptions) -> int:
    """Do it for the repository of the dataset at hand. 1 where something is left that needs the
    user, else 0.

    Raises :class:`LoragitError` where that is in no repository, or a name is given that no open run
    has, and :class:`RunsBroken`.
    """
    if options.gone and not options.names:
        raise UsageError(
            "--gone is said of single runs", hint="name them: loragit recover --gone NAME"
        )
    repository = git.discover(chosen.dataset_dir)
    who = identity.IdentityQuestion(repository.top).answer()
    if emptied := leftovers.emptied_ref(repository, RUNS):
        raise RunsBroken(emptied.problem, hint=emptied.hint)
    if options.names:
        _check(repository, options)
    recovery = Recovery(repository, who, options, console)
    recovery.run()
    if not options.names:
        _lengthen(recovery)
    _unnoted(recovery, chosen)
    if not options.names:
        _name(recovery, chosen)
    if not (recovery.done or recovery.left):
        console.info("nothing to recover")
    return 1 if recovery.left else 0


def _check(repository: Repository, options: RecoverOptions) -> None:
    """Raises :class:`~loragit.history.NoSuchRun` for a name that neither a note nor the record
    has."""
    noted = {note.run for note in journal.read(repository.private)}
    known = History(repository)
    for name in options.names:
        if name not in noted:
            known.run(name)


def _lengthen(recovery: Recovery) -> None:
    """Have ``runs`` lead to runs whose tag stands and whose commit it lacks, where it only has to
    grow."""
    for name, commit in tuple(leftovers.loose_tags(recovery.repository, recovery.runs)):
        try:
            _follow(recovery, name, commit)
        except LoragitError as error:
            recovery.leave_to_user(error.message, error.hint)


def _follow(recovery: Recovery, name: str, commit: str) -> None:
    """Have ``runs`` lead to ``commit`` of the run ``name``, if it only has to grow."""
    repository = recovery.repository
    there = free_name.name_state(repository, RunName.parse(name))
    if leftovers.leads_to(repository, there.runs, commit):
        return  # by another tag's doing
    if there.blocked:
        recovery.leave_to_user(f"{name} is not on runs: {there.blocked}", there.unblock)
    elif not leftovers.continues(repository, there.runs, commit):
        recovery.leave_to_user(
            f"the tag {name} is on {commit[:8]}, which runs does not lead to",
            f"see what became of runs: git reflog show runs; keep the run: git branch {name}-kept "
            f"{commit[:8]}",
        )
    elif recovery.options.dry_run:
        console.info(f"runs would go on to {commit[:8]}, the commit of {name}")
    else:
        recovery.store.lengthen(commit, there.runs)
        recovery.report_done(f"runs goes on to {commit[:8]}, the commit of {name}")
        recovery.refresh()


def _unnoted(recovery: Recovery, chosen: Settings) -> None:
    options = recovery.options
    for run in leftovers.runs_without_entry(recovery.repository, recovery.runs):
        if not options.names or (run.name in options.names and not options.gone):
            recovery.leave_to_user(
                f"{run.name} is open on record, and nothing here says who runs it: it came from "
                "another machine, "
                "or its note is gone",
                f"if it runs nowhere any more: loragit recover --gone {run.name}",
            )
        elif run.name in options.names:
            recovery.finish_without_entry(_made_up_entry(run, chosen, options.environ))


def _made_up_entry(run: RecordedRun, chosen: Settings, environ: Mapping[str, str]) -> JournalEntry:
    """The journal entry that the run would have, as far as record and settings tell."""
    written = run.record.command_args.get("output_dir", ())  # none where the user's own script ran
    output = (
        paths.expand_path(written[-1], chosen.dataset_dir, environ)
        if written
        else chosen.paths.output / run.name
    )
    return JournalEntry(
        run.name, text.timestamp(run.opened), 0, "", "", journal.host(), str(output), run.commit
    )


def _name(recovery: Recovery, chosen: Settings) -> None:
    """Tell of what is left over and is not ours to mend."""
    repository, runs = recovery.repository, recovery.runs
    if not recovery.options.dry_run:
        leftovers.remove_half_written_entries(repository)
    found = [
        *leftovers.damaged_entries(repository),
        *leftovers.moves_of_other_hosts(repository),
        *leftovers.stale_tags(repository, runs),
    ]
    for each in (
        *found,
        *leftovers.unrecorded_folders(repository, chosen.paths.output, chosen.dataset, runs),
    ):
        recovery.leave_to_user(each.problem, each.hint)
