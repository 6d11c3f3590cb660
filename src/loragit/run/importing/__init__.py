"""Trainings from before loragit: found, read, and recorded as runs.

Nothing is invented: unknown facts are left out. ``store`` writes the commits.
"""
