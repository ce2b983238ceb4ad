"""How long a tick, a loop and a start take."""
