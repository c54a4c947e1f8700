#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS of our gRPC ends against peers that are not ours (Python's ssl and python3-h2), well behaved and not.

tls-peer.py ECHO_SERVER CALL: the two test programs of this folder. Certificates are made by openssl(1) as the test runs.
"""
import json
import os
import pathlib
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import unittest

try:
    import h2.events
except ImportError:
    print("python3-h2 is missing")
    sys.exit(77)

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from grpc_rig import GRPC, FakeServer, serve_h2  # noqa: E402
from tls_rig import AT, FOLDER, TIMEOUT_S, key, make_all, openssl, pem  # noqa: E402

ECHO_SERVER, CALL = sys.argv[1:3]
# --- peers

def server_context(name="good", alpn=("h2",)):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem(name), key(name))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def echo(sock):
    """A gRPC server: answers each call with its message."""
    bodies = {}

    def behave(conn, _, event):
        if isinstance(event, h2.events.RequestReceived):
            bodies[event.stream_id] = b""
        elif isinstance(event, h2.events.DataReceived):
            bodies[event.stream_id] += event.data
        elif isinstance(event, h2.events.StreamEnded):
            conn.send_headers(event.stream_id, GRPC)
            body = bodies.pop(event.stream_id)[:16384]
            conn.send_data(event.stream_id, body if len(body) < 16384 else struct.pack(">BI", 0, 0))
            conn.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
    serve_h2(sock, behave)


def refuse_token(sock):
    """What OAP says to a wrong token: PERMISSION_DENIED, and not a word."""
    def behave(conn, _, event):
        if isinstance(event, h2.events.StreamEnded):
            conn.send_headers(event.stream_id, [*GRPC, ("grpc-status", "7")], end_stream=True)
    serve_h2(sock, behave)


def call(port, *extras, n=1, size=100, deadline_ms=150000, tls=True, env=None):
    """[answers], [events] of our client."""
    args = [CALL, str(port), "/t.Echo/unary", str(size), str(n), str(deadline_ms), "events"]
    args += (["tls"] if tls else []) + list(extras)
    done = subprocess.run(args, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=True,
                          env={**os.environ, **(env or {})})
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [x for x in lines if "status" in x], [x for x in lines if "event" in x]


class Echo:
    """Our server, with TLS."""

    def __init__(self, *args, cert="good", token=""):
        self.process = subprocess.Popen([ECHO_SERVER, token, pem(cert), key(cert), *args], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline() or 0)

    def stop(self):
        self.process.terminate()
        out, self.said = self.process.communicate(timeout=TIMEOUT_S)  # closes the pipes
        return json.loads(out.splitlines()[-1])


class ClientTest(unittest.TestCase):
    """Our client."""

    def good(self, peer, *extras, **more):
        answers, events = call(peer.port, *extras, **more)
        peer.close()
        self.assertEqual(answers[0]["status"], "OK", (answers, peer.error))
        self.assertEqual(events[0]["event"], "connected")
        return events[0]

    def bad(self, peer, *extras, expect, **more):
        answers, events = call(peer.port, *extras, **more)
        peer.close()
        self.assertEqual(answers[0]["status"], "UNAVAILABLE", answers)
        self.assertTrue(answers[0]["not_processed"])
        self.assertEqual(events[0]["event"], "failed")
        self.assertIn(expect, events[0]["words"])
        self.assertIn(expect, answers[0]["message"])
        return events[0]["words"]

    def test_speaks_tls_1_3_and_1_2(self):
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            context = server_context()
            context.minimum_version = context.maximum_version = version
            event = self.good(FakeServer(echo, context), f"ca={pem('ca')}")
            self.assertEqual(event["words"], f"{version.name.replace('_', '.')}, CN=good")
            self.assertFalse(event["insecure"])

    def test_sends_what_is_larger_than_a_record(self):
        self.good(FakeServer(echo, server_context()), f"ca={pem('ca')}", size=5 << 20)

    def test_checks_a_name_as_well_as_an_address(self):
        self.good(FakeServer(echo, server_context()), f"ca={pem('ca')}", "host=localhost")
        self.good(FakeServer(echo, server_context("other-name")), f"ca={pem('ca')}", "name=oap.example")
        self.good(FakeServer(echo, server_context("other-name")), f"ca={pem('ca')}", "name=a.oap.example")
        self.good(FakeServer(echo, server_context("cn-only")), f"ca={pem('ca')}", "host=localhost")

    def test_takes_the_peers_own_certificate_for_a_root(self):
        self.good(FakeServer(echo, server_context()), f"ca={pem('good')}")

    def test_says_which_name_was_expected_and_which_came(self):
        self.bad(FakeServer(echo, server_context("other-name")), f"ca={pem('ca')}",
                 expect="the certificate is for 'DNS:oap.example, DNS:*.oap.example, IP Address:192.0.2.1', not for "
                        "'127.0.0.1'")
        self.bad(FakeServer(echo, server_context("other-name")), f"ca={pem('ca')}", "name=a.b.oap.example",
                 expect="not for 'a.b.oap.example'")

    def test_says_since_when_a_certificate_is_old_or_from_when_it_is_valid(self):
        self.bad(FakeServer(echo, server_context("old")), f"ca={pem('ca')}",
                 expect="the certificate of 'CN=old' expired on 2020-06-01 00:00:00 UTC")
        self.bad(FakeServer(echo, server_context("young")), f"ca={pem('ca')}",
                 expect="the certificate of 'CN=young' is valid from 2049-01-01 00:00:00 UTC on only")

    def test_says_who_issued_what_it_does_not_trust(self):
        self.bad(FakeServer(echo, server_context("stranger")), f"ca={pem('ca')}",
                 expect=f"the certificate of 'CN=stranger' was issued by 'CN=other-ca', which none of the roots in "
                        f"{pem('ca')} vouches for")
        self.bad(FakeServer(echo, server_context()), expect="which none of the system's roots vouches for")

    def test_a_name_in_a_certificate_steers_no_terminal(self):
        words = self.bad(FakeServer(echo, server_context("hostile")), expect="was issued by")
        self.assertTrue(words.isprintable(), words)

    def test_takes_anyone_where_it_is_told_to_and_says_so(self):
        event = self.good(FakeServer(echo, server_context("old")), f"ca={pem('ca')}", "insecure")
        self.assertTrue(event["insecure"])
        self.assertIn("NOT VERIFIED", event["words"])
        self.assertIn("expired on 2020-06-01", event["words"])

    def test_shows_its_certificate_to_who_asks(self):
        context = server_context()
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pem("ca"))
        self.good(FakeServer(echo, context), f"ca={pem('ca')}", f"cert={pem('client')}", f"key={key('client')}")
        for version, words in ((ssl.TLSVersion.TLSv1_3, "the server asks for a client certificate"),
                               (ssl.TLSVersion.TLSv1_2, "client certificate")):
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, version
            self.bad(FakeServer(echo, context), f"ca={pem('ca')}", expect=words)
        self.bad(FakeServer(echo, context), f"ca={pem('ca')}", f"cert={pem('stranger')}", f"key={key('stranger')}",
                 expect="the server does not know who issued our certificate")

    def test_asks_for_http_2_by_alpn(self):
        self.bad(FakeServer(echo, server_context(alpn=())), f"ca={pem('ca')}", expect="does not name HTTP/2 (ALPN h2)")
        self.bad(FakeServer(echo, server_context(alpn=("http/1.1",))), f"ca={pem('ca')}", expect="(ALPN h2)")

    def test_refuses_tls_1_1(self):
        context = server_context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        self.bad(FakeServer(echo, context), f"ca={pem('ca')}", expect="TLS 1.2")

    def test_tells_plain_text_from_tls(self):
        self.bad(FakeServer(echo), f"ca={pem('ca')}", expect="the server speaks plain text: it is no port for TLS")
        self.bad(FakeServer(lambda s: s.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")), f"ca={pem('ca')}",
                 expect="the server speaks plain text")
        self.bad(FakeServer(echo, server_context()), tls=False, expect="TLS")
        self.bad(FakeServer(lambda s: s.sendall(b"\x15\x03\x01\x00\x02\x02\x46")), tls=False,
                 expect="the server speaks TLS, and plain text was sent")

    def test_garbage_and_silence_cost_no_more_than_the_call(self):
        self.bad(FakeServer(lambda s: s.sendall(b"\x16\x03\x03" + os.urandom(2000))), f"ca={pem('ca')}", expect="")
        self.bad(FakeServer(lambda s: s.close()), f"ca={pem('ca')}", expect="")
        quiet = threading.Event()
        peer = FakeServer(lambda s: quiet.wait(TIMEOUT_S))
        answers, _ = call(peer.port, f"ca={pem('ca')}", deadline_ms=300)
        quiet.set()
        self.assertEqual(answers[0]["status"], "DEADLINE_EXCEEDED")
        self.assertTrue(answers[0]["not_processed"])

    def test_cut_at_each_byte_of_the_handshake(self):
        """What a good server says, cut short at some places."""
        for n in (1, 5, 6, 50, 130, 400):
            def cut(sock, n=n):
                hello = sock.recv(65536)
                inner = socket.create_connection(("127.0.0.1", whole.port), TIMEOUT_S)
                inner.sendall(hello)
                said = b""
                while len(said) < n:
                    said += inner.recv(n - len(said))
                sock.sendall(said)
                inner.close()
            whole = FakeServer(echo, server_context())
            self.bad(FakeServer(cut), f"ca={pem('ca')}", expect="")
            whole.close()

    def test_files_that_will_not_do(self):
        peer = FakeServer(echo, server_context())
        shutil.copy(key("client"), key("open"))
        os.chmod(key("open"), 0o644)
        openssl("ec", "-in", key("client"), "-aes128", "-passout", "pass:x", "-out", key("locked"))
        os.chmod(key("locked"), 0o600)
        (AT / "empty.pem").write_text("nothing\n", encoding="utf-8")
        ca, cert = f"ca={pem('ca')}", f"cert={pem('client')}"
        for extras, words in (
                ((ca, cert, f"key={key('open')}"), "everyone on this machine may read it: chmod o-r"),
                ((ca, cert, f"key={key('good')}"), "is not that of the certificate"),
                ((ca, cert, f"key={key('locked')}"), "no PEM key without a passphrase is in it"),
                ((ca, cert, "key=/nowhere"), "cannot use the key '/nowhere': No such file or directory"),
                ((ca, cert), "key_file is not set"),
                ((ca, f"key={key('client')}"), "cert_file is not set"),
                (("ca=/nowhere",), "cannot use the roots '/nowhere': No such file or directory"),
                ((f"ca={pem('empty')}",), "cannot use the roots"),
                ((ca, f"cert={pem('empty')}", f"key={key('client')}"), "cannot use the certificate")):
            answers, events = call(peer.port, *extras)
            self.assertEqual(answers[0]["status"], "UNAVAILABLE")
            self.assertIn(words, events[0]["words"])
        peer.close()

    def test_no_proxy_of_the_environment_is_used(self):
        asked = []
        proxy = FakeServer(lambda s: asked.append(s.recv(100)))
        env = {name: f"http://127.0.0.1:{proxy.port}" for plain in
               ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy") for name in (plain, plain.upper())}
        for extras, context in ((["tls", f"ca={pem('ca')}"], server_context()), ([], None)):
            self.good(FakeServer(echo, context), *extras, tls=False, env=env)
        self.assertEqual(asked, [])
        proxy.close()

    def test_says_which_token_was_refused(self):
        token = AT / "token"
        token.write_text("hush-hush\n", encoding="utf-8")
        os.chmod(token, 0o600)
        for extras, words in (((), "none is set"), (("token=hush-hush",), "the one that is set"),
                              ((f"token_file={token}",), f"the one in {token}")):
            peer = FakeServer(refuse_token)
            answers, events = call(peer.port, *extras, n=2, tls=False)
            peer.close()
            self.assertEqual([a["status"] for a in answers], ["PERMISSION_DENIED"] * 2)
            self.assertEqual(answers[0]["message"], f"the token was refused ({words})")
            self.assertEqual([(e["event"], e["words"]) for e in events[1:]], [("refused", words)])
            self.assertNotIn("hush", str(answers) + str(events))

    def test_reads_the_token_anew_when_it_was_refused(self):
        token = AT / "token-2"
        token.write_text("wrong", encoding="utf-8")
        os.chmod(token, 0o600)
        server = Echo(token="right")
        step = subprocess.Popen([CALL, str(server.port), "/t.Echo/unary", "1", "3", "150000", "tls", "step",
                                 f"ca={pem('ca')}", f"token_file={token}"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)

        def one():
            step.stdin.write("\n")
            step.stdin.flush()
            return json.loads(step.stdout.readline())["status"]
        self.assertEqual(one(), "PERMISSION_DENIED")
        token.write_text("right\n", encoding="utf-8")
        self.assertEqual(one(), "PERMISSION_DENIED")  # still with the old one, which it then drops
        self.assertEqual(one(), "OK")
        step.communicate(timeout=TIMEOUT_S)
        server.stop()


class ServerTest(unittest.TestCase):
    """Our server."""

    def client(self, server, context, fails=None):
        """Shakes hands; then the server's SETTINGS must come, or the connection must end."""
        sock = socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S)
        try:
            sock = context.wrap_socket(sock, server_hostname="localhost")
            sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            data = sock.recv(100)
        except (OSError, ssl.SSLError):
            data = b""
        sock.close()
        self.assertEqual(data[3:4] == b"\4", not fails, data)

    def context(self, alpn=("h2",), cert=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(pem("ca"))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if cert:
            context.load_cert_chain(pem(cert), key(cert))
        return context

    def end(self, server, *words, failed=None):
        stats = server.stop()
        for w in words:
            self.assertIn(w, server.said)
        if failed is not None:
            self.assertEqual(stats["handshakes_failed"], failed)

    def test_speaks_to_a_client_that_is_not_ours_and_to_ours(self):
        server = Echo()
        self.client(server, self.context())
        answers, _ = call(server.port, f"ca={pem('ca')}", n=3, size=900000)
        self.assertEqual([a["status"] for a in answers], ["OK"] * 3)
        self.assertEqual([a["encoding"] for a in answers], ["identity", "zstd", "zstd"])
        self.end(server, failed=0)

    def test_says_what_it_did_not_like(self):
        server = Echo()
        self.client(server, self.context(alpn=()), fails=True)
        self.client(server, self.context(alpn=("http/1.1",)), fails=True)
        old = self.context()
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        self.client(server, old, fails=True)
        weak = self.context()
        weak.maximum_version = ssl.TLSVersion.TLSv1_2
        weak.set_ciphers("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
        self.client(server, weak, fails=True)
        for said in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", os.urandom(1) * 3000):
            with socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as sock:
                sock.sendall(said)
                try:
                    while sock.recv(100):
                        pass
                except OSError:
                    pass
        with socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S):
            pass  # only looks whether the port is open
        answers, _ = call(server.port, f"ca={pem('ca')}")
        self.assertEqual(answers[0]["status"], "OK")
        self.end(server, "127.0.0.1: the peer speaks TLS, but does not name HTTP/2 (ALPN h2)",
                 "the client offers other protocols than HTTP/2", "the client offers no TLS newer than 1.1",
                 "no cipher that HTTP/2 allows", "the client speaks plain text on the port for TLS", failed=7)

    def test_tells_tls_on_a_plain_port(self):
        server = subprocess.Popen([ECHO_SERVER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        answers, _ = call(int(server.stdout.readline()), f"ca={pem('ca')}")
        self.assertIn("the server speaks plain text", answers[0]["message"])
        words = "the client speaks TLS on a port for plain text"
        self.assertTrue(any(words in line for line in server.stderr))  # it may say so a moment behind its answer
        server.terminate()
        server.communicate(timeout=TIMEOUT_S)

    def test_asks_clients_for_their_certificate(self):
        server = Echo(pem("ca"))
        self.client(server, self.context(cert="client"))
        self.client(server, self.context(), fails=True)
        self.client(server, self.context(cert="stranger"), fails=True)
        self.client(server, self.context(cert="old"), fails=True)
        answers, _ = call(server.port, f"ca={pem('ca')}", f"cert={pem('client')}", f"key={key('client')}")
        self.assertEqual(answers[0]["status"], "OK")
        answers, _ = call(server.port, f"ca={pem('ca')}")
        self.assertIn("the server asks for a client certificate", answers[0]["message"])
        self.end(server, "the client sent no certificate, and one is required",
                 "'CN=stranger' was issued by 'CN=other-ca'", "'CN=old' expired on 2020-06-01", failed=4)

    def test_asks_but_does_not_insist(self):
        server = Echo(pem("ca"), "request")
        self.client(server, self.context(cert="client"))
        self.client(server, self.context())
        self.client(server, self.context(cert="stranger"), fails=True)
        self.end(server, failed=1)

    def test_renegotiates_never(self):
        server = Echo()
        client = subprocess.Popen(["openssl", "s_client", "-tls1_2", "-alpn", "h2", "-connect",
                                   f"127.0.0.1:{server.port}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, bufsize=0)
        with client:
            timer = threading.Timer(TIMEOUT_S, client.kill)
            timer.start()
            said, byte = b"", b" "
            while byte not in (b"\4", b""):  # a type of frame, SETTINGS: s_client bears no data between handshakes
                byte = client.stdout.read(1)
                said += byte
            if byte:
                client.stdin.write(b"R\n")
            said += client.stdout.read()  # the refusal ends it. The end of its input would too, before the answer
            timer.cancel()
        self.assertIn(b"no renegotiation", said)
        self.end(server)

    def test_keeps_no_session(self):
        server = Echo()
        context = self.context()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context.maximum_version = version
            with socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as sock:
                tls = context.wrap_socket(sock, server_hostname="localhost")
                tls.recv(1)  # of its SETTINGS: a ticket would have come before
                self.assertFalse(tls.session and tls.session.has_ticket)
                tls.close()
        self.end(server)

    def test_uses_new_files_at_the_next_connection_and_keeps_the_old_over_bad_ones(self):
        for kind in (pem, key):
            shutil.copy(kind("good"), kind("served"))
        server = Echo(cert="served")

        def subject():
            _, events = call(server.port, f"ca={pem('ca')}")
            return events[0]["words"].split(", ")[1]

        def wait_for(name):
            end = time.monotonic() + TIMEOUT_S
            while subject() != name:
                self.assertLess(time.monotonic(), end)
                time.sleep(0.1)
        self.assertEqual(subject(), "CN=good")
        shutil.copy(pem("renewed"), pem("served"))  # its key is not there yet
        for _ in range(2):
            time.sleep(1.1)  # it looks once a second
            self.assertEqual(subject(), "CN=good")
        shutil.copy(key("renewed"), key("served"))
        wait_for("CN=renewed")
        self.end(server, "is not that of the certificate")
        self.assertEqual(server.said.count("is not that of the certificate"), 1)  # not at each look


if __name__ == "__main__":
    make_all()
    try:
        unittest.main(argv=sys.argv[:1] + sys.argv[3:], warnings="ignore")  # TLS 1.1, to be refused
    finally:
        FOLDER.cleanup()
