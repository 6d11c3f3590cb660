"""Recomputes what the record says, and reports where it is wrong.

Nothing is read from a cache, and nothing is repaired: that is ``loragit recover``.
"""
