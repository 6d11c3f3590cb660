"""A run as values, and their text forms: names, messages, ``run.toml``, notes.

No file is opened here. docs/record-format.md describes each form.
"""
