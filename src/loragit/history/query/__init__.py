"""Which runs are asked for: by name in any dataset, by state, date or a condition.

Reading them is ``history``; this chooses among them.
"""
