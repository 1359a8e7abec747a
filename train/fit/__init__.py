"""Fitting one fold: training loop, optimizer, early stopping, snapshots, and fits as resumable tasks."""
