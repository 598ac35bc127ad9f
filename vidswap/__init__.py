"""Swap faces in video, in two passes: analyse, then render."""

__version__ = "0.1.0"
