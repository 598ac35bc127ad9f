"""The two passes and what surrounds them."""
