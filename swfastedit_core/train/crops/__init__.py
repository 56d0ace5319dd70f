"""Crops for training: which, augmentation, transplantation, loading."""
