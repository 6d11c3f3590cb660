"""loragit: every LoRA training run as a git commit in the dataset's own repository."""

__version__ = "0.1.0"
