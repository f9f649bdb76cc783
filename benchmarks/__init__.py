"""How fast and how lean generation is, beside the least that a client can do."""
