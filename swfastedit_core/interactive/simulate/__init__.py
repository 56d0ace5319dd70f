"""Simulated clicks and scribbles for training and evaluation, as pure functions of arrays and a random generator."""
