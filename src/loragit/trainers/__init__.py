"""What differs from trainer to trainer, and what is said to and of the trainer's Python.

A trainer's own rules are in the folder of its name; all else speaks to it through ``trainer``.
"""
