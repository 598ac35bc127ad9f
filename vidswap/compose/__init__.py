"""Turn patches into frames."""
