"""One verb of the command line a file, or a folder of its name: what it asks and what it prints.

What a verb does is done below: by ``run``, ``history`` and ``store``. ``cli`` parses arguments.
"""
