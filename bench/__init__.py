"""Measurements behind the figures in the documentation; each is a command of its own."""
