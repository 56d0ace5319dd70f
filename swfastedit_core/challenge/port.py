"""The port of the invoke method. It is opened before the slow imports of the program.

The platform's shim asks ``/health`` as soon as the process exists, and sleeps for ten seconds after a refused
connection. A port that is open keeps the connection until the server thread runs. So this module imports little.
"""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import socket

from swfastedit_core.errors import UserError

OPTIONS = "SWFASTEDIT_OPTIONS"  # variable of the environment with the options of an image
HOST = "127.0.0.1"
PORT = 4743  # the platform's
CALLERS = 2048  # that may wait for the server thread; the system may allow fewer
ADVICE = {
    errno.EADDRINUSE: "is the program running already?",
    errno.EACCES: "choose a --port above 1023",
}


def open_early(arguments: list[str], *, baked_in: str) -> socket.socket | None:
    """Open the port if the options name the invoke method.

    Parameters
    ----------
    arguments, baked_in
        As for `swfastedit_core.challenge.options.parse`, which checks them later: wrong ones are not reported here.

    Returns
    -------
    socket.socket or None
        None if the method is another one, the options cannot be read, or the port cannot be opened.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--api-method")
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--pet", nargs="*")
    try:
        options, _ = parser.parse_known_args([*shlex.split(baked_in), *arguments])
        if options.api_method == "invoke" and options.pet is None:
            return open_port(options.host, options.port)
    except (argparse.ArgumentError, ValueError, OverflowError, UserError, SystemExit):
        pass
    return None


def open_port(host: str, port: int) -> socket.socket:
    """Listen on a port.

    Raises
    ------
    UserError
        If the port is taken, or the host is no address of this machine.
    """
    if not host:
        raise UserError("--host: an empty name, expected an address of this machine, such as 127.0.0.1")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=CALLERS)
    except OSError as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        advice = ADVICE.get(error.errno or 0, "expected --host with an address of this machine, such as 127.0.0.1")
        raise UserError(f"port {port} of {host} cannot be opened ({reason}); {advice}") from error
