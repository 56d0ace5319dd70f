"""Scores of a set of masks: ``python -m swfastedit_core.evaluate``."""
