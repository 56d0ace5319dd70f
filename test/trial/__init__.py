"""Run a container image as grand-challenge.org does, and check it: ``PYTHONPATH=test python -m trial --help``.

=============  ========================================================================
`image`        what an engine or an archive says of an image, and the checks of it
`limits`       the platform's limits and folders, and the check that a container has them
`probe`        runs in a container and reports the limits and folders that it finds
`cases`        the scans that the image has to segment or to refuse
`containers`   Docker or podman; one container for one case (exec)
`server`       one container for many calls (invoke)
`checks`       the checks of an image and of the outcome of a case
`table`        runs everything, one row after the other
`archive`      checks the files to upload
=============  ========================================================================

`fault` and `fault_server` are programs that break one check each; the tests build images with them.
"""
