"""The trainer's Python: found, activated, and asked for its packages and graphics cards.

Nothing here knows which trainer it is.
"""
