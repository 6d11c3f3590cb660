"""Secrets: what gives one away, where they are, and how they are hidden.

What is done about one is decided by ``run.preflight`` and ``commands.hook``.
"""
