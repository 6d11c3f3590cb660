"""Recomputes what the record says, and tells where it is not so.

Nothing is taken from a cache, and nothing is mended: that is ``loragit recover``.
"""
