"""The user's git, its repositories and refs, and objects that are written in process.

What a run's commit holds is ``record``; which refs move, and when, is ``store``.
"""
