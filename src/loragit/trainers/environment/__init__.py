"""The trainer's Python: finding and activating it, and querying its packages and graphics cards.

Nothing here knows which trainer it is.
"""
