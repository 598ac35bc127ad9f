"""Networks: pure modules without I/O."""
