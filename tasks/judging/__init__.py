"""How tables are judged: the columns that are looked at, and Great Expectations, which judges them."""
