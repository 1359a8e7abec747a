"""Training of light heads on extracted features: `foal train`, `tune`, `ablate`, `evaluate` and `results`."""
