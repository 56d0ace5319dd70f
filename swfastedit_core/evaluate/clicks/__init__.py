"""Evaluation of networks that take clicks: how scores change from click to click."""
