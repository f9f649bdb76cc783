"""What runs: one flow a file, named as its file and its deployment."""
