"""An invented world of towns and people: documents, a generator of exactly known likelihood, trainings, probes."""
