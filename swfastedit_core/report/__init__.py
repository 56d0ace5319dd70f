"""Projections of scans with the outlines of masks."""
