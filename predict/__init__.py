"""Use of trained models: predictions for new media, export, reports."""
