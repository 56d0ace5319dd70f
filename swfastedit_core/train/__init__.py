"""Training, ``python -m swfastedit_core.train``: from scans with labels to self-describing weights."""
