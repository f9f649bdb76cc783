"""A report as a page to read: one HTML file that asks nothing of the network."""
