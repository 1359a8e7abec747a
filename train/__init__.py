"""Training of light heads on extracted features: `foal train`, `ablate`, `evaluate` and `results`."""
