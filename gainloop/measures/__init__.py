"""What is computed about text: pure functions with shape, unit and source."""
