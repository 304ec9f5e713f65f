"""ggml's block formats, each to what MLX can compute with: one file a group of formats.

To add a format: a function from blocks to `Packed` in a file here, and its line in `FORMATS` of `formats.py`.
"""
