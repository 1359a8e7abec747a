"""Fusion heads that need the streams on one time grid."""
