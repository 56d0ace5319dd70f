"""Crops for training: positions, augmentation, transplantation, loading."""
