"""Manifest builders, one module per corpus, and the generator of the synthetic corpus."""
