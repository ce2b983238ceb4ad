"""`runtime serve`: the control process, and the listener process that lets clients in."""
