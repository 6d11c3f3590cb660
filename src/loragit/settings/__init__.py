"""Settings: which keys there are, where each value comes from, and what a path means.

Whether what they name exists is checked by ``run.preflight``.
"""
