"""What a model knows: how likely it finds texts, and what a language model as judge says of them."""
