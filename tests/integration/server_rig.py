# SPDX-License-Identifier: Apache-2.0
"""A sonde-server of its own, and an agent that is not ours: python3-h2 and protobuf by hand."""
import atexit
import gzip
import http.client
import json
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

try:
    import h2.config
    import h2.connection
    import h2.events
except ImportError:
    print("python3-h2 is missing")
    sys.exit(77)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "doubles"))
# The folder is known only at run time.
from protobuf import decode, message  # noqa: E402

TIMEOUT_S = 120  # a test that hangs, not a measure

# meson ends by SIGTERM what takes too long: as by Ctrl-C, the folders go and what was started ends.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def wait_for(what, look):
    """The first true value of look()."""
    end = time.monotonic() + TIMEOUT_S
    while not (found := look()):
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what}")
        time.sleep(0.02)
    return found


def ends_with_test(process):
    """A Popen that does not outlive the test, however that ends: before the folders go."""
    def end():
        process.kill()
        process.wait()
    atexit.register(end)
    return process


# --- messages

def entity(service, name, instance="i", layer="GENERAL"):
    return message(f1=layer, f2=service, f3=instance, f4=name)


def process_report(agent, *processes, instance="i"):
    """processes: (service, name, pid)."""
    return message(f1=[message(f1=message(f1=entity(s, n, instance), f2=pid, f3=message(f1="command_line", f2=f"/bin/{n}")))
                       for s, n, pid in processes], f2=agent)


def labels(pairs):
    return [message(f1=k, f2=v) for k, v in pairs.items()]


def single(name, value, **pairs):
    return message(f1=message(f1=name, f2=labels(pairs), f3=float(value)))


def histogram(name, buckets, **pairs):
    return message(f2=message(f1=name, f2=labels(pairs),
                              f3=[message(f1=float(b), f2=c) for b, c in buckets.items()]))


def collection(*meters, service="web", instance="i", timestamp_ms=None):
    head = message(f3=service, f4=instance, f5=timestamp_ms or int(time.time() * 1000))
    return message(f1=[m + (head if i == 0 else b"") for i, m in enumerate(meters)])


def task_report(agent, task, sequence, states=(), end=None, ledger=(), at_ms=None, **more):
    now = int(time.time() * 1000)
    return message(f1=agent, f2=task, f3=sequence, f6=now - 1000, f7=now,
                   f8=[message(f1=s, f2=at_ms or now, f3="words") for s in states],
                   f11=[message(f1=site, f2=n, f3=weakens, f4="words") for site, n, weakens in ledger],
                   **({"f15": True, "f16": end, "f17": "its time is over"} if end else {}), **more)


# --- gRPC

