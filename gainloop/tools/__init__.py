"""Tools that a model calls: their schemas, worlds that simulate them, tasks with a known reward, and real servers."""
