"""Two runs compared: settings, captions, prompts, the trainer's commits between them.

Values come out; how they are printed is ``commands.diff`` and ``commands.log``.
"""
