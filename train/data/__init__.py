"""Features and labels for training: datasets, cross-validation folds, batches, normalization statistics."""
