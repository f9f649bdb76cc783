"""What is decided by measurements: the gate, which holds a batch, lets it pass, accepts or rejects it."""
