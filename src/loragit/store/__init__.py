"""Writing the record: commits, tags, notes, and the refs that lead to them.

It decides nothing of a run; ``run`` does. Objects are written by ``git``; reading is ``history``.
"""
