"""Rows, tables, suites, settings and reports. Only profiles are read from disk, and nothing here opens a network."""
