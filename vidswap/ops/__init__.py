"""Pure array maths: no I/O, no state."""
