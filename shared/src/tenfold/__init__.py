"""Tenfold: group-convolution primitives and common evaluation, shared by ten paper reproductions.

Each module is its own door: `from tenfold.claims import claim`, `from tenfold.checkpoint import save_pretrained`.
Importing this package imports nothing heavy.
"""
