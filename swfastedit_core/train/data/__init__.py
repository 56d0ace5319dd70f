"""Data for training: layouts, sources, labels, splits, the survey."""
