"""What methods and filters share: questions, what may come back, and several conversations side by side."""
