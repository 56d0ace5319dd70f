"""Training: ``python -m swfastedit_core.train`` turns scans with labels into weights that describe themselves."""
