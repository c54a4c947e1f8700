#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Backends that vanish without a word (nftables drops every packet, in a network namespace of the test's own) and that
stop reading (SIGSTOP): the client finds out, and goes to the next address.

half-open.py ECHO_SERVER CALL: the two test programs of this folder.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

ECHO_SERVER, CALL = sys.argv[1:3]
TIMEOUT_S = 60  # a test that hangs, not a measure
INSIDE = "SONDE_TEST_HALF_OPEN"
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"


def tool(*args, text=None):
    return subprocess.run([shutil.which(args[0], path=PATH), *map(str, args[1:])], input=text, check=True,
                          stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S).stdout


def enter_namespace():
    """Runs this program again in a network namespace that ends with it."""
    for name in ("unshare", "nft", "ip", "ss"):
        if not shutil.which(name, path=PATH):
            print(f"{name} is missing")
            sys.exit(77)
    unshare = [shutil.which("unshare", path=PATH), "--net", "--"]
    if os.geteuid() != 0 or subprocess.run([*unshare, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        print("no network namespace may be made here")
        sys.exit(77)
    os.environ[INSIDE] = "1"
    os.execv(unshare[0], [*unshare, sys.executable, *sys.argv])


class Server:
    def __init__(self):
        self.process = subprocess.Popen([ECHO_SERVER], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.communicate(timeout=TIMEOUT_S)


class Client:
    """A call at each step."""

    def __init__(self, *servers, size=10, deadline_ms=4000):
        self.process = subprocess.Popen(
            [CALL, "1", "/t.Echo/stream", str(size), "100", str(deadline_ms), "events", "step", "timeout=3000",
             *(f"address=127.0.0.1:{s.port}" for s in servers)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.events = []

    def read_line(self):
        """One that is not written within the limit ends the program, and so the waiting."""
        timer = threading.Timer(TIMEOUT_S, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        assert line, "the client ended, or said nothing"
        return line

    def call(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        while True:
            line = json.loads(self.read_line())
            if "status" in line:
                return line
            self.events.append((line["event"], int(line["address"].split(":")[1]), line["words"]))

    def call_until_ok(self):
        """Over the back-off."""
        end = time.monotonic() + TIMEOUT_S
        while self.call()["status"] != "OK":
            assert time.monotonic() < end
            time.sleep(0.1)

    def said(self, kind, server):
        return [words for k, port, words in self.events if (k, port) == (kind, server.port)]

    def end(self):
        self.process.stdin.close()
        self.process.wait(TIMEOUT_S)
        self.process.stdout.close()


def drop(server):
    tool("nft", "-f", "-", text=f"""table inet sonde {{
        chain c {{
            type filter hook output priority 0
            tcp dport {server.port} drop
            tcp sport {server.port} drop
        }}
    }}
    """)


def pass_again():
    tool("nft", "delete", "table", "inet", "sonde")


class HalfOpenTest(unittest.TestCase):
    def setUp(self):
        self.servers = [Server(), Server()]

    def tearDown(self):
        for server in self.servers:
            server.end()

    def test_a_backend_that_vanishes_is_left_at_the_first_deadline(self):
        first, second = self.servers
        client = Client(first, second)
        client.call_until_ok()
        self.assertEqual(client.said("connected", first), ["plain text"])
        drop(first)
        answer = client.call()
        self.assertEqual(answer["status"], "DEADLINE_EXCEEDED")
        self.assertFalse(answer["not_processed"])  # it may have arrived, for all one knows
        client.call_until_ok()
        self.assertEqual(client.said("lost", first), ["nothing is acknowledged any more"])
        self.assertEqual(client.said("connected", second), ["plain text"])
        self.assertEqual(client.said("failed", first), [])  # it was not tried first again

        # The second goes the usual way; the first one's address costs its time-out, and then is back.
        second.end()
        end = time.monotonic() + TIMEOUT_S
        while not client.said("failed", first):
            self.assertNotEqual(client.call()["status"], "OK")
            self.assertLess(time.monotonic(), end)
            time.sleep(0.1)
        self.assertEqual(client.said("failed", first)[0], "Connection timed out")
        pass_again()
        client.call_until_ok()
        self.assertEqual(len(client.said("connected", first)), 2)
        client.end()

    def test_a_backend_that_stops_reading_is_left_after_two_or_three(self):
        first, second = self.servers
        client = Client(first, second, size=900000)
        client.call_until_ok()
        first.process.send_signal(signal.SIGSTOP)
        for _ in range(2):  # a third where the first one's last bytes came late
            self.assertEqual(client.call()["status"], "DEADLINE_EXCEEDED")
        client.call_until_ok()
        self.assertEqual(len(client.said("connected", second)), 1)
        self.assertEqual(len(client.said("lost", first)), 1)
        client.end()

    def test_the_kernel_looks_after_idle_connections_and_no_ping_does(self):
        first, _ = self.servers
        client = Client(first)
        client.call_until_ok()
        end, timer = time.monotonic() + TIMEOUT_S, None
        while not timer:  # until its last bytes are acknowledged there is another one
            lines = tool("ss", "-tnoH", "state", "established", "dport", "=", f":{first.port}").splitlines()
            self.assertEqual(len(lines), 1)
            timer = re.search(r"timer:\(keepalive,(\d+)(min|sec)", lines[0])
            self.assertTrue(timer or time.monotonic() < end, lines[0])
        self.assertTrue(timer[2] == "sec" or timer[1] == "1", lines[0])
        client.end()


if __name__ == "__main__":
    if INSIDE not in os.environ:
        enter_namespace()
    tool("ip", "link", "set", "lo", "up")
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], warnings="ignore")
