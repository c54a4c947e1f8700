#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The programs by TLS: sonde-server's two ports, sonde-agent's backend, sonde's --ca; what --check-config says of each.

server-tls.py SONDE_SERVER RULES_FOLDER SONDE_AGENT SONDE
"""
import http.client
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from server_rig import Server, wait_for  # noqa: E402
from tls_rig import AT, FOLDER, TIMEOUT_S, key, make_all, openssl, pem  # noqa: E402

PROGRAM, RULES, AGENT, SONDE = sys.argv[1:5]
PROXIES = {name: "http://127.0.0.1:1" for plain in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
           for name in (plain, plain.upper())}


def secret(name, text):
    path = AT / name
    path.write_text(text, encoding="utf-8")
    os.chmod(path, 0o600)
    return str(path)


def tls_flags(port, cert="good", ca=None, require=True):
    flags = [f"--{port}-tls-cert-file", pem(cert), f"--{port}-tls-key-file", key(cert)]
    if ca:
        flags += [f"--{port}-tls-client-ca-file", pem(ca), f"--{port}-tls-require-client={str(require).lower()}"]
    return flags


def check(program, env=None, **keys):
    """What --check-config says of these keys; None where it is content."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in keys.items()]
    done = subprocess.run([program, "--check-config", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=TIMEOUT_S, check=False, env={**os.environ, **(env or {})})
    return done.stderr if done.returncode else None


class RestTest(unittest.TestCase):
    """https of the server, by Python's ssl and by our command line."""

    def setUp(self):
        self.servers = []

    def tearDown(self):
        for server in self.servers:
            server.close()

    def server(self, *flags):
        self.servers.append(Server(PROGRAM, RULES, *flags))
        return self.servers[-1]

    def get(self, server, cert=None, path="/api/v1/server", headers=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(pem("ca"))
        if cert:
            context.load_cert_chain(pem(cert), key(cert))
        connection = http.client.HTTPSConnection("localhost", server.http, timeout=TIMEOUT_S, context=context)
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        connection.close()
        return answer.status, body

    def sonde(self, server, *args, scheme="https", env=None, inside=()):
        done = subprocess.run([*inside, SONDE, "--server", f"{scheme}://localhost:{server.http}", "targets", "list", *args],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False,
                              env={**os.environ, **PROXIES, **(env or {})})
        return done.returncode, done.stderr

    def test_answers_who_checks_its_certificate(self):
        server = self.server(*tls_flags("http"))
        for _ in range(3):
            self.assertEqual(self.get(server)[0], 200)
        self.assertEqual(self.sonde(server, "--ca", pem("ca"))[0], 0)
        status, words = self.sonde(server)
        self.assertNotEqual(status, 0)
        self.assertIn("unable to get local issuer certificate (see --ca)", words)
        status, words = self.sonde(server, "--ca", pem("other-ca"))
        self.assertNotEqual(status, 0)

    @unittest.skipIf(os.geteuid() != 0, "a mount namespace needs root")
    def test_trusts_the_roots_of_ca_alone(self):
        """Not those of the system's folder beside them: here it holds the one that the server has."""
        server = self.server(*tls_flags("http"))
        system = AT / "system-roots"
        system.mkdir()
        shutil.copy(pem("ca"), system / "ca.pem")
        shutil.copy(pem("other-ca"), system / "ca-certificates.crt")  # the file that libcurl would miss
        openssl("rehash", str(system))
        inside = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/ssl/certs && exec "$@"', str(system))
        status, words = self.sonde(server, inside=inside)
        self.assertEqual(status, 0, words)
        status, words = self.sonde(server, "--ca", pem("other-ca"), inside=inside)
        self.assertNotEqual(status, 0)
        self.assertIn("unable to get local issuer certificate (see --ca)", words)

    def test_tells_the_wrong_scheme(self):
        status, words = self.sonde(self.server(*tls_flags("http")), scheme="http")
        self.assertNotEqual(status, 0)
        self.assertIn("(it may speak https)", words)
        status, words = self.sonde(self.server(), "--ca", pem("ca"))
        self.assertNotEqual(status, 0)
        self.assertIn("(it may speak plain http)", words)

    def test_speaks_nothing_older_than_tls_1_2(self):
        server = self.server(*tls_flags("http"))
        for version, good in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True),
                              (ssl.TLSVersion.TLSv1_3, True)):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(pem("ca"))
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
            with socket.create_connection(("127.0.0.1", server.http), TIMEOUT_S) as sock:
                try:
                    with context.wrap_socket(sock, server_hostname="localhost"):
                        self.assertTrue(good)
                except (ssl.SSLError, ConnectionError):
                    self.assertFalse(good)
        with socket.create_connection(("127.0.0.1", server.http), TIMEOUT_S) as sock:
            sock.sendall(os.urandom(3000))  # and goes on behind garbage
        self.assertEqual(self.get(server)[0], 200)

    def test_asks_clients_for_their_certificate(self):
        server = self.server(*tls_flags("http", ca="ca"))
        status, body = self.get(server)
        self.assertEqual((status, body["detail"]), (403, "a client certificate is needed"))
        for cert in ("stranger", "old", "server-only"):
            status, body = self.get(server, cert)
            self.assertEqual(status, 403)
            self.assertIn("the client certificate: ", body["detail"])
        self.assertEqual(self.get(server, "client")[0], 200)
        own = ("--cert", pem("client"), "--key", key("client"))
        self.assertEqual(self.sonde(server, "--ca", pem("ca"), *own)[0], 0)
        self.assertNotEqual(self.sonde(server, "--ca", pem("ca"))[0], 0)

        server = self.server(*tls_flags("http", ca="ca", require=False))
        self.assertEqual(self.get(server)[0], 200)
        self.assertEqual(self.get(server, "stranger")[0], 403)

    def test_a_certificate_says_who_it_is_and_may_do_what_its_role_may(self):
        for role, status in (("view", 403), ("operate", 404)):
            server = self.server(*tls_flags("http", ca="ca"), "--http-tls-client-role", role)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(pem("ca"))
            context.load_cert_chain(pem("client"), key("client"))
            connection = http.client.HTTPSConnection("localhost", server.http, timeout=TIMEOUT_S, context=context)
            connection.request("POST", "/api/v1/tasks/none/stop", "{}", {"Content-Type": "application/json"})
            self.assertEqual(connection.getresponse().status, status)
            connection.close()
            self.assertEqual(self.get(server, "client")[0], 200)
            entries = wait_for("an entry", lambda: self.get(server, "client", "/api/v1/audit")[1]["entries"])
            self.assertEqual([(e["who"], e["role"], e["status"]) for e in entries], [("certificate client", role, status)])

    def test_reads_its_token_from_a_file(self):
        server = self.server(*tls_flags("http"), "--token-file", secret("server-token", "hush-hush\n"))
        self.assertEqual(self.get(server)[0], 401)
        self.assertEqual(self.get(server, headers={"Authorization": "Bearer hush-hush"})[0], 200)
        self.assertEqual(self.sonde(server, "--ca", pem("ca"), env={"SONDE_TOKEN": "hush-hush"})[0], 0)
        self.assertNotIn("hush", server.log())


