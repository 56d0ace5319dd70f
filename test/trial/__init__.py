"""A container tried as grand-challenge.org runs it: ``PYTHONPATH=test python -m trial --help``.

`image` says what is asked of an image, `limits` what a container may use and `inside` what it finds of that;
`containers` starts one for a case, `calls` one that is called, `scans` makes the cases, `judge` says what is wrong with
the outcome, `rows` makes the table of it all, `archive` reopens what is to be uploaded. `fault` and `fault_server` are
programs that break one check each.
"""
