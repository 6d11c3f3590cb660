"""Trainings of before loragit: found, read, and brought on record as runs.

Nothing is made up: what is not known is left out. Their commits are written by ``store``.
"""
