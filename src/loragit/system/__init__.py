"""The outside world: children, terminals, signals, and files that outlast a power cut.

Platform code is here and nowhere else. Nothing here knows what a run is.
"""
