"""Which images and captions sd-scripts reads: named by a dataset config or by arguments, listed as
``library/config_util.py`` and ``library/train_util.py`` (48d368fa) do it."""
