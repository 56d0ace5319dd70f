"""grand-challenge.org: its folders and sockets, the command line, one case, exec and invoke."""
