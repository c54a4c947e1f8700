#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who may do what on sonde-server, what the audit log says of it, and that no secret gets out.

server-access.py SONDE_SERVER RULES_FOLDER [SONDE_AGENT SONDE]
"""
import base64
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from server_rig import TIMEOUT_S, Agent, Server, wait_for  # noqa: E402

sys.argv[1:] = [os.path.abspath(a) for a in sys.argv[1:]]
PROGRAM, RULES = sys.argv[1:3]
OK, DENIED = 0, 7
SECRETS = {"agents": "s3cret-of-agents", "alice": "s3cret-of-alice", "wall": "s3cret-of-the-wall"}


def tokens_file(folder):
    """A config with a token of the agents, one that operates and one that views."""
    folder = pathlib.Path(folder)
    for name, secret in SECRETS.items():
        (folder / name).write_text(secret + "\n", encoding="utf-8")
        (folder / name).chmod(0o600)
    path = folder / "server.yaml"
    path.write_text(f"token_file: {folder}/agents\nhttp:\n  tokens:\n  - {{ name: alice, role: operate, file: {folder}/alice }}\n"
                    f"  - {{ name: wall, role: view, file: {folder}/wall }}\n", encoding="utf-8")
    return path


class WithTokens(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="sonde-access-")
        self.addCleanup(self.folder.cleanup)
        self.config = tokens_file(self.folder.name)
        self.server = Server(PROGRAM, RULES, "--config", str(self.config), folder=self.folder)
        self.agent = Agent(self.server, token=SECRETS["agents"])
        self.assertEqual(self.agent.report_processes(("web", "nginx", 42)).status, OK)

    def tearDown(self):
        self.agent.close()
        self.assertEqual(self.server.end(), 0)

    def ask(self, who, method, path, body=None):
        headers = {"Authorization": f"Bearer {SECRETS.get(who, who)}"} if who else {}
        return self.server.request(method, path, body, headers=headers)

    def begin(self, path, secret, kind):
        """A request whose body does not come, once the server waits for it."""
        client = socket.create_connection(("127.0.0.1", self.server.http), TIMEOUT_S)
        self.addCleanup(client.close)
        client.sendall((f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nContent-Type: {kind}\r\n"
                        "Content-Length: 9\r\nExpect: 100-continue\r\n\r\n").encode())
        self.assertIn(b" 100 ", client.recv(1024))
        return client

    def audit(self, query=""):
        status, _, body = self.ask("wall", "GET", f"/api/v1/audit{query}")
        self.assertEqual(status, 200)
        return body

    def entries(self, n):
        """@n of them: they are written behind."""
        return wait_for(f"{n} entries", lambda: len(e := self.audit()["entries"]) >= n and e)


class Roles(WithTokens):
    def test_view_reads_and_operate_changes(self):
        task = {"targets": [{"service": "web"}], "durationMs": 60000}
        status, _, body = self.ask("wall", "POST", "/api/v1/tasks", task)
        self.assertEqual((status, body["title"]), (403, "Forbidden"))
        self.assertIn("token wall may view", body["detail"])
        status, _, made = self.ask("alice", "POST", "/api/v1/tasks", task)
        self.assertEqual(status, 201)
        one = f"/api/v1/tasks/{made['id']}"
        for path in ("/api/v1/tasks", one, one + "/topology", one + "/ledger", "/api/v1/targets", "/api/v1/agents",
                     "/api/v1/server", "/api/v1/policies", "/ui-management/templates", "/api/v1/audit"):
            for who in ("wall", "alice"):
                self.assertEqual(self.ask(who, "GET", path)[0], 200, (who, path))
        for method, path, body in (("POST", one + "/stop", {}), ("POST", one + "/extend", {"duration_ms": 1}), ("DELETE", one, None),
                                   ("PUT", "/api/v1/policies/web", {}), ("DELETE", "/api/v1/policies/web", None),
                                   ("POST", "/ui-management/templates", {"configuration": "{}"}),
                                   ("PUT", "/ui-management/templates", {"id": "x", "configuration": "{}"}),
                                   ("POST", "/what/ever", {})):
            self.assertEqual(self.ask("wall", method, path, body)[0], 403, (method, path))
        self.assertEqual(self.ask("alice", "POST", one + "/extend", {"duration_ms": 1000})[0], 202)
        self.assertEqual(self.ask("wall", "POST", "/api/v1/plan", task)[0], 200)  # asks, and changes nothing
        self.assertEqual(self.ask("alice", "POST", one + "/stop", {})[0], 202)

    def test_each_interface_has_its_own_tokens(self):
        for who in (None, "agents", "s3cret-of-alicf", "s3cret-of-alic", "s3cret-of-alice2", ""):
            status, _, body = self.ask(who, "GET", "/api/v1/tasks")
            self.assertEqual((status, body["title"]), (401, "Unauthorized"), who)
        for who in ("alice", "wall"):
            agent = Agent(self.server, token=SECRETS[who])
            self.assertEqual(agent.report_processes(("web", "nginx", 43)).status, DENIED)
            agent.close()

    def test_a_probe_without_a_token_learns_that_it_is_alive_and_is_no_refusal(self):
        for who in (None, "wrong", "wall"):
            self.assertEqual(self.ask(who, "GET", "/healthz")[::2], (200, {"status": "ok"}), who)
        for method, path in (("POST", "/healthz"), ("GET", "/healthz/"), ("GET", "/healthz/../metrics"), ("GET", "/metrics")):
            self.assertEqual(self.ask(None, method, path, {} if method == "POST" else None)[0], 401, (method, path))
        actions = [e["action"] for e in self.entries(4)]
        self.assertEqual(sorted(actions), ["GET /healthz/", "GET /healthz/../metrics", "GET /metrics", "POST /healthz"])
        self.assertNotIn("GET /healthz:", self.server.log())

    def test_graphql_reads_for_all_and_changes_for_those_who_operate(self):
        query = {"query": "query { version }"}
        self.assertEqual(set(self.ask("wall", "POST", "/graphql", query)[2]), {"data"})
        change = {"query": "mutation { x: keepEBPFNetworkProfiling(taskId: \"nope\") { status errorReason } }"}
        answer = self.ask("wall", "POST", "/graphql", change)[2]
        self.assertIn("the role operate is needed", answer["errors"][0]["message"])
        answer = self.ask("alice", "POST", "/graphql", change)[2]
        self.assertEqual(answer["data"]["x"]["status"], False)  # it was asked, and there is no such task
        web = base64.b64encode(b"web").decode() + ".1"
        policy = {"query": "mutation ($r: ContinuousProfilingPolicyCreation!) { x: setContinuousProfilingPolicy(request: $r) { status } }",
                  "variables": {"r": {"serviceId": web, "targets": [{"targetType": "NETWORK", "checkItems": [
                      {"type": "PROCESS_CPU", "threshold": "75", "period": 10, "count": 3}]}]}}}
        self.assertTrue(self.ask("alice", "POST", "/graphql", policy)[2]["data"]["x"]["status"])
        create = {"query": "mutation ($r: EBPFProfilingNetworkTaskRequest!) { x: createEBPFNetworkProfiling(request: $r) { id } }",
                  "variables": {"r": {"instanceId": f"{web}_{base64.b64encode(b'i').decode()}", "samplings": []}}}
        made = self.ask("alice", "POST", "/graphql", create)[2]["data"]["x"]["id"]
        told = [(e["action"], e["subject"], e["status"], e["words"]) for e in reversed(self.entries(4))]
        self.assertEqual(told[1:], [
            ("graphql.keepEBPFNetworkProfiling", "nope", 200, "there is no such task"),
            ("graphql.setContinuousProfilingPolicy", "web", 200, ""),
            ("graphql.createEBPFNetworkProfiling", made, 200, "")])
        actions = [(e["who"], e["action"], e["status"]) for e in self.entries(2)]
        self.assertIn(("token wall", "graphql.keepEBPFNetworkProfiling", 403), actions)
        self.assertIn(("token alice", "graphql.keepEBPFNetworkProfiling", 200), actions)

    def test_only_those_who_may_import_hold_others_up(self):
        def imported(who):
            headers = {"Content-Type": "application/zstd", "Authorization": f"Bearer {SECRETS.get(who, who)}"}
            return self.server.request("POST", "/api/v1/import", raw=b"no bundle", headers=headers)[0]
        for secret in ("", "wrong", SECRETS["wall"]) * 2:
            self.begin("/api/v1/import", secret, "application/zstd")
        self.assertEqual([imported(who) for who in ("wrong", "wall", "alice")], [401, 403, 400])
        slow = [self.begin("/api/v1/import", SECRETS["alice"], "application/zstd") for _ in range(2)]
        self.assertEqual([imported(who) for who in ("wrong", "wall", "alice")], [401, 403, 503])
        for client in slow:
            client.close()
        wait_for("their room", lambda: imported("alice") == 400)


class Audit(WithTokens):
    def test_who_did_what_and_who_was_refused(self):
        task = {"targets": [{"service": "web"}], "durationMs": 60000}
        made = self.ask("alice", "POST", "/api/v1/tasks", task)[2]["id"]
        self.ask("alice", "POST", f"/api/v1/tasks/{made}/extend", {"duration_ms": 1000})
        self.ask("wall", "POST", f"/api/v1/tasks/{made}/stop", {})
        self.ask("wrong", "POST", f"/api/v1/tasks/{made}/stop", {})
        self.ask("alice", "POST", f"/api/v1/tasks/{made}/stop", {"reason": "enough"})
        self.ask("alice", "GET", "/api/v1/tasks")
        entries = self.entries(5)
        self.assertEqual([(e["who"], e["role"], e["action"], e["subject"], e["status"]) for e in reversed(entries)], [
            ("token alice", "operate", "task.create", made, 201),
            ("token alice", "operate", "task.extend", made, 202),
            ("token wall", "view", f"POST /api/v1/tasks/{made}/stop", "", 403),
            ("", "none", f"POST /api/v1/tasks/{made}/stop", "", 401),
            ("token alice", "operate", "task.stop", made, 202)])
        self.assertEqual({e["address"] for e in entries}, {"127.0.0.1"})
        # Page by page it is the same, and so it is in a time.
        pages, cursor = [], ""
        while cursor is not None:
            page = self.audit(f"?limit=2&cursor={cursor}")
            pages += page["entries"]
            cursor = page["next"]
        self.assertEqual(pages, entries)
        self.assertEqual(self.audit(f"?until={entries[-1]['at']}")["entries"], [])
        self.assertEqual(self.audit(f"?since={entries[-1]['at']}")["entries"], entries)
        # It is kept, and the log says the same.
        self.server.restart()
        self.assertEqual(self.audit()["entries"], entries)
        self.assertRegex(self.server.log(), rf"audit: token alice \(operate\) of 127\.0\.0\.1: task\.create {made}: 201")

    def test_refusals_are_bounded_and_push_nothing_out(self):
        task = {"targets": [{"service": "web"}], "durationMs": 60000}
        made = self.ask("alice", "POST", "/api/v1/tasks", task)[2]["id"]
        refused = 0

        def past_the_rate():  # of 50 and one a second: how many that takes is the machine's speed
            nonlocal refused
            for _ in range(80):
                self.assertEqual(self.ask("wrong", "GET", f"/api/v1/tasks/{refused}")[0], 401)
                refused += 1
            stats = self.ask("wall", "GET", "/api/v1/server")[2]["audit"]
            return stats if stats["refusals_uncounted"] else None
        stats = wait_for("more refusals than are noted", past_the_rate)
        self.assertEqual(stats["refusals"] + stats["refusals_uncounted"], refused)
        self.assertEqual((stats["entries"], stats["unwritten"]), (1, 0))
        self.assertEqual(self.entries(2)[-1]["subject"], made)

    def test_who_may_not_change_anything_pushes_nothing_out(self):
        for token in ("", "wrong", SECRETS["wall"], SECRETS["alice"]):
            for _ in range(5):  # it says that a body follows, and goes
                self.begin("/api/v1/tasks", token, "application/json").close()
        status, _, _ = self.server.request("POST", "/api/v1/tasks", raw="{", headers={
            "Authorization": f"Bearer {SECRETS['wall']}", "Content-Type": "text/plain"})
        self.assertEqual(status, 415)
        stats = wait_for("all to be gone", lambda: (s := self.ask("wall", "GET", "/api/v1/server")[2]) and
                         s["http"]["connections_open"] == 1 and s)["audit"]
        self.assertEqual((stats["entries"], stats["refusals"], stats["refusals_uncounted"]), (0, 0, 0))
        self.assertEqual(self.audit()["entries"], [])

    def test_without_tokens_the_address_says_it(self):
        server = Server(PROGRAM, RULES)
        self.addCleanup(server.close)
        self.assertEqual(server.request("POST", "/ui-management/templates", {"configuration": "{}"})[0], 200)
        entry, = wait_for("an entry", lambda: server.get("/audit")["entries"])
        self.assertEqual((entry["who"], entry["role"], entry["address"], entry["action"]),
                         ("anyone", "operate", "127.0.0.1", "template.change"))


class Start(unittest.TestCase):
    def checked(self, text, *flags):
        with tempfile.TemporaryDirectory(prefix="sonde-access-") as folder:
            tokens_file(folder)
            path = pathlib.Path(folder) / "own.yaml"
            path.write_text(text.replace("DIR", folder), encoding="utf-8")
            path.chmod(0o600)
            done = subprocess.run([PROGRAM, "--config", str(path), "--check-config", *flags], capture_output=True, text=True,
                                  timeout=TIMEOUT_S, check=False)
        return done.returncode, done.stderr

    def test_open_to_all_only_when_it_is_said(self):
        for key in ("grpc", "http"):
            for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:80"):
                text = f"{key}:\n  listen: '{address}'\n"
                status, said = self.checked(text)
                self.assertEqual(status, 2, text)
                self.assertIn("is not this machine alone, and no token is asked for", said)
                self.assertIn("open_to_all: true", said)
                self.assertEqual(self.checked(text + "open_to_all: true\n")[0], 0)
                self.assertEqual(self.checked(text + "token_file: DIR/agents\n")[0], 0)
            for address in ("127.0.0.1:0", "127.7.7.7:0", "[::1]:0", "[::ffff:127.0.0.1]:0"):
                self.assertEqual(self.checked(f"{key}:\n  listen: '{address}'\n")[0], 0)
        mine = "http:\n  listen: 0.0.0.0:0\n  tokens:\n  - { name: a, role: view, file: DIR/alice }\n"
        self.assertEqual(self.checked(mine)[0], 0)
        self.assertEqual(self.checked(mine + "grpc:\n  listen: 0.0.0.0:0\n")[0], 2)  # they are no agents' tokens

    def test_tokens_are_named_once_and_not_everyones_to_read(self):
        def tokens(*rows):
            return "http:\n  tokens:\n" + "".join(f"  - {{ {row} }}\n" for row in rows)
        self.assertEqual(self.checked(tokens("name: a, file: DIR/alice", "name: b, file: DIR/wall"))[0], 0)
        for rows, words in ((("name: a, file: DIR/alice", "name: a, file: DIR/wall"), "same name"),
                            (("name: a, file: DIR/alice", "name: b, file: DIR/alice"), "same token"),
                            (("name: a, file: DIR/nowhere",), "No such file"),
                            (("name: a, role: root, file: DIR/alice",), "role"),
                            (("file: DIR/alice",), "name")):
            status, said = self.checked(tokens(*rows))
            self.assertEqual(status, 2, rows)
            self.assertIn(words, said)
            self.assertNotIn("s3cret", said)
        with tempfile.TemporaryDirectory(prefix="sonde-access-") as folder:
            tokens_file(folder)
            (pathlib.Path(folder) / "alice").chmod(0o644)
            status, said = self.checked(tokens(f"name: a, file: {folder}/alice"))
        self.assertEqual(status, 2)
        self.assertIn("everyone", said)


class Secrets(WithTokens):
    def test_none_in_what_is_written(self):
        task = {"targets": [{"service": "web"}], "durationMs": 60000}
        self.ask("alice", "POST", "/api/v1/tasks", task)
        self.ask("wrong-s3cret", "POST", "/api/v1/tasks", task)
        answers = json.dumps([self.ask("wall", "GET", p)[2] for p in ("/api/v1/audit", "/api/v1/server", "/api/v1/tasks",
                                                                      "/api/v1/agents")])
        self.assertNotIn("s3cret", answers)
        self.server.end()
        self.assertNotIn("s3cret", self.server.log())
        for path in (self.server.path / "state").iterdir():
            self.assertNotIn(b"s3cret", path.read_bytes(), path)
        dump = subprocess.run([PROGRAM, "--config", str(self.config), "--dump-config"], capture_output=True, text=True, check=True,
                              timeout=TIMEOUT_S).stdout
        self.assertNotIn("s3cret", dump)
        self.server.start()


def core_of(folder, argv, ready, env=None):
    """Ends the program as a crash does, with cores allowed. Did it leave one?"""
    with subprocess.Popen(argv, cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env={**os.environ, **(env or {})},
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)) as process:
        wait_for(f"{argv[0]} to start", lambda: ready(process.pid) or process.poll() is not None)
        assert process.poll() is None, f"{argv[0]} did not start"
        os.kill(process.pid, signal.SIGABRT)
        _, status = os.waitpid(process.pid, 0)
        process.returncode = -signal.SIGABRT
    return os.WCOREDUMP(status)


class Cores(unittest.TestCase):
    def test_no_program_leaves_one(self):
        nobody = socket.create_server(("127.0.0.1", 0))  # takes calls, and never answers
        self.addCleanup(nobody.close)
        programs = {"server": (PROGRAM, "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--rules", RULES)}
        if len(sys.argv) > 4:
            programs["ctl"] = (sys.argv[4], "--server", f"http://127.0.0.1:{nobody.getsockname()[1]}", "task", "list")
        with tempfile.TemporaryDirectory(prefix="sonde-access-") as folder:
            try:
                control = core_of(folder, ("sleep", "60"), lambda pid: True)
            except (OSError, ValueError):
                control = False  # no core may be made here at all
            for name, argv in programs.items():
                state = ("--state", f"{folder}/{name}") if name == "server" else ()
                dumped = core_of(folder, (*argv, *state), begun, env={"SONDE_SERVER_TOKEN": "s3cret", "SONDE_TOKEN": "s3cret"})
                self.assertFalse(dumped, name)
            print(f"\n    {', '.join(programs)}: no core; sleep: {'one' if control else 'none either, cores are off here'}")
            for path in pathlib.Path(folder).rglob("core*"):
                self.assertNotIn(b"s3cret", path.read_bytes())


def begun(pid):
    """It is past its first steps: it has sockets."""
    try:
        return any(os.readlink(fd).startswith("socket:") for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
