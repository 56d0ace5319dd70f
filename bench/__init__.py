"""Measurements for the figures in the documentation. Each module with a `main` is a command."""
