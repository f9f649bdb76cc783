"""The simulation of Gan & Liu 2024, and what figures foretell, in an invented world and on own batches."""
