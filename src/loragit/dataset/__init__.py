"""The dataset's files: listed, read, and hashed once; git-lfs pointers among them are recognised.

Which of them a trainer reads is in ``trainers``.
"""
