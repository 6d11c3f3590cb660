"""The dataset's files: listed, read, hashed once, and told from pointers.

Which of them a trainer reads is ``trainers``' to say.
"""
