"""Reports: evidence in, sections, overview and pages out; a page loads nothing from the network."""
