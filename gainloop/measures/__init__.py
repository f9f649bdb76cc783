"""Measures of text: pure functions with shape, unit and source."""
