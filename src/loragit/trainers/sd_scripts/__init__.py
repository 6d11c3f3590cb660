"""kohya-ss/sd-scripts: its arguments, its dataset configs, and the names of what it writes.

Nothing outside ``trainers`` imports this; ``trainers.kinds`` hands out its :class:`SdScripts`.
"""
