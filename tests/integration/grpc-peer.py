#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Our gRPC ends against a peer that is not ours (python3-h2), well behaved and not.

grpc-peer.py ECHO_SERVER CALL: the two test programs of this folder.
"""
import gzip
import json
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

try:
    import h2.config
    import h2.connection
    import h2.errors
    import h2.events
except ImportError:
    print("python3-h2 is missing")
    sys.exit(77)

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from grpc_rig import GRPC, TIMEOUT_S, FakeServer, serve_h2  # noqa: E402

ECHO_SERVER, CALL = sys.argv[1:3]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(data, flag=0):
    return struct.pack(">BI", flag, len(data)) + data


def h2_frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Server:
    """The echo server under test."""

    def __init__(self, *args):
        self.process = subprocess.Popen([ECHO_SERVER, *args], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def stop(self):
        self.process.terminate()
        out, _ = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, json.loads(out.splitlines()[-1])


class Answer:
    def __init__(self):
        self.headers, self.trailers, self.data = {}, {}, b""
        self.reset = None
        self.ended = False

    def field(self, name):
        return self.trailers.get(name, self.headers.get(name))

    @property
    def status(self):
        value = self.field("grpc-status")
        return None if value is None else int(value)

    @property
    def messages(self):
        found, rest = [], self.data
        while rest:
            size = struct.unpack(">I", rest[1:5])[0]
            found.append(rest[5:5 + size])
            rest = rest[5 + size:]
        return found


class Client:
    """An HTTP/2 client that sends what it is told to."""

    def __init__(self, server):
        self.sock = server.connect()
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8",
                                      validate_outbound_headers=False))
        self.h2.initiate_connection()
        self.answers = {}
        self.goaway = None
        self.closed = False
        self.flush()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def open(self, path="/t.Echo/unary", headers=(), drop=(), end=False):
        """HEADERS of a request, not sent yet."""
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x",
                  "te": "trailers", "content-type": "application/grpc"}
        fields.update(headers)
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, [(k, v) for k, v in fields.items() if k not in drop], end_stream=end)
        return stream

    def request(self, path="/t.Echo/unary", data=b"", end=True, headers=(), drop=()):
        stream = self.open(path, headers, drop, end and not data)
        while data:
            n = min(len(data), self.h2.local_flow_control_window(stream), 16384)
            if n == 0:
                self.flush()
                self.step()
                if self.answers[stream].ended or self.closed:
                    break
                continue
            self.h2.send_data(stream, data[:n], end_stream=end and n == len(data))
            data = data[n:]
        self.flush()
        return stream

    def step(self):
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return
        for event in self.h2.receive_data(data):
            answer = self.answers.get(getattr(event, "stream_id", None))
            if isinstance(event, h2.events.ResponseReceived):
                answer.headers = dict(event.headers)
            elif isinstance(event, h2.events.TrailersReceived):
                answer.trailers = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                answer.data += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                answer.ended = True
            elif isinstance(event, h2.events.StreamReset):
                answer.reset = event.error_code
                answer.ended = True
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = event.error_code
        self.flush_quietly()

    def flush_quietly(self):
        try:
            self.flush()
        except OSError:
            self.closed = True

    def answer(self, stream):
        while not self.answers[stream].ended and not self.closed:
            self.step()
        return self.answers[stream]

    def call(self, *args, **kwargs):
        return self.answer(self.request(*args, **kwargs))

    def until_closed(self):
        while not self.closed:
            self.step()

    def hang_up(self):
        """Until the server has ended the connection too: it counts its errors then."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
            while self.sock.recv(65536):
                pass
        except OSError:
            pass  # it was first
        self.close()

    def close(self):
        self.sock.close()


