"""How many models and states a run has on the disk: against the demo's trainer, and against
sd-scripts' own rule."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from loragit.commands.doctor import disk
from loragit.dataset.used_files import EpochShare
from loragit.git import repository
from loragit.trainers.arguments import Arguments
from loragit.trainers.disk_need import PastRun, Saves
from loragit.trainers.sd_scripts import checkpoints
from tests.support.demo_workshop import Workshop
from tests.support.made_up_runs import a_run, an_outcome, open_store, reverted, sealed
from tests.support.user_home import Scene, make_scene

few = st.none() | st.integers(1, 7)
counted = st.none() | st.integers(0, 9)


def options(**values: int | str | bool | None) -> Arguments:
    """Options that are not ``None``; ``True`` is a flag, ``False`` none."""
    said = {
        name: value for name, value in values.items() if value is not None and value is not False
    }
    return Arguments({name: () if value is True else (str(value),) for name, value in said.items()})


@settings(max_examples=4, deadline=None)
@given(steps=st.integers(1, 14), every_steps=few, every_epochs=few)
def test_the_demos_trainer_leaves_as_many_models_as_are_foretold(
    steps: int, every_steps: int | None, every_epochs: int | None
) -> None:
    wanted = {"save_every_n_steps": every_steps, "save_every_n_epochs": every_epochs}
    with tempfile.TemporaryDirectory() as scratch:
        shop = Workshop.made(Path(scratch))
        done = shop.train(max_train_steps=steps, sample_prompts=None, **wanted)
        assert done.returncode == 0, done.stderr
        models = [name for name in shop.files() if name.endswith(".safetensors")]
    # Twelve images, two a step.
    assert checkpoints.saves_at_once(options(**wanted), steps, 6) == Saves(len(models), 0)


def most_at_once(steps: int, per_epoch: int, saved: dict[str, int | None], what: str) -> int:
    """Plays a training: saves, and what each save removes, as sd-scripts does; the most that were
    there together."""
    every, last = saved["save_every_n_steps"], saved["save_last_n_steps"]
    epochs_every, last_epochs = saved["save_every_n_epochs"], saved["save_last_n_epochs"]
    if what:
        last, last_epochs = (
            saved["save_last_n_steps_state"] or last,
            saved["save_last_n_epochs_state"] or last_epochs,
        )
    there: set[str] = set()
    most = 0
    for step in range(1, steps + 1):
        if every and step % every == 0:
            there.add(f"step {step}")
            most = max(most, len(there))
            if last is not None:
                old = step - last - 1
                there.discard(f"step {old - old % every}")
        if step % per_epoch == 0 or step == steps:
            epoch, epochs = math.ceil(step / per_epoch), math.ceil(steps / per_epoch)
            if epochs_every and epoch % epochs_every == 0 and epoch < epochs:
                there.add(f"epoch {epoch}")
                most = max(most, len(there))
                if last_epochs is not None:
                    there.discard(f"epoch {epoch - epochs_every * last_epochs}")
    there.add("final")
    return max(most, len(there))


@settings(max_examples=300, deadline=None)
@given(
    steps=st.integers(1, 60),
    per_epoch=st.integers(1, 9),
    saved=st.fixed_dictionaries(
        {
            "save_every_n_steps": few,
            "save_every_n_epochs": few,
            "save_last_n_steps": counted,
            "save_last_n_epochs": counted,
            "save_last_n_steps_state": counted,
            "save_last_n_epochs_state": counted,
        }
    ),
)
def test_what_is_foretold_is_the_most_that_a_rotation_ever_has(
    steps: int, per_epoch: int, saved: dict[str, int | None]
) -> None:
    told = checkpoints.saves_at_once(options(**saved, save_state=True), steps, per_epoch)
    assert told == Saves(
        most_at_once(steps, per_epoch, saved, ""), most_at_once(steps, per_epoch, saved, "_state")
    )


def test_states_are_saved_where_they_are_asked_for() -> None:
    every = {"save_every_n_steps": 10, "save_last_n_steps": 30}
    assert checkpoints.saves_at_once(options(**every), 100, None) == Saves(5, 0)
    assert checkpoints.saves_at_once(
        options(**every, save_state_on_train_end=True), 100, None
    ) == Saves(5, 1)
    assert checkpoints.saves_at_once(
        options(**every, save_state=True, save_last_n_steps_state=10), 100, None
    ) == Saves(5, 3)


def test_a_ratio_of_epochs_is_understood() -> None:
    # Ten epochs, at least three saves: after the third, sixth and ninth.
    assert checkpoints.saves_at_once(options(save_n_epoch_ratio=3), 100, 10) == Saves(4, 0)
    assert checkpoints.saves_at_once(options(save_n_epoch_ratio=99), 100, 10) == Saves(10, 0)


def test_what_is_no_number_counts_as_not_said() -> None:
    assert checkpoints.saves_at_once(
        options(save_every_n_steps="often", save_every_n_epochs="-1"), 100, 10
    ) == Saves(1, 0)


def test_steps_of_an_epoch_are_the_batches_of_all_datasets() -> None:
    epoch = (EpochShare(21, 2), EpochShare(12, 4))  # 10.5 and 3
    assert checkpoints.steps_per_epoch(epoch, options()) == 14
    assert checkpoints.steps_per_epoch(epoch, options(gradient_accumulation_steps=4)) == 4
    assert checkpoints.steps_per_epoch((), options()) is None
    assert checkpoints.steps_of(options(max_train_epochs=10), 512, 14) == 140
    assert checkpoints.steps_of(options(max_train_epochs=10), 512, None) == 512
    assert checkpoints.steps_of(options(), 512, 14) == 512


LORA: dict[str, int | str | bool | None] = {"network_module": "networks.lora", "network_dim": 16}
BEFORE = PastRun(
    "noob-gren-v1s4", options(**LORA, save_precision="bf16"), "sdxl_train_network.py", 218_000_000
)


def test_the_size_is_that_of_an_earlier_run_with_the_same_network() -> None:
    wanted = options(**LORA, save_precision="bf16", save_every_n_steps=100, save_state=True)
    need = checkpoints.disk_need(
        wanted, "sdxl_train_network.py", 400, None, (BEFORE._replace(largest=0), BEFORE)
    )
    assert not need.estimated
    assert need.total == 5 * 218_000_000 + 5 * 6 * 218_000_000
    assert need.line == (
        "about 7.6 GB for 5 models of 218 MB and 5 training states of 1.3 GB (as in noob-gren-v1s4)"
    )


def test_without_such_a_run_the_size_is_an_estimate_and_says_so() -> None:
    for other in (options(network_dim=16), options(**LORA), options(**LORA | {"network_dim": 8})):
        assert checkpoints.disk_need(other, "sdxl_train_network.py", 4, None, (BEFORE,)).estimated
    flux = checkpoints.disk_need(
        options(**LORA, save_precision="bf16"), "flux_train_network.py", 4, None, (BEFORE,)
    )
    assert flux.estimated
    assert (
        flux.line == "about 152 MB for 1 model of 152 MB (an estimate from network_dim 16 on flux)"
    )
    plain = checkpoints.disk_need(options(), "/own/train.py", 4, None, ())
    assert (
        plain.line
        == "about 10 MB for 1 model of 10 MB (an estimate from network_dim 4 on sd in float32)"
    )


def test_whole_models_and_control_nets_are_not_of_an_adapters_size() -> None:
    def line(script: str, past: tuple[PastRun, ...] = (), **values: str | bool) -> str:
        return checkpoints.disk_need(options(**values), script, 4, None, past).line

    whole = "about 6.9 GB for 1 model of 6.9 GB (an estimate for a whole model of sdxl)"
    assert line("sdxl_train.py", save_precision="bf16") == whole
    assert line("sdxl_train.py", full_bf16=True) == whole
    assert line("fine_tune.py").endswith("(an estimate for a whole model of sd in float32)")
    assert line("train_controlnet.py").endswith("(an estimate for a ControlNet of sd in float32)")
    # An adapter's training tells nothing of a model's size.
    past = PastRun("noob-gren-v1s4", options(), "sdxl_train_network.py", 218_000_000)
    assert "an estimate" in line("sdxl_train.py", (past,))
    assert "as in" in line("sdxl_train.py", (past._replace(script="sdxl_train.py"),))


def test_earlier_runs_are_the_sealed_ones_of_this_dataset(home: Path) -> None:
    scene = make_scene(home)
    assert disk.past_runs(repository.discover(scene.dataset)) == ()
    store = open_store(scene.dataset)
    argv = ("python", "-s", "sdxl_train_network.py", "--network_dim", "16", "--output_name=x")
    sealed(store, "noob-gren-v1s4", argv=argv)
    reverted(store, "noob-gren-v2s4")
    store.open(a_run(name="noob-gren-v3s4"))
    scene.git("tag", "-a", "-m", "mine", "mine", "main")
    empty = store.open(a_run(name="noob-gren-v4s4", argv=("python",)))
    store.seal(empty, an_outcome(models=()))
    assert {run.name: run for run in disk.past_runs(repository.discover(scene.dataset))} == {
        "noob-gren-v1s4": PastRun(
            "noob-gren-v1s4",
            options(network_dim=16, output_name="x"),
            "sdxl_train_network.py",
            1024,
        ),
        "noob-gren-v4s4": PastRun("noob-gren-v4s4", options(), "sdxl_train_network.py", 0),
    }


def test_another_dataset_in_the_same_repository_is_not_this_one(home: Path) -> None:
    scene: Scene = make_scene(home)
    (scene.dataset / "other").mkdir()
    sealed(open_store(scene.dataset), "noob-gren-v1s4")
    sealed(open_store(scene.dataset / "other"), "noob-other-v1s4", prefix="other", dataset="other")
    assert [run.name for run in disk.past_runs(repository.discover(scene.dataset))] == [
        "noob-gren-v1s4"
    ]
    assert [run.name for run in disk.past_runs(repository.discover(scene.dataset / "other"))] == [
        "noob-other-v1s4"
    ]
