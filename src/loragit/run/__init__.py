"""A run, from ready to sealed: prepared, recorded, trained, and ended; and what came out of it.

Reading what is on record is ``history``; writing the record is ``store``. Nothing here prints.
"""
