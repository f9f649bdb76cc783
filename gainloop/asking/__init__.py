"""Requests and the reading of replies, which methods and filters share, and conversations side by side."""
