"""Floats to MLX's packed types, and which tensor becomes which."""
