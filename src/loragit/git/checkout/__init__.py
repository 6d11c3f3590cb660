"""A checkout of code or of a dataset: its state, and a patch of what is not committed.

git itself decides this, because the libraries report clean repositories as dirty (docs/design.md,
"Who does what").
"""

from loragit.git.checkout.patches import patch, patch_path, patched_line
from loragit.git.checkout.state import StateQuestion, dirty, named, repo_state, tracking, way_out
from loragit.git.checkout.status import StatusReport, read_dirty, start_dirty

__all__ = [
    "StateQuestion",
    "StatusReport",
    "dirty",
    "named",
    "patch",
    "patch_path",
    "patched_line",
    "read_dirty",
    "repo_state",
    "start_dirty",
    "tracking",
    "way_out",
]
