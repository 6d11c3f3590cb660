"""Which runs are selected, in what order: on made-up runs, without a command."""

from __future__ import annotations

from pathlib import Path

import pytest

from loragit import History, RecordedRun
from loragit.history.query.find import RunFinder
from loragit.history.query.selection import BadFilter, Selection, parse_date, parse_states
from loragit.history.query.where import BadCondition, Condition, recorded_values
from loragit.history.runs import NoSuchRun, SeveralRuns
from loragit.settings.paths import DatasetNotFound
from tests.support.made_up_runs import a_run, an_outcome, open_store, reverted, sealed, untagged
from tests.support.processes import git

ONE, TWO, THREE, OTHER = "noob-gren-v1s4", "noob-gren-v2s4", "noob-gren-v3s4", "pony-gren-v1s8"


@pytest.fixture
def runs(dataset: Path) -> tuple[RecordedRun, ...]:
    """Newest first: one without a tag, two sealed, one that was reverted."""
    store = open_store(dataset)
    reverted(store, ONE, "Error: out of memory")
    sealed(store, TWO, argv=("python", "sdxl_train_network.py", "--seed", "7"))
    run = store.open(a_run(name=THREE, argv=("python", "sdxl_train_network.py", "--seed", "10")))
    store.seal(run, an_outcome(final_loss=0.25))
    untagged(store, OTHER)
    store.note(git(dataset, "rev-parse", "runs"), ("2026-11-24T08:00:00Z Too Dark",))
    return History.of(dataset).runs


@pytest.mark.parametrize(
    ("selection", "names"),
    [
        (Selection(), [OTHER, THREE, TWO, ONE]),
        (Selection(limit=2), [OTHER, THREE]),
        (Selection(limit=2, reverse=True), [ONE, TWO]),
        (Selection(sort="opened", reverse=True), [ONE, TWO, THREE, OTHER]),
        (Selection(names=("gren-v1",)), [OTHER, ONE]),
        (Selection(names=("noob-*-v[12]s4", "pony")), [OTHER, TWO, ONE]),
        (Selection(names=("gren-v?s4",)), []),
        (Selection(path=""), [OTHER, THREE, TWO, ONE]),
        (Selection(path="elsewhere"), []),
        (Selection(models=("pony",)), [OTHER]),
        (Selection(versions=(1, 3)), [OTHER, THREE, ONE]),
        (Selection(models=("noob",), versions=(1,)), [ONE]),
        (Selection(states=("sealed",)), [THREE, TWO]),
        (Selection(states=("reverted", "untagged")), [OTHER, ONE]),
        (Selection(grep="too dark"), [OTHER]),
        (Selection(grep="OUT OF MEMORY"), [ONE]),
        (Selection(grep="final-loss: 0.25"), [THREE]),
        (Selection(conditions=(Condition.parse("args.seed>7"),)), [THREE]),
        (Selection(conditions=(Condition.parse("args.seed!=7"),)), [OTHER, THREE, ONE]),
        (Selection(conditions=(Condition.parse("outcome.models=0"),)), [ONE]),
        (Selection(conditions=(Condition.parse("outcome.models=1"),)), [THREE, TWO]),
        (
            Selection(conditions=(Condition.parse("state=sealed"), Condition.parse("args.seed=7"))),
            [TWO],
        ),
        (Selection(sort="args.seed"), [TWO, THREE, OTHER, ONE]),
        (Selection(sort="name"), [ONE, TWO, THREE, OTHER]),
        (Selection(sort="outcome.final_loss"), [THREE, OTHER, TWO, ONE]),
    ],
    ids=str,
)
def test_what_is_selected(
    runs: tuple[RecordedRun, ...], selection: Selection, names: list[str]
) -> None:
    assert [run.name for run in selection.select(runs)] == names


def test_runs_are_selected_by_the_second(runs: tuple[RecordedRun, ...]) -> None:
    moved = [run._replace(time=100 * number) for number, run in enumerate(reversed(runs))][::-1]
    assert [run.time for run in Selection(since=100).select(moved)] == [300, 200, 100]
    assert [run.time for run in Selection(since=101, until=200).select(moved)] == [200]
    assert [run.time for run in Selection(until=0).select(moved)] == [0]


