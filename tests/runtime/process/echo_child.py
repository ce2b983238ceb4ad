"""A child process that tells whoever connects what its configuration was, until it is told to end."""

from __future__ import annotations

import socket
import threading

from runtime.process.child import ParentEnd


def main() -> None:
    parent = ParentEnd()
    config = parent.config()
    parent.say_up()
    sockets = parent.listening()
    if not sockets:
        return

    def answer() -> None:
        with socket.socket(fileno=sockets[0]) as listening:
            while True:
                with listening.accept()[0] as caller:
                    caller.sendall(config)

    threading.Thread(target=answer, daemon=True).start()
    parent.wait_for_end()


if __name__ == "__main__":
    main()
