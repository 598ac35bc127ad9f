"""Training of every network: one loop, one file per method."""
