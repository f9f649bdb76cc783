"""What touches weights: tokenizer, packing, training, scoring, embedding."""
