"""What a batch added, told: evidence in, sections, overview and pages out; a page asks nothing of the network."""
