"""The gate: measurements decide whether a batch is held back, accepted or rejected."""
