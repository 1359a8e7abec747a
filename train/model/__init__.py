"""Foal-Net (Li et al. 2024): layers, network, losses, training objective, checkpoints."""
