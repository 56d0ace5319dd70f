"""Metrics of masks, as pure functions of arrays."""
