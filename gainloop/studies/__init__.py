"""Studies: the simulation of Gan & Liu 2024, and which figures predict gain, in an invented world or in the store."""
