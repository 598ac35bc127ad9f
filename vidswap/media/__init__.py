"""Containers and codecs: the only layer that touches av and decord."""
