"""From feats.h5 to a trained Foal-Net and its results."""