class AgentTest(unittest.TestCase):
    """sonde-agent and its backend, by the lines that an operator sees."""

    def run_agent(self, server, until, *flags, **keys):
        """The log up to the line that @until names."""
        keys = {"backend_addresses": f"localhost:{server.grpc}", "backend_tls_enabled": "true",
                "backend_tls_ca_file": pem("ca"), **keys}
        state = tempfile.mkdtemp(prefix="sonde-tls-agent-", dir=AT)
        args = [f"--{name.replace('_', '-')}={value}" for name, value in keys.items()]
        with open(AT / "agent.log", "w", encoding="utf-8") as log:
            agent = subprocess.Popen([AGENT, "--state-dir", state, *args, *flags], stderr=log,
                                     env={**os.environ, **PROXIES})
        end = time.monotonic() + TIMEOUT_S
        said = ""
        while until not in said and agent.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
            said = (AT / "agent.log").read_text(encoding="utf-8")
        agent.terminate()
        agent.wait(TIMEOUT_S)
        self.assertIn(until, said)
        self.assertNotIn("hush", said)
        return said

    def test_connects_with_a_certificate_of_its_own_and_a_token_out_of_a_file(self):
        server = Server(PROGRAM, RULES, *tls_flags("grpc", ca="ca"), "--token-file", secret("t1", "hush-hush"))
        own = {"backend_tls_cert_file": pem("client"), "backend_tls_key_file": key("client")}
        said = self.run_agent(server, "connected to backend", **own,
                              backend_authentication_file=secret("t2", "hush-hush\n"))
        self.assertIn(f"connected to backend localhost:{server.grpc}: TLSv1.3, CN=good", said)
        self.assertNotIn("refused", said)
        port = server.grpc
        said = self.run_agent(server, "refused the token", **own)
        self.assertIn(f"backend localhost:{port} refused the token (none is set): set backend.authentication", said)
        self.assertEqual(said.count("refused the token"), 1)
        said = self.run_agent(server, "cannot connect to backend")
        self.assertIn("the server asks for a client certificate: cert_file and key_file are needed", said)
        wait_for("the server's words", lambda: "the client sent no certificate, and one is required" in server.log())
        self.assertNotIn("hush", server.log())
        self.assertEqual(server.close(), 0)

    def test_goes_on_to_the_next_address_and_warns_where_nobody_is_verified(self):
        server = Server(PROGRAM, RULES, *tls_flags("grpc", cert="other-name"))
        dead = socket.socket()  # nobody listens, and nobody else can
        self.addCleanup(dead.close)
        dead.bind(("127.0.0.1", 0))
        port = dead.getsockname()[1]
        said = self.run_agent(server, "connected to backend", backend_tls_server_name="oap.example",
                              backend_addresses=f"127.0.0.1:{port},localhost:{server.grpc}")
        self.assertIn(f"cannot connect to backend 127.0.0.1:{port}: Connection refused", said)
        said = self.run_agent(server, "cannot connect to backend")
        self.assertIn("the certificate is for 'DNS:oap.example, DNS:*.oap.example, IP Address:192.0.2.1', not for "
                      "'localhost'", said)
        said = self.run_agent(server, "connected to backend", "--backend-tls-insecure-skip-verify")
        self.assertIn("level=warning msg=\"connected to backend", said)
        self.assertIn("NOT VERIFIED (insecure_skip_verify): the certificate is for", said)
        said = self.run_agent(server, "cannot connect to backend", backend_tls_enabled="false", backend_tls_ca_file="")
        self.assertIn("it may ask for TLS", said)
        self.assertEqual(server.close(), 0)