class ServerTest(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.client = Client(self.server)
        self.stats = None

    def stop(self):
        """Every test ends with a good call on a fresh connection: nothing else was disturbed."""
        fresh = Client(self.server)
        answer = fresh.call(data=frame(b"still there"))
        self.assertEqual(answer.status, 0)
        self.assertEqual(answer.messages, [b"still there"])
        fresh.close()
        self.client.hang_up()
        code, stats = self.server.stop()
        self.assertEqual(code, 0)
        return stats

    def tearDown(self):
        if self.server.process.poll() is None:
            self.stop()

    def check(self, status, **kwargs):
        answer = self.client.call(**kwargs)
        self.assertEqual(answer.status, status, answer.field("grpc-message"))
        return answer

    def test_answers_a_request_without_te(self):
        answer = self.check(0, data=frame(b"hi"), drop=("te",))
        self.assertEqual(answer.messages, [b"hi"])
        self.assertEqual(answer.headers["content-type"], "application/grpc")
        self.assertEqual(answer.headers["grpc-accept-encoding"], "identity,gzip,zstd")
        self.assertEqual(answer.headers["sonde-extension"], "1")

    def test_reads_gzip_and_plain_messages_of_one_stream(self):
        data = frame(gzip.compress(b"packed" * 100), 1) + frame(b"plain")
        answer = self.check(0, path="/t.Echo/stream", data=data, headers={"grpc-encoding": "gzip"})
        self.assertEqual(answer.messages, [b"packed" * 100, b"plain"])

    def test_refuses_an_unknown_encoding_and_names_the_known(self):
        answer = self.check(12, data=frame(b"x"), headers={"grpc-encoding": "snappy"})
        self.assertEqual(answer.field("grpc-accept-encoding"), "identity,gzip,zstd")

    def test_refuses_a_compressed_message_without_encoding(self):
        self.check(13, data=frame(gzip.compress(b"x"), 1))

    def test_refuses_what_is_not_what_the_encoding_says(self):
        self.check(13, data=frame(b"no gzip at all", 1), headers={"grpc-encoding": "gzip"})
        self.check(13, data=frame(gzip.compress(b"x"), 1), headers={"grpc-encoding": "zstd"})
        self.check(13, data=frame(gzip.compress(b"x")[:-3], 1), headers={"grpc-encoding": "gzip"})
        self.assertEqual(self.stop()["messages_refused"], 3)

    def test_refuses_a_bomb(self):
        self.check(8, data=frame(gzip.compress(bytes(64 << 20)), 1), headers={"grpc-encoding": "gzip"})

    def test_refuses_an_oversized_message_by_its_length_alone(self):
        self.check(8, data=struct.pack(">BI", 0, (4 << 20) + 1), end=False)
        self.check(8, data=struct.pack(">BI", 0, 0xffffffff), end=False)

    def test_stops_a_sender_that_goes_on_behind_a_refusal(self):
        stream = self.client.request(path="/t.Echo/nope", data=frame(b"x"), end=False)
        answer = self.client.answer(stream)
        self.assertEqual(answer.status, 12)
        while answer.reset is None and not self.client.closed:
            self.client.step()
        self.assertEqual(answer.reset, h2.errors.ErrorCodes.NO_ERROR)

    def test_refuses_half_a_message(self):
        self.check(13, data=frame(b"whole")[:-1])
        self.check(13, data=b"\0\0\0")
        self.check(13, path="/t.Echo/stream", data=frame(b"whole") + b"\0")

    def test_refuses_a_bad_flag(self):
        self.check(13, data=frame(b"x", 7))
        self.check(13, data=b"GET / HTTP/1.1")

    def test_a_unary_call_has_exactly_one_message(self):
        self.check(3, data=frame(b"a") + frame(b"b"))
        self.check(3, data=b"")

    def test_refuses_what_is_no_grpc_by_http_status(self):
        for type_ in ("application/json", "application/grpc-web", "text/plain"):
            answer = self.client.call(data=frame(b"x"), headers={"content-type": type_})
            self.assertEqual(answer.headers[":status"], "415")
        answer = self.client.call(drop=("content-type",))
        self.assertEqual(answer.headers[":status"], "415")
        answer = self.client.call(headers={":method": "GET"})
        self.assertEqual(answer.headers[":status"], "405")

    def test_refuses_unknown_paths(self):
        for path in ("/t.Echo/Unary", "/t.Echo", "/", "/t.Echo/unary/", "/" + "a" * 1000):
            self.check(12, path=path, data=frame(b"x"))
        answer = self.client.call(path="*", data=frame(b"x"))  # no path of a POST
        self.assertEqual(answer.reset, h2.errors.ErrorCodes.PROTOCOL_ERROR)
        self.assertEqual(self.stop()["protocol_errors"], 1)

    def test_reads_the_timeout(self):
        for bad in ("", "1", "10x", "123456789S", "-1S"):
            self.check(3, data=frame(b"x"), headers={"grpc-timeout": bad})
        self.check(4, path="/t.Echo/watch", data=frame(b"x"), headers={"grpc-timeout": "50m"})
        self.check(0, data=frame(b"x"), headers={"grpc-timeout": "99999999H"})

    def test_refuses_too_many_headers(self):
        self.check(8, data=frame(b"x"), headers={f"x-{i}": "v" for i in range(100)})
        self.check(8, data=frame(b"x"), headers={"x-large": "v" * 17000})

    def test_survives_resets_in_mid_call(self):
        for _ in range(50):
            stream = self.client.request(path="/t.Echo/watch", data=frame(b"x")[:4], end=False)
            self.client.h2.reset_stream(stream)
            self.client.flush()
        self.check(0, data=frame(b"x"))

    def test_ends_a_rapid_reset(self):
        for _ in range(5000):  # in one go: what is bounded is their rate, and this end may be slow
            self.client.h2.reset_stream(self.client.open(path="/t.Echo/watch"))
        self.client.flush_quietly()
        self.client.until_closed()
        self.assertIn(self.client.goaway, (h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, None))
        self.assertGreaterEqual(self.stop()["protocol_errors"], 1)

    def flood(self, data, count):
        """Raw frames until the server hangs up; True when it did."""
        sock = self.server.connect()
        try:
            sock.sendall(PREFACE + h2_frame(4))
            sock.sendall(data * count)
            while sock.recv(65536):
                pass
        except (ConnectionResetError, BrokenPipeError):
            pass
        except socket.timeout:
            return False
        finally:
            sock.close()
        return True

    def test_ends_floods(self):
        self.assertTrue(self.flood(h2_frame(6, payload=b"12345678"), 20000))  # PING
        self.assertTrue(self.flood(h2_frame(4), 20000))  # SETTINGS
        self.assertTrue(self.flood(h2_frame(0, stream=1), 20000))  # DATA without a stream
        headers = h2_frame(1, stream=1, payload=b"\x82")
        self.assertTrue(self.flood(headers + h2_frame(9, stream=1), 20000))  # CONTINUATION
        self.assertTrue(self.flood(headers + h2_frame(9, stream=1, payload=bytes(16384)), 100))
        self.assertGreaterEqual(self.stop()["protocol_errors"], 5)

    def test_hangs_up_on_other_protocols(self):
        for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", bytes(100),
                     bytes(range(256)) * 100, PREFACE[:-1] + b"x"):
            sock = self.server.connect()
            try:
                sock.sendall(data)
                while sock.recv(65536):
                    pass
            except (ConnectionResetError, BrokenPipeError):
                pass
            sock.close()
        self.assertGreaterEqual(self.stop()["protocol_errors"], 5)

    def test_refuses_streams_past_the_limit(self):
        streams = [self.client.request(path="/t.Echo/watch", data=frame(b"x"), end=False)
                   for _ in range(100)]
        self.assertEqual(len(streams), 100)
        self.client.h2.remote_settings[h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        for _ in range(29):
            try:
                streams.append(self.client.request(path="/t.Echo/watch", data=frame(b"x")))
            except h2.exceptions.TooManyStreamsError:
                self.skipTest("h2 holds the limit by itself")
        last = self.client.answer(streams[-1])
        self.assertTrue(self.client.closed or
                        last.reset == h2.errors.ErrorCodes.REFUSED_STREAM)

    def test_refuses_connections_past_the_limit(self):
        socks = [self.server.connect() for _ in range(30)]
        open_ = 0
        for sock in socks:  # it greets, or hangs up
            try:
                sock.sendall(PREFACE + h2_frame(4))
                open_ += bool(sock.recv(1))
            except OSError:
                pass
        self.assertEqual(open_, 19)  # and self.client
        for sock in socks:
            sock.close()

    def test_a_refused_connection_disturbs_no_other(self):
        stream = self.client.request(path="/t.Echo/watch", data=frame(b"x"))
        garbage = self.server.connect()
        garbage.sendall(bytes(1000))
        garbage.close()
        while not self.client.answers[stream].data:
            self.client.step()
        self.assertEqual(self.client.answers[stream].messages, [b"hello"])


class ClientTest(unittest.TestCase):
    def call(self, behave, size=10, count=1, deadline_ms=15000):
        self.requests = []

        def serve(sock):
            def noting(conn, sock, event):
                if isinstance(event, h2.events.RequestReceived):
                    self.requests.append(dict(event.headers))
                return behave(conn, sock, event)
            serve_h2(sock, noting)
        server = FakeServer(serve)
        out = subprocess.run([CALL, str(server.port), "/t/m", str(size), str(count), str(deadline_ms)],
                             stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=True)
        server.close()
        results = [json.loads(line) for line in out.stdout.splitlines()]
        self.assertEqual(len(results), count)
        return results

    @staticmethod
    def at_end(answer):
        """Runs answer(conn, stream) when a request is whole."""
        def behave(conn, sock, event):
            if isinstance(event, h2.events.StreamEnded):
                return answer(conn, event.stream_id)
            return False
        return behave

    @staticmethod
    def at_start(answer):
        def behave(conn, sock, event):
            if isinstance(event, h2.events.RequestReceived):
                return answer(conn, event.stream_id)
            return False
        return behave

    def test_sends_what_grpc_asks_for(self):
        def answer(conn, stream):
            conn.send_headers(stream, GRPC)
            conn.send_data(stream, frame(b"ok"))
            conn.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        result = self.call(self.at_end(answer))[0]
        self.assertEqual((result["status"], result["messages"]), ("OK", 1))
        request = self.requests[0]
        self.assertEqual(request[":method"], "POST")
        self.assertEqual(request[":path"], "/t/m")
        self.assertEqual(request["te"], "trailers")
        self.assertEqual(request["content-type"], "application/grpc")
        self.assertEqual(request["grpc-accept-encoding"], "identity,gzip,zstd")
        self.assertRegex(request["grpc-timeout"], r"^[0-9]{1,8}[numSMH]$")
        self.assertNotIn("grpc-encoding", request)

    def test_speaks_gzip_to_a_server_that_reads_gzip_only(self):
        def answer(conn, stream):
            conn.send_headers(stream, GRPC + [("grpc-accept-encoding", "gzip"), ("grpc-encoding", "identity")])
            conn.send_data(stream, frame(b""))
            conn.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        results = self.call(self.at_end(answer), size=1000, count=2)
        self.assertEqual([r["encoding"] for r in results], ["identity", "gzip"])
        self.assertEqual(self.requests[1]["grpc-encoding"], "gzip")
        self.assertFalse(results[1]["extension"])

    def test_reads_a_compressed_answer(self):
        def answer(conn, stream):
            conn.send_headers(stream, GRPC + [("grpc-encoding", "gzip")])
            conn.send_data(stream, frame(gzip.compress(b"x" * 1000), 1))
            conn.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        self.assertEqual(self.call(self.at_end(answer))[0]["status"], "OK")

    def test_takes_trailers_only(self):
        def answer(conn, stream):
            conn.send_headers(stream, GRPC + [("grpc-status", "5"), ("grpc-message", "not%20here")],
                              end_stream=True)
        result = self.call(self.at_end(answer))[0]
        self.assertEqual((result["status"], result["message"]), ("NOT_FOUND", "not here"))
        self.assertFalse(result["not_processed"])

    def test_a_refusal_before_the_first_message_is_whole_was_not_processed(self):
        def answer(conn, stream):
            conn.send_headers(stream, GRPC + [("grpc-status", "8"), ("grpc-message", "Watermark exceeded")],
                              end_stream=True)
        large = self.call(self.at_start(answer), size=8 << 20)[0]  # more than fits the window
        self.assertEqual((large["status"], large["not_processed"]), ("RESOURCE_EXHAUSTED", True))
        small = self.call(self.at_start(answer), size=10)[0]
        self.assertEqual((small["status"], small["not_processed"]), ("RESOURCE_EXHAUSTED", False))

    def test_a_refused_stream_was_not_processed_and_another_reset_is_unknown(self):
        def refuse(conn, stream):
            conn.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)

        def cancel(conn, stream):
            conn.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        result = self.call(self.at_end(refuse))[0]
        self.assertEqual((result["status"], result["not_processed"]), ("UNAVAILABLE", True))
        result = self.call(self.at_end(cancel))[0]
        self.assertEqual((result["status"], result["not_processed"]), ("CANCELLED", False))

    def test_a_peer_whose_clock_is_first_at_the_deadline_is_a_deadline(self):
        def late(conn, stream):
            time.sleep(2.998)  # whichever end is first
            conn.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        result = self.call(self.at_end(late), deadline_ms=3000)[0]
        self.assertEqual((result["status"], result["not_processed"]), ("DEADLINE_EXCEEDED", False))

    def test_goaway_says_what_was_not_processed(self):
        def before(conn, stream):
            conn.close_connection(last_stream_id=0)

        def behind(conn, stream):
            conn.close_connection(last_stream_id=stream)
            return True  # and hangs up
        result = self.call(self.at_end(before))[0]
        self.assertEqual((result["status"], result["not_processed"]), ("UNAVAILABLE", True))
        result = self.call(self.at_end(behind))[0]
        self.assertEqual((result["status"], result["not_processed"]), ("UNAVAILABLE", False))

    def test_an_answer_that_is_no_grpc_has_its_status_by_http(self):
        for status, name in (("503", "UNAVAILABLE"), ("404", "UNIMPLEMENTED"), ("403", "PERMISSION_DENIED"),
                             ("418", "UNKNOWN")):
            def answer(conn, stream, status=status):
                conn.send_headers(stream, [(":status", status), ("content-type", "text/html")])
                conn.send_data(stream, b"<html>", end_stream=True)
            self.assertEqual(self.call(self.at_end(answer))[0]["status"], name)

        def web_page(conn, stream):
            conn.send_headers(stream, [(":status", "200"), ("content-type", "text/html")])
            conn.send_data(stream, b"<html>", end_stream=True)
        self.assertEqual(self.call(self.at_end(web_page))[0]["status"], "UNKNOWN")

    def test_an_answer_without_a_status_is_unknown(self):
        def answer(conn, stream):
            conn.send_headers(stream, GRPC)
            conn.send_data(stream, frame(b"x"), end_stream=True)
        self.assertEqual(self.call(self.at_end(answer))[0]["status"], "UNKNOWN")

    def test_refuses_answers_that_are_malformed(self):
        bomb = frame(gzip.compress(bytes(8 << 20)), 1)
        for data, encoding, name in ((frame(b"x", 9), "identity", "INTERNAL"),
                                     (frame(b"x", 1), "identity", "INTERNAL"),
                                     (frame(b"x", 1), "gzip", "INTERNAL"),
                                     (frame(b"x", 1), "snappy", "INTERNAL"),
                                     (bomb, "gzip", "RESOURCE_EXHAUSTED"),
                                     (struct.pack(">BI", 0, 2 << 20), "identity", "RESOURCE_EXHAUSTED"),
                                     (frame(b"abc")[:-1], "identity", "INTERNAL")):
            def answer(conn, stream, data=data, encoding=encoding):
                conn.send_headers(stream, GRPC + [("grpc-encoding", encoding)])
                conn.send_data(stream, data)
                conn.send_headers(stream, [("grpc-status", "0")], end_stream=True)
            self.assertEqual(self.call(self.at_end(answer))[0]["status"], name, (data[:20], encoding))

    def test_refuses_headers_that_are_too_large(self):
        def answer(conn, stream):
            conn.send_headers(stream, GRPC + [(f"x-{i}", "v") for i in range(100)])
        self.assertEqual(self.call(self.at_end(answer))[0]["status"], "RESOURCE_EXHAUSTED")

    def test_skips_an_interim_answer(self):
        def answer(conn, stream):
            conn.send_headers(stream, [(":status", "103"), ("link", "x")])
            conn.send_headers(stream, GRPC)
            conn.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        self.assertEqual(self.call(self.at_end(answer))[0]["status"], "OK")

    def test_a_silent_server_meets_the_deadline(self):
        result = self.call(self.at_end(lambda conn, stream: False), deadline_ms=3000)[0]
        self.assertEqual((result["status"], result["not_processed"]), ("DEADLINE_EXCEEDED", False))

    def test_a_server_that_does_not_greet_processed_nothing(self):
        for greeting in (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100)):
            listener = socket.create_server(("127.0.0.1", 0))

            def serve(listener=listener, greeting=greeting):
                sock, _ = listener.accept()
                sock.sendall(greeting)
                sock.close()
            thread = threading.Thread(target=serve)
            thread.start()
            out = subprocess.run([CALL, str(listener.getsockname()[1]), "/t/m", "10", "2", "15000"],
                                 stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=True)
            thread.join()
            listener.close()
            for result in map(json.loads, out.stdout.splitlines()):  # at once, then in the back-off
                self.assertEqual((result["status"], result["not_processed"]), ("UNAVAILABLE", True))

    def test_garbage_behind_the_greeting_is_unknown(self):
        def behave(conn, sock, event):
            if not isinstance(event, h2.events.StreamEnded):
                return False
            sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(100))
            return True
        result = self.call(behave)[0]
        self.assertEqual((result["status"], result["not_processed"]), ("UNAVAILABLE", False))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
