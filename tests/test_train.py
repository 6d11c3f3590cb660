from __future__ import annotations

from pathlib import Path

import pytest

from tests.scene import Scene, make_scene


@pytest.fixture
def scene(home: Path) -> Scene:
    return make_scene(home)


def test_first(scene: Scene) -> None:
    done = scene.train()
    print(done.out, done.err)
    print(scene.git("log", "--stat", "runs"))
    print(scene.git("show", "noob-gren-v1s4", "--stat"))
    print(scene.git("show", "noob-gren-v1s4:run.toml"))
    print(scene.git("show", "noob-gren-v1s4:train.sh"))
    print(scene.git("show", "noob-gren-v1s4:environment.txt"))
    print((scene.output / "noob-gren-v1s4" / "repos.git").read_text())
    assert done.status == 0
    assert 0
