"""Outputs of training: run folders, CSV and JSON files, tables, plots, progress display."""