def compressed(data, encoding):
    if encoding == "gzip":
        return gzip.compress(data)
    if encoding == "zstd":
        return subprocess.run(["zstd", "-c", "-q"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


class Call:
    def __init__(self):
        self.headers, self.data, self.ended, self.reset = {}, b"", False, None

    @property
    def status(self):
        return int(self.headers["grpc-status"]) if "grpc-status" in self.headers else None

    @property
    def words(self):
        return self.headers.get("grpc-message", "")

    @property
    def messages(self):
        found, rest = [], self.data
        while len(rest) >= 5 and len(rest) >= 5 + struct.unpack(">I", rest[1:5])[0]:
            size = struct.unpack(">I", rest[1:5])[0]
            found.append(rest[5:5 + size])
            rest = rest[5 + size:]
        return found


class Agent:
    """One HTTP/2 connection."""

    def __init__(self, server, name="agent-1", token=None):
        self.name, self.token = name, token
        self.sock = socket.create_connection(("127.0.0.1", server.grpc), TIMEOUT_S)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.calls = {}

    def close(self):
        self.sock.close()

    def start(self, path, messages=(), encoding="identity", end=True, flag=None, **metadata):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"), ("te", "trailers"),
                  ("content-type", "application/grpc"), ("grpc-encoding", encoding)]
        fields += [("authentication", self.token)] if self.token else []
        fields += [(k.replace("_", "-"), v) for k, v in metadata.items()]
        call = self.calls[stream] = Call()
        self.h2.send_headers(stream, fields)
        data = b""
        for m in messages:
            body = compressed(m, encoding)
            data += struct.pack(">BI", (encoding != "identity") if flag is None else flag, len(body)) + body
        while data and not call.ended:
            n = min(len(data), self.h2.local_flow_control_window(stream), 16384)
            if n:
                self.h2.send_data(stream, data[:n])
                data = data[n:]
            else:
                self.step()
        if end and not call.ended:
            self.h2.end_stream(stream)
        self.flush()
        return call

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def step(self):
        self.flush()
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("closed by the server")
        for event in self.h2.receive_data(data):
            call = self.calls.get(getattr(event, "stream_id", None))
            if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                call.headers.update(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                call.data += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                call.ended = True
            elif isinstance(event, h2.events.StreamReset):
                call.ended, call.reset = True, event.error_code
        self.flush()

    def finish(self, call):
        while not call.ended:
            self.step()
        return call

    def call(self, path, *messages, **options):
        return self.finish(self.start(path, messages, **options))

    def report_processes(self, *processes, instance="i"):
        return self.call("/skywalking.v3.EBPFProcessService/reportProcesses",
                         process_report(self.name, *processes, instance=instance))

    def query(self, latest_ms=0):
        """[{key: value}] of each command, in the order of the arguments."""
        call = self.call("/skywalking.v3.EBPFProfilingService/queryTasks", message(f1=self.name, f2=latest_ms))
        assert call.status == 0, call.headers
        commands = [decode(c) for c in decode(call.messages[0]).get(1, [])]
        return [{"": c[1][0].decode(),
                 **{decode(a)[1][0].decode(): decode(a).get(2, [b""])[0].decode() for a in c.get(2, [])}}
                for c in commands]

    def report(self, task, sequence, **fields):
        return self.call("/sonde.v1.TaskReportService/report", task_report(self.name, task, sequence, **fields))

    def collect(self, report_id, *collections, **options):
        metadata = {"sonde_report_id": report_id} if report_id else {}
        return self.call("/skywalking.v3.MeterReportService/collectBatch", *collections, **options, **metadata)


# --- the server

class Server:
    def __init__(self, program, rules, *flags, folder=None, wrapper=()):
        self.program, self.rules, self.flags, self.wrapper = program, rules, flags, wrapper
        self.folder = folder or tempfile.TemporaryDirectory(prefix="sonde-server-")
        self.path = pathlib.Path(self.folder.name)
        self.start()

    def start(self):
        ports = self.path / "ports.json"
        ports.unlink(missing_ok=True)
        with open(self.path / "log", "ab") as log:
            self.process = ends_with_test(subprocess.Popen(
                [*self.wrapper, self.program, "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--state",
                 str(self.path / "state"), "--rules", self.rules, "--ports-file", str(ports), *self.flags],
                stderr=log))
        end = time.monotonic() + TIMEOUT_S
        while not ports.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start:\n{self.log()}")
            time.sleep(0.02)
        found = json.loads(ports.read_text(encoding="utf-8"))
        self.grpc, self.http = found["grpc"], found["http"]

    def log(self):
        return (self.path / "log").read_text(encoding="utf-8")

    def end(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(TIMEOUT_S)

    def restart(self, how=signal.SIGKILL):
        self.end(how)
        self.start()

    def close(self):
        status = self.end()
        self.folder.cleanup()
        return status

    def request(self, method, path, body=None, headers=None, raw=None):
        """(status, headers, JSON or bytes)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=TIMEOUT_S)
        data = raw if raw is not None else None if body is None else json.dumps(body)
        given = {"Content-Type": "application/json"} if data is not None else {}
        given.update(headers or {})
        connection.request(method, path, data, given)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, dict(answer.headers), json.loads(text) if text else None

    def get(self, path):
        status, _, body = self.request("GET", f"/api/v1{path}")
        assert status == 200, (status, body)
        return body

    def put(self, path, document):
        status, _, body = self.request("PUT", f"/api/v1{path}", document)
        assert status in (200, 201), (status, body)
        return body

    def create(self, *targets, duration_ms=60000, **more):
        status, headers, body = self.request("POST", "/api/v1/tasks",
                                             {"targets": list(targets), "durationMs": duration_ms, **more})
        assert status == 201, (status, body)
        assert headers["Location"] == f"/api/v1/tasks/{body['id']}"
        return body


class ServerCase(unittest.TestCase):
    """A test case with a server of its own, which has to end well; its program and rules are the test's first arguments."""
    flags = ()

    def setUp(self):
        self.server = Server(*sys.argv[1:3], *self.flags)
        self.agents = []

    def tearDown(self):
        for agent in self.agents:
            agent.close()
        self.assertEqual(self.server.close(), 0)

    def agent(self, name="agent-1", **options):
        self.agents.append(Agent(self.server, name, **options))
        return self.agents[-1]
