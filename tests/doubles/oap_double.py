# SPDX-License-Identifier: Apache-2.0
"""A backend that is not ours (python3-h2), for tests of delivery: adds what it gets, as an OAP does, and misbehaves on demand.

Each collectBatch is answered by the next of `plan`, else in order. A behaviour is a function (double, connection, call)
that may add the batch (double.take) and answers, or not; see the functions below.
"""
import gzip
import pathlib
import socket
import struct
import sys
import threading
import time

from protobuf import decode

try:
    import h2.config
    import h2.connection
    import h2.errors
    import h2.events
    import h2.exceptions
except ImportError:
    print("python3-h2 is missing")
    sys.exit(77)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
# The folder of this file is known only at run time.
from listener import Listener  # noqa: E402

METERS = "/skywalking.v3.MeterReportService/collectBatch"
HEADERS = [(":status", "200"), ("content-type", "application/grpc")]


class Call:
    def __init__(self, headers):
        self.headers, self.data, self.ended = headers, b"", False

    @property
    def path(self):
        return self.headers[":path"]

    @property
    def report_id(self):
        return self.headers.get("sonde-report-id", "")

    def messages(self):
        rest = self.data
        while rest:
            flag, size = struct.unpack(">BI", rest[:5])
            body, rest = rest[5:5 + size], rest[5 + size:]
            yield gzip.decompress(body) if flag else body


class Connection:
    """One of an agent's; a thread each. All answers go through `answer`, from any thread."""

    def __init__(self, double, sock):
        self.double, self.sock, self.calls, self.lock = double, sock, {}, threading.Lock()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8",
                                                                       validate_outbound_headers=False))

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def answer(self, stream, status=0, words=None):
        fields = [("grpc-status", str(status))] + ([("grpc-message", words)] if words else [])
        with self.lock:
            try:
                if status:  # trailers only, as grpc-java refuses
                    self.h2.send_headers(stream, HEADERS + fields, end_stream=True)
                else:
                    more = [("sonde-extension", "1")] if self.double.extension else []
                    self.h2.send_headers(stream, HEADERS + more + [("grpc-accept-encoding", self.double.advertise)])
                    self.h2.send_data(stream, bytes(5))
                    self.h2.send_headers(stream, fields, end_stream=True)
                self.flush()
            except (OSError, h2.exceptions.ProtocolError):
                pass  # the agent has given the call up meanwhile

    def run(self):
        self.h2.initiate_connection()
        self.flush()
        while True:
            data = self.sock.recv(65536)
            if not data:
                return
            with self.lock:
                events = self.h2.receive_data(data)
            for event in events:
                self.event(event)
            with self.lock:
                self.flush()

    def event(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.calls[event.stream_id] = Call(dict(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            self.calls[event.stream_id].data += event.data
            with self.lock:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self.double.answer(self, event.stream_id, self.calls.pop(event.stream_id))


class OapDouble:
    def __init__(self, port=0, advertise="gzip", extension=False, address="127.0.0.1"):
        self.advertise, self.extension = advertise, extension
        self.plan, self.taken, self.seen = [], [], []  # behaviours; (id, value) that were added; every batch's id
        self.encodings = []
        self.connections = []
        self.listener = Listener(self.take_connection, address, port)
        self.port = self.listener.port

    def take_connection(self, sock):
        conn = Connection(self, sock)
        self.connections.append(conn)  # here, so that stop() knows of every one
        threading.Thread(target=self.serve, args=[conn], daemon=True).start()

    def serve(self, conn):
        try:
            conn.run()
        except (OSError, h2.exceptions.ProtocolError):
            pass
        conn.sock.close()

    def stop(self):
        self.listener.close()
        for conn in self.connections:
            try:
                conn.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def answer(self, conn, stream, call):
        if call.path != METERS:
            conn.answer(stream)
            return
        self.seen.append(call.report_id)
        self.encodings.append(call.headers.get("grpc-encoding", "identity"))
        behave = self.plan.pop(0) if self.plan else in_order
        behave(self, conn, stream, call)

    def take(self, call):
        """Adds, however often: this is what an OAP does."""
        for message in call.messages():
            for meter in decode(message)[1]:
                self.taken.append((call.report_id, int(decode(decode(meter)[1][0])[3][0])))

    @property
    def ids(self):
        return [i for i, _ in self.taken]


# --- behaviours

def in_order(double, conn, stream, call):
    double.take(call)
    conn.answer(stream)


def refuse(status, words=None):
    return lambda double, conn, stream, call: conn.answer(stream, status, words)


def late(seconds):
    """Takes the batch and answers so much later, from another thread."""
    def behave(double, conn, stream, call):
        double.take(call)
        threading.Timer(seconds, conn.answer, [stream]).start()
    return behave


def held(release):
    """Takes the batch and answers when that event is set, from another thread."""
    def behave(double, conn, stream, call):
        def wait():
            release.wait()
            conn.answer(stream)
        double.take(call)
        threading.Thread(target=wait, daemon=True).start()
    return behave


def reset(code, take=False):
    def behave(double, conn, stream, call):
        if take:
            double.take(call)
        with conn.lock:
            conn.h2.reset_stream(stream, code)
            conn.flush()
    return behave


def goaway(take):
    """GOAWAY that says whether the batch was taken, and then the end."""
    def behave(double, conn, stream, call):
        if take:
            double.take(call)
        with conn.lock:
            conn.h2.close_connection(last_stream_id=stream if take else 0)
            conn.flush()
        time.sleep(0.05)  # GOAWAY first, then the end of file
        conn.sock.shutdown(socket.SHUT_RDWR)
    return behave


def hang_up(double, conn, stream, call):
    """Takes the batch and is gone without a word."""
    double.take(call)
    conn.sock.shutdown(socket.SHUT_RDWR)
