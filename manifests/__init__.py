"""How each corpus becomes a manifest; one file per corpus."""
