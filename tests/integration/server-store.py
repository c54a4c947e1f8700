#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What becomes of sonde-server's database: killed, copied, damaged, without room.

server-store.py SONDE_SERVER RULES_FOLDER
"""
import hashlib
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from server_rig import TIMEOUT_S, Agent, Server, collection, single, wait_for  # noqa: E402

PROGRAM, RULES = map(os.path.abspath, sys.argv[1:3])  # whoever enters a mount namespace is in its root folder
OK, UNAVAILABLE = 0, 14
BATCHES, KILLS, AT_ONCE = 1000, 6, 16
PATH = "/skywalking.v3.MeterReportService/collectBatch"


def batch(sent, peer="10.0.0.9"):
    return collection(single("sonde_net_sent_bytes_total", sent, side="client", client_process_id="c" * 64, server_address=peer,
                             server_port="80"))


class StoreCase(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="sonde-store-")
        self.addCleanup(self.folder.cleanup)
        self.servers = []

    def tearDown(self):
        for server in self.servers:
            server.end()

    def begin(self, *flags, **options):
        self.servers.append(Server(PROGRAM, RULES, *flags, folder=self.folder, **options))
        return self.servers[-1]

    def state(self):
        return pathlib.Path(self.folder.name) / "state"

    def database(self):
        return self.state() / "sonde.db"

    def rescue(self, *flags, state=None):
        return subprocess.run([PROGRAM, "--state", str(state or self.state()), *flags], capture_output=True, text=True,
                              timeout=TIMEOUT_S, check=False)

    def task(self, server):
        agent = Agent(server)
        self.addCleanup(agent.close)
        self.assertEqual(agent.report_processes(("web", "nginx", 42)).status, OK)
        return agent, server.create({"service": "web"})["id"]

    def sent(self, server, task):
        return sum(e["client_side"]["sent_bytes"] for e in server.get(f"/tasks/{task}/topology")["edges"])


class Load:
    """Sends BATCHES reports of one byte each, several at once, and each again until it was acknowledged."""

    def __init__(self, server, task, agent):
        self.server, self.task, self.name = server, task, agent
        self.acknowledged, self.sent_again = set(), 0
        self.up = threading.Event()
        self.up.set()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        end = time.monotonic() + TIMEOUT_S
        while len(self.acknowledged) < BATCHES and time.monotonic() < end:
            self.up.wait(TIMEOUT_S)
            try:
                self.connected()
            except OSError:
                self.sent_again += 1
                time.sleep(0.01)

    def connected(self):
        agent = Agent(self.server, self.name)
        waiting = iter([i for i in range(1, BATCHES + 1) if i not in self.acknowledged])
        calls = {}
        try:
            while True:
                while len(calls) < AT_ONCE and (i := next(waiting, None)):
                    calls[i] = agent.start(PATH, [batch(1)], sonde_report_id=f"{self.task}/{i}/h{i}")
                if not calls:
                    return
                agent.step()
                for i in [i for i, call in calls.items() if call.ended]:
                    if calls.pop(i).status == OK:
                        self.acknowledged.add(i)
        finally:
            agent.close()


class Kills(StoreCase):
    def found(self):
        """Read in a copy: to open the database itself would be to tidy up behind the kill."""
        with tempfile.TemporaryDirectory(prefix="sonde-store-") as copy:
            for path in self.state().glob("sonde.db*"):
                shutil.copy(path, copy)
            db = sqlite3.connect(pathlib.Path(copy) / "sonde.db")
            self.assertEqual(db.execute("PRAGMA quick_check").fetchone()[0], "ok")
            rows = [n for n, in db.execute("SELECT sequence FROM report")]
            db.close()
        return rows

    def test_nothing_acknowledged_is_lost_nor_anything_doubled(self):
        server = self.begin()
        agent, task = self.task(server)
        load = Load(server, task, agent.name)
        chance = random.Random(7)
        marks = sorted(chance.sample(range(20, BATCHES - 20), KILLS))
        lost = 0
        for mark in marks:
            wait_for(f"{mark} acknowledged", lambda mark=mark: len(load.acknowledged) >= mark)
            load.up.clear()
            before = set(load.acknowledged)
            server.end(signal.SIGKILL)
            lost += len(before - set(self.found()))
            server.start()
            load.up.set()
        load.thread.join(TIMEOUT_S)
        self.assertEqual(len(load.acknowledged), BATCHES)
        server.restart()
        rows = self.found()
        doubled = len(rows) - len(set(rows))
        lost += len(load.acknowledged - set(rows))
        print(f"\n    {KILLS} kills -9 in {BATCHES} batches: acknowledged {len(load.acknowledged)}, found {len(set(rows))}, "
              f"lost {lost}, doubled {doubled}; connections that broke {load.sent_again}")
        self.assertEqual((lost, doubled, len(rows)), (0, 0, BATCHES))
        self.assertEqual(self.sent(server, task), BATCHES)


class BackUp(StoreCase):
    def test_a_copy_in_the_midst_of_writing_is_one_moment(self):
        server = self.begin()
        agent, task = self.task(server)
        load = Load(server, task, agent.name)
        wait_for("the first reports", lambda: len(load.acknowledged) >= 50)
        copy = pathlib.Path(self.folder.name) / "copy.db"
        before = len(load.acknowledged)
        done = self.rescue("--backup", str(copy))
        self.assertEqual(done.returncode, 0, done.stderr)
        after = len(load.acknowledged) + AT_ONCE
        self.assertIn(f"sonde-server --restore {copy}", done.stdout)
        self.assertEqual(copy.stat().st_mode & 0o777, 0o600)
        load.thread.join(TIMEOUT_S)
        wait_for("all", lambda: self.sent(server, task) == BATCHES)
        kept = copy.read_bytes()
        again = self.rescue("--backup", str(copy))
        self.assertEqual(again.returncode, 1)
        self.assertIn("nothing is written over", again.stderr)
        self.assertEqual(copy.read_bytes(), kept)
        nowhere = self.rescue("--backup", str(copy.parent / "no-folder" / "copy.db"))
        self.assertEqual(nowhere.returncode, 1)
        self.assertRegex(nowhere.stderr, "cannot make [^ ]*/no-folder/copy.db.part: No such file or directory")
        running = self.rescue("--restore", str(copy))
        self.assertEqual(running.returncode, 1)
        self.assertIn("stop it first", running.stderr)
        # Another machine, where nothing is.
        elsewhere = tempfile.TemporaryDirectory(prefix="sonde-store-")
        self.addCleanup(elsewhere.cleanup)
        state = pathlib.Path(elsewhere.name) / "state"
        state.mkdir(mode=0o700)
        done = self.rescue("--restore", str(copy), state=state)
        self.assertEqual(done.returncode, 0, done.stderr)
        other = Server(PROGRAM, RULES, folder=elsewhere)
        self.servers.append(other)
        sent = self.sent(other, task)
        self.assertTrue(before <= sent <= after, (before, sent, after))

    def test_a_restored_server_answers_the_same(self):
        server = self.begin()
        agent, task = self.task(server)
        for i in range(1, 6):
            self.assertEqual(agent.collect(f"{task}/{i}/h", batch(100, f"10.0.0.{i}")).status, OK)
        paths = [f"/tasks/{task}{rest}" for rest in ("", "/topology", "/ledger", "/flows", "/metrics")] + ["/targets", "/tasks"]
        then = [server.get(path) for path in paths]
        copy = pathlib.Path(self.folder.name) / "copy.db"
        self.assertEqual(self.rescue("--backup", str(copy)).returncode, 0)
        self.assertEqual(agent.collect(f"{task}/6/h", batch(100)).status, OK)
        self.assertNotEqual(self.sent(server, task), 500)
        server.end()
        done = self.rescue("--restore", str(copy))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("what was there before is", done.stdout)
        self.assertEqual(len(list(self.state().glob("sonde.db.aside-*Z"))), 1)
        server.start()
        for path, old in zip(paths, then):
            new = server.get(path)
            for answer in (new, old, *new.get("tasks", []), *old.get("tasks", [])):
                (answer.get("reports") or {}).pop("batches", None)  # counted since the server was started
            for row in new.get("targets", []) + old.get("targets", []) if path == "/targets" else []:
                row.pop("last_seen"), row.pop("live")
            self.assertEqual(new, old, path)

    def test_only_a_sound_database_of_ours_is_restored(self):
        server = self.begin()
        self.task(server)
        server.end()
        before = self.database().read_bytes()
        folder = pathlib.Path(self.folder.name)
        (folder / "text").write_text("hello\n" * 100, encoding="utf-8")
        sqlite3.connect(folder / "other").execute("CREATE TABLE t (x)").connection.close()
        (folder / "cut").write_bytes(before[:len(before) // 2])
        for name, words in (("text", "it is no SQLite database"), ("other", "it is no database of sonde-server"), ("cut", ""),
                            ("nowhere", "No such file")):
            done = self.rescue("--restore", str(folder / name))
            self.assertEqual(done.returncode, 1, name)
            self.assertIn(words, done.stderr, name)
            self.assertEqual(self.database().read_bytes(), before)
        self.assertEqual([p.name for p in self.state().iterdir() if "restore" in p.name or "aside" in p.name], [])


class Damage(StoreCase):
    def prepared(self, how=signal.SIGTERM, tasks=3):
        server = self.begin()
        ids = []
        for i in range(tasks):
            agent, task = self.task(server)
            ids.append(task)
            for k in range(1, 21):
                self.assertEqual(agent.collect(f"{task}/{k}/h", *[batch(1, f"10.{i}.{k}.{n}") for n in range(20)]).status, OK)
        server.end(how)
        return server, ids

    def refused(self, server, *words):
        """The server does not start, says what is wrong with which file, and leaves everything as it is."""
        def files():
            return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in self.state().iterdir()
                    if not p.name.endswith(("-shm", "lock"))}
        before = files()
        with self.assertRaises(RuntimeError) as caught:
            server.start()
        said = str(caught.exception)
        self.assertEqual(server.process.wait(), 1)
        for word in (str(self.database()), *words):
            self.assertIn(word, said)
        self.assertEqual(files(), before)
        done = self.rescue("--check-database")
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(self.database()), done.stderr)

    def test_cut_off(self):
        server, _ = self.prepared()
        with open(self.database(), "r+b") as f:
            f.truncate(self.database().stat().st_size // 2)
        self.refused(server, "is damaged", "--restore", "--salvage-database", "--set-database-aside")

    def test_pages_overwritten_and_what_can_be_read_is_kept(self):
        server, ids = self.prepared()
        db = sqlite3.connect(f"file:{self.database()}?mode=ro&immutable=1", uri=True)
        pages, = db.execute("PRAGMA page_count").fetchone()
        rows, = db.execute("SELECT count(*) FROM bucket").fetchone()
        leaves = db.execute("SELECT pageno, ncell FROM dbstat WHERE name = 'bucket' AND pagetype = 'leaf' ORDER BY path").fetchall()
        db.close()
        hit, lost = leaves[len(leaves) // 2]
        self.assertGreater(len(leaves), 2)
        with open(self.database(), "r+b") as f:
            f.seek((hit - 1) * 4096)
            f.write(b"\xa5" * 4096)
        self.refused(server, "is damaged", "--salvage-database")
        done = self.rescue("--salvage-database")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"bucket: {rows - lost} rows kept, others could not be read", done.stdout)
        self.assertEqual(done.stdout.count("could not be read\n"), 1, done.stdout)  # of no other table
        self.assertEqual(len(list(self.state().glob("sonde.db.aside-*Z"))), 1)
        server.start()
        self.assertEqual(sorted(t["id"] for t in server.get("/tasks")["tasks"]), sorted(ids))
        self.assertEqual(self.rescue("--check-database").returncode, 0)
        print(f"\n    one of {pages} pages overwritten: {rows - lost} of {rows} buckets kept, the {lost} others were on it")

    def test_no_database(self):
        server, _ = self.prepared(tasks=1)
        self.database().write_bytes(b"not one\n" * 1000)
        self.refused(server, "it is no SQLite database", "--set-database-aside")
        done = self.rescue("--salvage-database")
        self.assertEqual(done.returncode, 1)
        self.assertIn("nothing can be read", done.stderr)
        done = self.rescue("--set-database-aside")
        self.assertEqual(done.returncode, 0, done.stderr)
        aside, = self.state().glob("sonde.db.aside-*Z")
        self.assertEqual(aside.read_bytes(), b"not one\n" * 1000)
        server.start()
        self.assertEqual(server.get("/tasks")["tasks"], [])

    def test_a_newer_servers(self):
        server, _ = self.prepared(tasks=1)
        db = sqlite3.connect(self.database())
        db.execute("PRAGMA user_version = 999")
        db.close()
        self.refused(server, "newer version")

    def test_a_log_that_was_deleted(self):
        server, ids = self.prepared(signal.SIGKILL)
        log = self.database().with_name("sonde.db-wal")
        self.assertGreater(log.stat().st_size, 0)
        kept = log.read_bytes()
        log.unlink()
        self.refused(server, "had been acknowledged", "--accept-database")
        log.write_bytes(kept)  # found again
        server.start()
        self.assertEqual(len(server.get("/tasks")["tasks"]), len(ids))
        self.task(server)
        server.end(signal.SIGKILL)
        # A few bytes of the first page in it: SQLite would pass over it and all behind it in silence.
        with open(log, "r+b") as f:
            f.seek(32 + 24 + 100)
            f.write(b"\xa5" * 8)
        self.refused(server, "had been acknowledged")
        done = self.rescue("--accept-database")
        self.assertEqual(done.returncode, 0, done.stderr)
        server.start()
        server.end(signal.SIGKILL)
        # Who tidied up (any SQLite that opens it does) has lost nothing.
        sqlite3.connect(self.database()).execute("SELECT count(*) FROM task").connection.close()
        self.assertFalse(log.exists())
        server.start()

    def test_gone_or_empty(self):
        server, _ = self.prepared(tasks=1)
        self.database().write_bytes(b"")
        self.refused(server, "it is empty", "--restore")
        self.database().unlink()
        with self.assertRaisesRegex(RuntimeError, "it is gone"):
            server.start()
        self.assertEqual(self.rescue("--accept-database").returncode, 0)
        server.start()
        self.assertEqual(server.get("/tasks")["tasks"], [])


@unittest.skipIf(os.geteuid() != 0, "needs root for a mount")
class FullDisk(StoreCase):
    def begin_small(self, reserve):
        disk = self.state()
        disk.mkdir(mode=0o700)
        self.server = self.begin("--limits-disk-reserve", reserve, wrapper=[
            "unshare", "-m", "--propagation", "private", "sh", "-c",
            f"mount -t tmpfs -o size=8m,mode=0700 none {disk} && exec \"$@\"", "sh"])
        return self.task(self.server)

    def inside(self, *command):
        return subprocess.run(["nsenter", "-m", "-t", str(self.server.process.pid), *command], check=False,
                              capture_output=True, text=True)

    def done_inside(self, *command):
        done = self.inside(*command)
        self.assertEqual(done.returncode, 0, done.stderr)

    def condition(self):
        return self.server.get("/server")["store"]["condition"]

    def refused_while_full(self, agent, task):
        for i in range(3):
            call = agent.collect(f"{task}/{100 + i}/h", batch(1000))
            self.assertEqual((call.status, call.words), (UNAVAILABLE, "the server's disk is full, send it again"))
        self.assertEqual(agent.collect(None, batch(1000)).status, UNAVAILABLE)
        self.assertEqual(agent.report(task, 1, states=["running"]).status, UNAVAILABLE)
        status, headers, body = self.server.request("POST", "/api/v1/tasks", {"targets": [{"service": "web"}], "durationMs": 60000})
        self.assertEqual((status, body["detail"], "Retry-After" in headers), (503, "the server's disk is full", True))
        self.assertEqual(self.sent(self.server, task), 100)  # reading goes on, and nothing of it was taken
        self.assertEqual(self.server.request("GET", "/healthz")[0], 200)

    def recovered(self, agent, task):
        wait_for("room", lambda: self.condition() == "sound")
        self.assertEqual(agent.collect(f"{task}/100/h", batch(1000)).status, OK)
        self.assertEqual(agent.report(task, 1, states=["running"]).status, OK)
        self.assertEqual(self.sent(self.server, task), 1100)
        self.server.create({"service": "web"})
        said = self.server.log()
        self.assertEqual((said.count("is full ("), said.count("has room again"), said.count("cannot write")), (1, 1, 0), said)
        stats = self.server.get("/server")
        self.assertEqual(stats["store"]["times_full"], 1)
        return stats

    def test_below_the_reserve(self):
        agent, task = self.begin_small("1MiB")
        self.assertEqual(agent.collect(f"{task}/1/h", batch(100)).status, OK)
        self.inside("dd", "if=/dev/zero", f"of={self.state()}/filler", "bs=1024", "count=7000")
        wait_for("the disk to be full", lambda: self.condition() == "full")
        self.refused_while_full(agent, task)
        self.done_inside("rm", f"{self.state()}/filler")
        stats = self.recovered(agent, task)
        self.assertEqual(stats["ingest"]["refused_no_room"], 4)

    def test_not_a_byte_left(self):
        agent, task = self.begin_small("0")
        self.assertEqual(agent.collect(f"{task}/1/h", batch(100)).status, OK)
        self.inside("dd", "if=/dev/zero", f"of={self.state()}/filler", "bs=4096")
        # What the log has room for still goes in; none of it is of this task's edge.
        n = 0
        while self.condition() != "full":
            n += 1
            self.assertLess(n, 10000)
            agent.collect(f"-/{n}/h", batch(1, f"10.9.{n >> 8}.{n & 255}"))
        self.refused_while_full(agent, task)
        self.done_inside("rm", f"{self.state()}/filler")
        self.recovered(agent, task)
        self.done_inside(PROGRAM, "--state", str(self.state()), "--check-database")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
