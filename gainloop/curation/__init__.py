"""Is it clean: Great Expectations suites, near duplicates, probes."""