class CheckTest(unittest.TestCase):
    """--check-config: everything that can be known without a connection."""

    def test_of_the_agent(self):
        def good(**keys):
            self.assertIsNone(check(AGENT, **keys))

        def bad(words, env=None, **keys):
            said = check(AGENT, env, **keys)
            self.assertIsNotNone(said, words)
            self.assertIn(words, said)
            self.assertNotIn("hush", said)
        tls = {"backend_tls_enabled": "true", "backend_tls_ca_file": pem("ca")}
        own = {"backend_tls_cert_file": pem("client"), "backend_tls_key_file": key("client")}
        good()
        good(**tls, **own, backend_tls_server_name="oap.example")
        good(backend_addresses="oap-1:11800,[::1]:11800,10.0.0.1:11800", backend_order="random", backend_max_age="30m")
        good(backend_authentication_file=secret("t3", "hush-hush"))
        for address in ("oap", "::1:11800", "oap:0", "http://oap:11800", "[fe80::1%]:1"):
            bad("backend.addresses[1]: HOST:PORT was expected", backend_addresses=f"a:1,{address}")
        bad("backend.host: a name or an address was expected", backend_host="a b")
        bad("keys are set, and backend.tls.enabled is false", backend_tls_ca_file=pem("ca"))
        bad("keys are set, and backend.tls.enabled is false", backend_tls_insecure_skip_verify="true")
        bad("backend.tls: cannot use the roots '/nowhere': No such file or directory", **{**tls,
            "backend_tls_ca_file": "/nowhere"})
        bad("key_file is not set", **tls, backend_tls_cert_file=pem("client"))
        bad("is not that of the certificate", **tls, **{**own, "backend_tls_key_file": key("good")})
        shutil.copy(key("client"), key("open"))
        os.chmod(key("open"), 0o644)
        bad("everyone on this machine may read it: chmod o-r", **tls, **{**own, "backend_tls_key_file": key("open")})
        bad("backend.tls.server_name: '.oap.example' names no host", **tls, backend_tls_server_name=".oap.example")
        bad("are both set", {"SONDE_AGENT_BACKEND_AUTHENTICATION": "hush"},
            backend_authentication_file=secret("t4", "hush"))
        bad("cannot read '/nowhere': No such file", backend_authentication_file="/nowhere")
        os.chmod(secret("t5", "hush"), 0o644)
        bad("everyone on this machine may read it", backend_authentication_file=AT / "t5")
        bad("it is no regular file, or empty", backend_authentication_file=secret("t6", "\n"))
        bad("holds what no header may", backend_authentication_file=secret("t7", "hush\nhush"))

    def test_of_the_server(self):
        def bad(words, **keys):
            said = check(PROGRAM, **keys)
            self.assertIsNotNone(said, words)
            self.assertIn(words, said)
        self.assertIsNone(check(PROGRAM, grpc_tls_cert_file=pem("good"), grpc_tls_key_file=key("good"),
                                grpc_tls_client_ca_file=pem("ca"), http_tls_cert_file=pem("good"),
                                http_tls_key_file=key("good")))
        openssl("ec", "-in", key("good"), "-aes128", "-passout", "pass:x", "-out", key("locked"))
        os.chmod(key("locked"), 0o600)
        for port in ("grpc", "http"):
            def keys(cert=None, secret_key=None, ca=None, p=port):
                found = {"cert_file": cert, "key_file": secret_key, "client_ca_file": ca}
                return {f"{p}_tls_{name}": value for name, value in found.items() if value}
            bad(f"key '{port}.tls': a certificate and its key are both needed: key_file is not set",
                **keys(cert=pem("good")))
            bad("cert_file is not set", **keys(ca=pem("ca")))
            bad("is not that of the certificate", **keys(pem("good"), key("client")))
            bad("no PEM key without a passphrase is in it", **keys(pem("good"), key("locked")))
            bad("cannot use the roots '/nowhere'", **keys(pem("good"), key("good"), "/nowhere"))
        bad("key 'token_file': cannot read '/nowhere'", token_file="/nowhere")


if __name__ == "__main__":
    make_all()
    try:
        unittest.main(argv=sys.argv[:1] + sys.argv[5:], warnings="ignore")  # TLS 1.1, to be refused
    finally:
        FOLDER.cleanup()
