"""A container tried as grand-challenge.org runs it: ``PYTHONPATH=test python -m trial --help``.

`containers` starts it under the platform's limits, `scans` makes the cases, `judge` says what is wrong with the
outcome, `archive` reopens what is to be uploaded.
"""