def test_a_run_without_a_conventional_name_has_no_model(runs: tuple[RecordedRun, ...]) -> None:
    assert Selection(models=("noob",)).select([runs[0]._replace(name="any")]) == []


def test_a_key_that_no_run_has_is_an_error_that_names_one_like_it(
    runs: tuple[RecordedRun, ...],
) -> None:
    wanted = Selection(conditions=(Condition.parse("args.sed=7"),))
    with pytest.raises(BadCondition, match=r"no run has a value args\.sed") as failure:
        wanted.select(runs)
    assert failure.value.hint
    assert failure.value.hint.startswith("did you mean args.seed? there are: args.seed, ")
    assert wanted.select([]) == []
    with pytest.raises(BadCondition, match="no run has a value url") as failure:
        Selection(sort="url").select(runs)
    assert "did you mean trainer.url? " in str(failure.value.hint)
    assert Selection(sort="url").select([]) == []


def test_everything_that_is_recorded_is_a_value(runs: tuple[RecordedRun, ...]) -> None:
    values = recorded_values(runs[1])
    assert values["name"] == (THREE,)
    assert values["commit"] == (runs[1].commit,)
    assert values["state"] == ("sealed",)
    assert values["imported"] == (False,)
    assert values["outcome.samples"] == (2,)
    assert values["outcome.exit_status"] == (0,)
    assert values["outcome.final_loss"] == (0.25,)
    assert values["trainer.commit"] == ("a" * 40,)
    assert not [key for key in values if key.startswith(("command", "files"))]
    nothing = recorded_values(runs[3])
    assert nothing["outcome.exit_status"] == (1,)
    assert nothing["outcome.models"] == nothing["outcome.samples"] == (0,)
    assert "outcome.models" not in recorded_values(runs[0])


def test_states_are_read_with_commas_and_without() -> None:
    assert parse_states(["sealed,reverted", "", "running"]) == ("sealed", "reverted", "running")
    with pytest.raises(BadFilter, match="there is no state seald"):
        parse_states(["seald"])


def test_a_day_is_its_first_second_or_its_last(dataset: Path) -> None:
    begin, end = (parse_date(" 2026-11-23 ", dataset, end=end) for end in (False, True))
    assert end - begin == 86399
    assert parse_date("now", dataset) > parse_date("2 weeks ago", dataset) + 1_000_000
    for nonsense in ("gibberish", "2026-02-30"):
        with pytest.raises(BadFilter, match="is no date"):
            parse_date(nonsense, dataset)


# ---- by name, in this dataset or another ----


@pytest.fixture
def datasets(tmp_path: Path) -> Path:
    """A folder of the datasets ``gren`` and ``moss``."""
    for name, several in (("gren", (ONE, TWO)), ("moss", (ONE, "noob-moss-v1s4"))):
        folder = tmp_path / "datasets" / name
        folder.mkdir(parents=True)
        git(folder, "init", "-q")
        store = open_store(folder)
        for run in several:
            sealed(store, run, dataset=name)
    return tmp_path / "datasets"


def test_a_run_is_looked_for_here_first_then_elsewhere(datasets: Path, tmp_path: Path) -> None:
    def found(text: str, here: str = "gren") -> str:
        history, run = RunFinder(datasets / here, datasets, tmp_path).find(text)
        return f"{history.repository.top.name} {run.name}"

    assert found(ONE) == f"gren {ONE}"
    assert found(ONE, "moss") == f"moss {ONE}"
    assert found(TWO, "moss") == f"gren {TWO}"
    assert found("noob-moss") == "moss noob-moss-v1s4"
    assert found(f"moss:{ONE}") == f"moss {ONE}"
    assert found(f"datasets/moss:{ONE}") == f"moss {ONE}"
    assert found(TWO, "nowhere") == f"gren {TWO}"
    with pytest.raises(NoSuchRun, match="there is no run other"):
        found("other")
    with pytest.raises(SeveralRuns, match="noob means several runs"):
        found("noob")
    with pytest.raises(SeveralRuns, match=r"means runs of several datasets: .*gren, .*moss"):
        found(ONE, "nowhere")
    with pytest.raises(DatasetNotFound):
        found(f"datasets/nothing:{ONE}")
    with pytest.raises(NoSuchRun):
        RunFinder(datasets / "gren", tmp_path / "nothing", tmp_path).find("other")
