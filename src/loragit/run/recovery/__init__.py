"""Runs whose loragit is gone: found by their notes, and ended as they would have been.

How a run ends is ``run.ending``; moves of refs that were cut short are ``store.ref_moves``.
"""
