"""The weights that a run starts from: what each is, and which run made it."""

from __future__ import annotations
