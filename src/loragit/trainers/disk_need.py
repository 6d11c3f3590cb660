"""How much disk the models of a run will need. An estimate."""

from __future__ import annotations

from typing import NamedTuple

from loragit import text
from loragit.trainers.arguments import Arguments


class PastRun(NamedTuple):
    """A sealed run of the dataset, as its record tells."""

    name: str
    arguments: Arguments
    script: str
    largest: int
    """Bytes of its largest model; 0 where it has none."""


class Saves(NamedTuple):
    """How many of each are on the disk at the same time, at most."""

    models: int
    states: int


class Need(NamedTuple):
    """What a run will write."""

    saves: Saves
    size: int
    """Bytes of a model."""
    state_size: int
    """Bytes of a folder of training state."""
    source: str
    """Where ``size`` is known from, for people."""
    estimated: bool
    """Whether ``size`` is but an estimate."""

    @property
    def total(self) -> int:
        """Bytes of all together."""
        return self.size * self.saves.models + self.state_size * self.saves.states

    @property
    def line(self) -> str:
        """``about 1.1 GB for 5 models of 218 MB (as in noob-gren-v1s512)``."""
        models = f"{text.count(self.saves.models, 'model')} of {text.size(self.size)}"
        states = ""
        if self.saves.states:
            states = (
                f" and {text.count(self.saves.states, 'training state')} of "
                f"{text.size(self.state_size)}"
            )
        return f"about {text.size(self.total)} for {models}{states} ({self.source})"
