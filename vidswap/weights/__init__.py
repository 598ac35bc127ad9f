"""Checkpoints: manifests, cache, formats, converters."""
