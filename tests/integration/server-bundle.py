#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sonde export and import on real servers: a task that goes into a fresh server gives the same answers byte for byte,
also after kill -9; hostile bundles are refused with words and change nothing.

server-bundle.py SONDE_SERVER RULES_FOLDER SONDE
"""
import csv
import hashlib
import http.client
import io
import json
import os
import pathlib
import pty
import subprocess
import sys
import tarfile
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from server_rig import Server, ServerCase, collection, histogram, message, single, wait_for  # noqa: E402

SONDE = sys.argv[3]
PATHS = ("topology", "metrics", "ledger", "flows", "host", "openmetrics", "heatmap",
         "series?metric=sonde_net_sent_bytes_total", "series?metric=sonde_net_sent_bytes_total&step=1m",
         "series?metric=process_relation_client_write_cpm&step=1m")


def zstd(data, *flags):
    return subprocess.run(["zstd", "-q", "-c", *flags], input=data, stdout=subprocess.PIPE, check=True).stdout


def files_of(bundle):
    with tarfile.open(fileobj=io.BytesIO(zstd(bundle, "-d"))) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers()}


def pack(files, digests=True, **tar):
    """A bundle of these files, whose manifest tells the truth of them unless it is not to."""
    files = dict(files)
    if digests:
        manifest = json.loads(files["manifest.json"])
        for f in manifest["files"]:
            f["sha256"] = hashlib.sha256(files.get(f["name"], b"")).hexdigest()
        files["manifest.json"] = json.dumps(manifest).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(tar.get("rename", {}).get(name, name))
            info.size = len(data)
            info.type = tar.get("types", {}).get(name, tarfile.REGTYPE)
            archive.addfile(info, io.BytesIO(data))
    return zstd(out.getvalue())


def lines(rows):
    return b"".join(json.dumps(r).encode() + b"\n" for r in rows)


class Bundle(ServerCase):
    def setUp(self):
        super().setUp()
        self.agent()
        self.folder = self.server.path / "out"
        self.folder.mkdir()
        self.task = self.full_task()

    def full_task(self):
        agent = self.agents[0]
        assert agent.report_processes(("web", "nginx", 42), ("db", "redis", 43)).status == 0
        ids = {t["process"]: t["process_id"] for t in self.server.get("/targets")["targets"]}
        edge = {"side": "client", "client_process_id": ids["nginx"], "server_process_id": ids["redis"],
                "server_port": "6379"}
        task = self.server.create({"service": "web"}, name="full")["id"]
        agent.query()
        start = int(time.time()) // 60 * 60000 - 120000
        for i in range(9):
            meters = [single("sonde_net_sent_bytes_total", 1000 + i, **edge),
                      single("sonde_net_smoothed_rtt_microseconds", 100 + i, **edge),
                      histogram("sonde_net_rtt_microseconds", {100: 3, 400: i + 1}, **edge),
                      single("sonde_net_retransmits_total", 1, kind="fast", **edge),
                      single("sonde_net_sent_bytes_total", 7, **{**edge, "server_process_id": ""},
                             server_address="10.0.0.9"),
                      single("rover_net_p_client_write_counts_counter", 3 + i, side="client",
                             client_process_id=ids["nginx"], server_process_id=ids["redis"])]
            assert agent.collect(f"{task}/{i + 1}/h", collection(*meters, timestamp_ms=start + i * 10000)).status == 0
        process = [message(f1=42, f2=ids["nginx"], f3="nginx"), message(f1=43, f2=ids["redis"], f3="redis")]
        flow = {"f2": 1, "f3": 2, "f4": 9, "f5": b"\x0a\0\0\1", "f6": b"\x0a\0\0\2", "f7": 40000, "f8": 6379, "f9": 6,
                "f10": 1, "f11": 1, "f14": start, "f16": 1000, **{f"f{n}": n for n in range(17, 27)}}
        flows = message(f1=process, f2=[b"\x09" + n.to_bytes(8, "little") + message(**flow) for n in (1, 2, 1 << 63)])
        for n, (states, end) in enumerate(((("planned", "attaching", "running"), None), (("draining",), "done"))):
            report = message(f1=agent.name, f2=task, f3=n + 1, f6=start, f7=start + 90000,
                             f8=[message(f1=s, f2=start, f3="words") for s in states],
                             f9=message(f1=42, f2=ids["nginx"], f3="nginx", f4="found", f6=start),
                             f11=message(f1="cell_full", f2=7, f3=True, f4="words"),
                             f13=message(f1="sonde_net_sent_segments_total", f2="not requested"),
                             **({"f15": True, "f16": end, "f17": "over"} if end else {"f20": flows}))
            assert agent.call("/sonde.v1.TaskReportService/report", report).status == 0
        return task

    def sonde(self, *arguments, status=0, server=None, data=None):
        done = subprocess.run([SONDE, "--server", f"http://127.0.0.1:{(server or self.server).http}", *arguments],
                              input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False,
                              env={**os.environ, "NO_COLOR": "1", "HOME": "/nonexistent"})
        self.assertEqual(done.returncode, status, (arguments, done.stdout[:2000], done.stderr))
        return done.stdout, done.stderr.decode()

    def on_terminal(self, *arguments):
        """What a terminal is given, its line ends as we write them."""
        ours, theirs = pty.openpty()
        with subprocess.Popen([SONDE, "--server", f"http://127.0.0.1:{self.server.http}", *arguments], stdout=theirs,
                              env={**os.environ, "NO_COLOR": "1", "HOME": "/nonexistent"}) as process:
            os.close(theirs)
            got = b""
            try:
                while part := os.read(ours, 65536):
                    got += part
            except OSError:  # EIO: the other end is closed
                pass
            self.assertEqual(process.wait(60), 0)
        os.close(ours)
        return got.replace(b"\r\n", b"\n").strip()

    @staticmethod
    def answers(server, task):
        got = {}
        for path in PATHS:
            connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60)
            connection.request("GET", f"/api/v1/tasks/{task}/{path}")
            answer = connection.getresponse()
            got[path] = (answer.status, answer.read())
            connection.close()
        return got

    def test_a_fresh_server_gives_the_same_answers(self):
        file = self.folder / "b.tar.zst"
        self.sonde("export", self.task, "-o", str(file))
        bundle = file.read_bytes()
        self.assertEqual(bundle, self.sonde("export", self.task, "-o", "bundle")[0])  # deterministic
        self.assertEqual([p.name for p in self.folder.iterdir()], ["b.tar.zst"])
        manifest = json.loads(files_of(bundle)["manifest.json"])
        self.assertEqual((manifest["task"], manifest["complete"]), (self.task, False))
        self.assertEqual([e["site"] for e in manifest["losses"]], ["cell_full"])
        self.assertEqual({f["name"]: f["rows"] for f in manifest["files"]}["flows.jsonl"], 3)
        before = self.answers(self.server, self.task)
        self.assertEqual({s for s, _ in before.values()}, {200})
        self.assertEqual(len(json.loads(before["flows"][1])["flows"]), 3)
        other = Server(*sys.argv[1:3])
        try:
            out, _ = self.sonde("import", str(file), server=other)
            self.assertEqual(out.decode().strip(), self.task)
            self.assertEqual(self.answers(other, self.task), before)
            mine, theirs = self.server.get(f"/tasks/{self.task}"), other.get(f"/tasks/{self.task}")
            self.assertIsNone(mine["imported"])
            self.assertIsNotNone(theirs.pop("imported"))
            mine.pop("imported")
            self.assertEqual(mine, theirs)
            # Exported from there it is the same, but for when it came.
            here, there = files_of(bundle), files_of(self.sonde("export", self.task, "-o", "bundle", server=other)[0])
            self.assertEqual(list(here), list(there))
            for name in set(here) - {"manifest.json", "task.json"}:
                self.assertEqual(here[name], there[name], name)
            self.assertEqual({**json.loads(there["task.json"]), "imported_ms": 0}, json.loads(here["task.json"]))
            # acknowledged: it is there after a kill, with nothing of it lost
            other.restart()
            self.assertEqual(self.answers(other, self.task), before)
            # taken: refused, unless it gets another id; then two can be compared
            _, words = self.sonde("import", str(file), status=4, server=other)
            self.assertRegex(words, "there is a task .*--as ID")
            _, words = self.sonde("import", "-", status=4, server=other, data=bundle[:len(bundle) // 2])
            self.assertIn("cut short or damaged", words)
            _, words = self.sonde("import", "-", status=4, server=other, data=b"preset: network\n")
            self.assertIn("another kind of file", words)
            out, _ = self.sonde("import", "-", "--as", "copy-1", server=other, data=bundle)
            self.assertEqual(out.decode().strip(), "copy-1")
            compared = json.loads(self.sonde("compare", self.task, "copy-1", "--exit-code", "-o", "json", server=other)[0])
            self.assertEqual((compared["differences"], len(compared["edges"])), (0, 2))
            self.again(other, bundle)
            self.assertEqual(other.request("POST", f"/api/v1/tasks/{self.task}/extend", {"durationMs": 1000})[0] // 100, 4)
        finally:
            self.assertEqual(other.close(), 0)

    def again(self, server, bundle):
        """The id of a task that is being deleted is not free before all of it is gone."""
        before = self.answers(server, "copy-1")
        self.assertEqual(server.request("DELETE", "/api/v1/tasks/copy-1")[0] // 100, 2)

        def taken():
            status, _, body = server.request("POST", "/api/v1/import?as=copy-1", raw=bundle,
                                             headers={"Content-Type": "application/zstd"})
            if status == 201:
                return True
            self.assertEqual(status, 409, body)
            self.assertIn("is being deleted", json.dumps(body))
            return False
        wait_for("its id", taken)
        time.sleep(1)  # what deletes has had its turns
        self.assertEqual(self.answers(server, "copy-1"), before)

    def test_hostile_bundles_are_refused_and_change_nothing(self):
        good = self.sonde("export", self.task, "-o", "bundle")[0]
        files = files_of(good)
        rows = [json.loads(r) for r in files["series.jsonl"].splitlines()]
        entities = [json.loads(r) for r in files["entities.jsonl"].splitlines()]
        flows = [json.loads(r) for r in files["flows.jsonl"].splitlines()]
        task = json.loads(files["task.json"])
        process = next(i for i, e in enumerate(entities) if e["kind"] == "process")

        def changed(name, data):
            return pack({**files, name: data})

        bombs = {
            "cut": good[:-20], "empty": b"", "no zstd": b"x" * 100, "two": good + good,
            "bomb": zstd(bytes(200 << 20)), "no tar": zstd(b"hello"), "no files": zstd(bytes(1024)),
            "digest": pack({**files, "series.jsonl": b""}, digests=False),
            "missing": pack({k: v for k, v in files.items() if k != "flows.jsonl"}),
            "unknown": pack({**files, "x": b""}), "order": pack(dict(reversed(files.items()))),
            "slash": pack(files, rename={"flows.jsonl": "../flows.jsonl"}),
            "absolute": pack(files, rename={"flows.jsonl": "/etc/passwd"}),
            "link": pack(files, types={"flows.jsonl": tarfile.SYMTYPE}),
            "version": pack({**files, "manifest.json": files["manifest.json"].replace(b'"version": 1', b'"version": 2')}),
            "no task": changed("task.json", b""), "odd task": changed("task.json", b"{}\n"),
            "two tasks": changed("task.json", files["task.json"] * 2),
            "runs": changed("task.json", json.dumps({**task, "state": "running"}).encode()),
            "id": changed("task.json", json.dumps({**task, "spec": {**task["spec"], "id": "../x"}}).encode()),
            "deep": changed("flows.jsonl", b"[" * 100000), "list": changed("flows.jsonl", b"[]\n"),
            "entity": changed("entities.jsonl", lines([{**entities[process], "name": "sshd"}])),
            "kind": changed("entities.jsonl", lines([{**entities[0], "kind": "x"}])),
            "twice": changed("series.jsonl", lines(rows + rows[:1])),
            "step": changed("series.jsonl", lines([{**rows[0], "step_ms": 7}])),
            "time": changed("series.jsonl", lines([{**rows[0], "start_ms": -10000}])),
            "far": changed("series.jsonl", lines([{**rows[0], "start_ms": 1 << 62}])),
            "value": changed("series.jsonl", lines([{**rows[0], "data": "00ff"}])),
            "hex": changed("series.jsonl", lines([{**rows[0], "data": "0g"}])),
            "odd hex": changed("series.jsonl", lines([{**rows[0], "data": rows[0]["data"][:-1]}])),
            "metric": changed("series.jsonl", lines([{**rows[0], "metric": "a\nb"}])),
            "long": changed("series.jsonl", lines([{**rows[0], "entity": "x" * 5000}])),
            "flow": changed("flows.jsonl", lines([{**flows[0], "data": "ff"}])),
            "agent": changed("flows.jsonl", lines([{**flows[0], "agent": ""}])),
        }
        other = Server(*sys.argv[1:3])
        try:
            # The first question of all: a server knows what it keeps before it answers.
            month = 30 * 24 * 3600000
            old = changed("series.jsonl", lines({**r, "start_ms": r["start_ms"] - month} for r in rows))
            _, words = self.sonde("import", "-", status=4, server=other, data=old)
            self.assertIn("older than what is kept", words)
            self.assertEqual((other.get("/tasks")["tasks"], other.get("/server")["series"]["buckets"]), ([], 0))
            for name, data in bombs.items():
                with self.subTest(name):
                    _, words = self.sonde("import", "-", status=4, server=other, data=data)
                    self.assertRegex(words, "bundle")
                    self.assertEqual(other.get("/tasks")["tasks"], [])
                    self.assertEqual(other.get("/server")["series"]["buckets"], 0)
            self.sonde("import", "-", "--as", "../x", status=4, server=other, data=good)
            status, _, body = other.request("POST", "/api/v1/import", raw=bytes((16 << 20) + 1),
                                            headers={"Content-Type": "application/zstd"})
            self.assertEqual((status, body["status"]), (413, 413))
            self.sonde("import", "-", server=other, data=good)
        finally:
            self.assertEqual(other.close(), 0)

    def test_other_formats_and_each_exit_status(self):
        out, _ = self.sonde("export", self.task, "-o", "json")
        whole = json.loads(out)
        for part, path in (("task", ""), ("ledger", "/ledger"), ("topology", "/topology"), ("metrics", "/metrics")):
            self.assertEqual(whole[part], self.server.get(f"/tasks/{self.task}{path}"))
        self.assertEqual(self.sonde("export", self.task, "-o", "openmetrics")[0],
                         self.answers(self.server, self.task)["openmetrics"][1])
        file = self.folder / "m.csv"
        self.sonde("export", self.task, "-o", "csv", "--to", str(file))
        text = file.read_text(encoding="utf-8").splitlines()
        head = [line for line in text if line.startswith("#")]
        rows = list(csv.DictReader(text[len(head):]))
        metrics = self.server.get(f"/tasks/{self.task}/metrics")["metrics"]
        self.assertEqual([float(r["value"]) for r in rows], [float(m["value"]) for m in metrics])
        self.assertEqual([r["metric"] for r in rows], [m["metric"] for m in metrics])
        self.assertIn("# not complete: counts are lower bounds", head)
        self.assertIn("# lost at cell_full: 7", head)
        self.assertIn(f"# rows {len(rows)}", head)
        self.assertEqual(out.strip(), self.on_terminal("export", self.task, "-o", "json"))
        self.assertEqual("\n".join(text), self.on_terminal("export", self.task, "-o", "csv").decode())
        running = self.server.create({"service": "web"})["id"]
        self.sonde("export", running, "-o", "bundle", status=4)
        self.sonde("export", "nothing", "-o", "csv", status=3)
        self.sonde("export", self.task, "-o", "xml", status=2)
        self.sonde("export", self.task, "-o", "csv", "--to", str(self.folder / "no" / "x"), status=2)
        self.sonde("export", self.task, "-o", "csv", "--to", "/dev/full", status=9)
        self.sonde("export", self.task, "-o", "csv", "--server", "http://127.0.0.1:1", status=5)
        self.sonde("import", str(self.folder / "nothing"), status=2)
        _, words = self.sonde("import", "-", data=bytes((16 << 20) + 1), status=2)
        self.assertIn("larger than a bundle may be", words)
        self.sonde("import", str(file), "--server", "http://127.0.0.1:1", status=5)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
