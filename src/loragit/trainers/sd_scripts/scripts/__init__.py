"""The scripts of sd-scripts: which options each takes, and what it is for."""
