"""Comparison of two sets of masks."""
