"""What can go wrong for a reason that the user can mend."""

from __future__ import annotations


class UserError(Exception):
    """An error whose message is meant for the user.

    The message is one line: what was found, what was expected, what to do. Entry points print it to stderr
    and exit with 1; nothing below them catches it.
    """


class DataWarning(UserWarning):
    """Something about the input that the user should look at, although the run goes on."""
