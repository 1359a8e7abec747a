"""Detailed evaluation of a finished run: groups, calibration, robustness, retrieval and matching."""
