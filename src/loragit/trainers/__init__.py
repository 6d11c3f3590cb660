"""What differs from trainer to trainer, and what is said to and of the trainer's Python.

A trainer's own rules are in the folder of its name, behind the interface in ``trainer``; ``kinds``
finds it by ``trainer.kind``.
"""
