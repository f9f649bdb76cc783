"""What models say of texts: their likelihoods, and the verdicts of a language model as judge."""
