"""Masks and labels: their values, and the way to the grid of a scan."""
