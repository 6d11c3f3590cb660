"""Everything that can be known before a run begins: all that speaks against it told at once.

Nothing is written here but caches and what the user agreed to. The run itself is ``run.train``.
"""
