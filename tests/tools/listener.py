# SPDX-License-Identifier: Apache-2.0
"""A listening socket with a thread of its own."""
import contextlib
import socket
import threading

TIMEOUT_S = 180  # a test that hangs, not a measure


class Listener:
    """Calls serve(sock) for each connection that .port takes, one behind the other, until close().

    close() lets the thread end before it gives the descriptor back: one on its way into accept() would take the next
    connection of whatever socket has the number then, with this one's behaviour.
    """

    def __init__(self, serve, address="127.0.0.1", port=0):
        self._serve = serve
        self._socket = socket.create_server((address, port))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            self._serve(sock)

    def close(self):
        """Of what serve() has now, it waits for the end. A second call does nothing."""
        with contextlib.suppress(OSError):  # it was closed before
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive(), f"port {self.port}: serve() does not end"
        self._socket.close()
