"""Text headers, as MetaImage and NRRD have them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

from swfastedit_core.errors import UserError

HEADER_LIMIT = 2**20  # bytes; a longer text is no header


def read_text_header(file: BinaryIO, path: Path, *, separator: str, last: str, comment: str = "\0") -> dict[str, str]:
    """Read lines of key and value.

    Parameters
    ----------
    file
        Open at the beginning; it is left behind the header.
    path
        Its name, for messages.
    separator
        Regular expression between key and value.
    last
        Key of the last line, in lower case; empty for a blank line.
    comment
        Lines that begin with it are left out.

    Returns
    -------
    dict
        Values by their keys in lower case.

    Raises
    ------
    UserError
        If the header has no end.
    """
    fields: dict[str, str] = {}
    while file.tell() < HEADER_LIMIT:
        line = file.readline(HEADER_LIMIT).decode("utf-8", "replace").strip()
        key, *value = re.split(separator, line, maxsplit=1)
        if not line.startswith(comment):
            fields[key.strip().lower()] = "".join(value).strip()
        if key.strip().lower() == last:
            return fields
        if not line and file.read(1) == b"":
            break
    raise UserError(f"{path}: the header cannot be read as an image (it has no end); is the file damaged?")
