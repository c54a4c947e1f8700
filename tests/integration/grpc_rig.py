# SPDX-License-Identifier: Apache-2.0
"""Servers that are not ours (python3-h2), for tests of our gRPC client."""
import pathlib
import ssl
import sys

try:
    import h2.config
    import h2.connection
    import h2.events
    import h2.exceptions
except ImportError:
    print("python3-h2 is missing")
    sys.exit(77)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
# The folder of this file is known only at run time.
from listener import TIMEOUT_S, Listener  # noqa: E402

GRPC = [(":status", "200"), ("content-type", "application/grpc")]


def serve_h2(sock, behave):
    """Until the client closes, or behave(conn, sock, event) returns true."""
    conn = h2.connection.H2Connection(
        h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False))
    conn.initiate_connection()
    sock.sendall(conn.data_to_send())
    while True:
        data = sock.recv(65536)
        if not data:
            return
        for event in conn.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if behave(conn, sock, event):
                sock.sendall(conn.data_to_send())
                return
        sock.sendall(conn.data_to_send())


class FakeServer(Listener):
    """Takes one connection at a time; behave(sock) does with the (TLS) socket what it likes."""

    def __init__(self, behave, context=None):
        self.behave, self.context, self.error = behave, context, None
        super().__init__(self.serve)

    def serve(self, sock):
        try:
            sock.settimeout(TIMEOUT_S)
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            self.behave(sock)
        except (OSError, ssl.SSLError, h2.exceptions.ProtocolError) as e:
            self.error = str(e)
        sock.close()
