"""What is on record, read: runs, their records and outcomes, what changed, and whether it is true.

Nothing here writes, but for a cache. Writing the record is ``store``.
"""
