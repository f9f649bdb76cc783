"""What a row, a suite and a setting are. Nothing here opens a file or a network."""
