"""Metrics on NumPy arrays: classification scores, calibration, significance tests, retrieval."""
