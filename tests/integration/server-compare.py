#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sonde compare on tasks of a real server: what was made to differ is told, what was not is noise, in counts of this
test's own.

server-compare.py SONDE_SERVER RULES_FOLDER SONDE
"""
import datetime
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from server_rig import ServerCase, collection, histogram, message, single  # noqa: E402

SONDE = sys.argv[3]
SLICES = 6
BOUNDS = (100, 110, 120, 130, 150, 200, 300, 500, 1000, 2000)


class Edge:
    """What one task did on one edge, and its meters."""

    def __init__(self, seed, rtt=1.0, loss=0.001, connects=20, segments=4000, idle=False, fail=0, **labels):
        self.random = random.Random(seed)
        self.labels = {"side": "client", "server_port": "6379", **labels}
        self.rtt, self.loss, self.connects, self.segments, self.idle, self.fail = rtt, loss, connects, segments, idle, fail
        self.sum = {"sent": 0, "retransmits": 0, "connects": 0, "bytes": 0, "failures": 0}
        self.samples = []

    def poisson(self, mean):
        limit, product, n = math.exp(-mean), self.random.random(), 0
        while product > limit:
            product *= self.random.random()
            n += 1
        return n

    def meters(self):
        sent = 0 if self.idle else self.poisson(100) * self.segments // 100
        got = {"sent": sent, "retransmits": self.poisson(sent * self.loss), "bytes": sent * 1000,
               "connects": self.poisson(self.connects), "failures": self.poisson(self.fail) if self.fail else 0}
        samples = [self.rtt * self.random.lognormvariate(5, 0.5) for _ in range(sent // 10)]
        samples = [max([b for b in BOUNDS if b <= s] or [BOUNDS[0]]) for s in samples]
        self.samples += samples
        for key, n in got.items():
            self.sum[key] += n
        made = [single(f"sonde_net_{name}_total", got[key], **self.labels)
                for name, key in (("sent_segments", "sent"), ("retransmitted_segments", "retransmits"),
                                  ("sent_bytes", "bytes"), ("connections_opened", "connects")) if got[key]]
        if got["failures"]:
            made.append(single("sonde_net_connect_failures_total", got["failures"], errno="ECONNREFUSED", **self.labels))
        if samples:
            made.append(histogram("sonde_net_rtt_microseconds", {b: samples.count(b) for b in set(samples)}, **self.labels))
        return made

    def quantile(self, percent):
        ordered = sorted(self.samples)
        return ordered[math.ceil(len(ordered) * percent / 100) - 1]


class Sometimes(Edge):
    """One that is used in some slices only."""

    def __init__(self, seed, used, **more):
        super().__init__(seed, **more)
        self.used, self.at = used, -1

    def meters(self):
        self.at += 1
        return super().meters() if self.at in self.used else []


class Compare(ServerCase):
    def process(self, service, name, pid, instance, agent=None):
        agent = agent or self.agents[0]
        self.assertEqual(agent.report_processes((service, name, pid), instance=instance).status, 0)
        return next(t["process_id"] for t in self.server.get("/targets")["targets"]
                    if (t["service"], t["process"], t["instance"]) == (service, name, instance))

    def task(self, instance, edges, ledger=(), targets=(), second=(), late_ms=0):
        """A task that has ended, with six slices of 10 s: from a minute ago until now, later by late_ms.

        second: (edges, targets, absent meters) of the second agent.
        """
        task = self.server.create({"service": "web"}, name=instance)["id"]
        for agent in self.agents:
            agent.query()
        start = int(time.time()) // 10 * 10 * 1000 - SLICES * 10000 + late_ms
        self.report_task(self.agents[0], task, start, instance, edges, ledger, targets)
        if second:
            self.report_task(self.agents[1], task, start, instance, second[0], (), *second[1:])
        return task

    def report_task(self, agent, task, start, instance, edges, ledger, targets, absent=()):
        sequence = 0
        for i in range(SLICES):
            sequence += 1
            body = collection(*[m for e in edges for m in e.meters()], instance=instance,
                              timestamp_ms=start + i * 10000 + 5000)
            self.assertEqual(agent.collect(f"{task}/{sequence}/{agent.name}", body).status, 0)
        for n, (states, end) in enumerate(((("planned", "attaching", "running"), None), (("draining",), "done"))):
            report = message(f1=agent.name, f2=task, f3=n + 1, f6=start, f7=start + SLICES * 10000,
                             f8=[message(f1=s, f2=start, f3="words") for s in states],
                             f9=[message(f1=42, f2=t, f3="x", f4="found", f6=start) for t in targets],
                             f11=[message(f1=site, f2=n, f3=True, f4="words") for site, n in ledger],
                             f13=[message(f1=meter, f2="no such hook here") for meter in absent],
                             **({"f15": True, "f16": end, "f17": "over"} if end else {}))
            self.assertEqual(agent.call("/sonde.v1.TaskReportService/report", report).status, 0)

    def sonde(self, *arguments, status=0):
        done = subprocess.run([SONDE, "--server", f"http://127.0.0.1:{self.server.http}", *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False,
                              env={**os.environ, "NO_COLOR": "1", "HOME": "/nonexistent"})
        self.assertEqual(done.returncode, status, (arguments, done.stdout, done.stderr))
        return done.stdout.decode(), done.stderr.decode()

    def compare(self, *arguments, status=0):
        answer = json.loads(self.sonde("compare", *arguments, "-o", "json", status=status)[0])
        return answer, {(e["client"], e["server"], e["side"]): e for e in answer["edges"]}

    @staticmethod
    def verdicts(edge):
        return {q["name"]: q["verdict"] for q in edge["quantities"] if q["verdict"] != "absent"}

    def setUp(self):
        super().setUp()
        self.agent()

    def test_what_differs_is_told_and_nothing_else(self):
        # Another instance, as after a roll-out: other process ids, the same names.
        old, new = self.process("web", "nginx", 42, "pod-1"), self.process("web", "nginx", 52, "pod-2")
        db = self.process("db", "redis", 43, "db-1")
        a = {"same": Edge(1, client_process_id=old, server_process_id=db),
             "worse": Edge(2, client_process_id=old, server_address="10.0.0.9"),
             "gone": Edge(3, client_process_id=old, server_address="10.0.0.10"),
             "few": Edge(4, segments=1, connects=0.3, client_process_id=old, server_address="10.0.0.11")}
        b = {"same": Edge(5, client_process_id=new, server_process_id=db),
             "worse": Edge(6, rtt=3, loss=0.02, connects=60, client_process_id=new, server_address="10.0.0.9"),
             "new": Edge(7, client_process_id=new, server_address="10.0.0.12"),
             "few": Edge(8, segments=1, connects=0.3, client_process_id=new, server_address="10.0.0.11")}
        first, second = self.task("pod-1", list(a.values())), self.task("pod-2", list(b.values()))
        answer, edges = self.compare(first, second, "--exit-code", status=1)

        same = edges["web/nginx", "db/redis", "client"]
        self.assertEqual((same["state"], same["differs"]), ("both", False))
        self.assertEqual(set(self.verdicts(same).values()) - {"too_few"}, {"noise"}, same)
        worse = edges["web/nginx", "10.0.0.9", "client"]
        found = self.verdicts(worse)
        for name in ("rtt_p50_us", "rtt_p99_us", "retransmit_ratio", "connects_per_second"):
            self.assertEqual(found[name], "differs", (name, worse))
        self.assertEqual(found["sent_bytes_per_second"], "noise")
        values = {q["name"]: q for q in worse["quantities"]}
        for window, edge in (("a", a["worse"]), ("b", b["worse"])):
            ratio = values["retransmit_ratio"][window]
            self.assertEqual((ratio["count"], ratio["of"]), (edge.sum["retransmits"], edge.sum["sent"]))
            for percent in (50, 99):
                got = values[f"rtt_p{percent}_us"][window]
                self.assertEqual((got["value"], got["count"]), (edge.quantile(percent), len(edge.samples)))
            self.assertEqual(values["connects_per_second"][window]["count"], edge.sum["connects"])
            self.assertAlmostEqual(values["connects_per_second"][window]["value"], edge.sum["connects"] / 60)
            self.assertEqual(values["sent_bytes_per_second"][window]["count"], edge.sum["bytes"])
            self.assertFalse(ratio["lower_bound"])
        for server, state in (("10.0.0.10", "gone"), ("10.0.0.12", "new")):
            edge = edges["web/nginx", server, "client"]
            self.assertEqual((edge["state"], edge["differs"]), (state, True))
        few = edges["web/nginx", "10.0.0.11", "client"]
        self.assertFalse(few["differs"])
        self.assertEqual(set(self.verdicts(few).values()) - {"noise"}, {"too_few"}, few)
        self.assertEqual(answer["differences"], 3)

        text, notes = self.sonde("compare", first, second)
        self.assertRegex(text, r"(?m)^web/nginx +10\.0\.0\.9 +6379 +client +rtt_p50_us .* differs$")
        self.assertRegex(text, r"(?m)^web/nginx +db/redis +6379 +client +rtt_p50_us .* within noise$")
        self.assertRegex(text, r"(?m)^web/nginx +10\.0\.0\.12 .* NEW .* new$")
        self.assertRegex(text, r"(?m)^web/nginx +10\.0\.0\.10 .* GONE .* gone$")
        self.assertIn("3 of 5 edges differ", notes)
        self.assertNotIn("so few slices", notes)
        # a threshold that nothing passes, and more samples than there are
        answer, _ = self.compare(first, second, "--threshold", "100000%", "--min-samples", "1000000000", "--exit-code")
        self.assertEqual(answer["differences"], 0)
        self.assertTrue(self.sonde("compare", first, second, "-o", "csv")[0].startswith("client,server,port,"))

    def test_windows_of_one_task(self):
        web = self.process("web", "nginx", 42, "i")
        task = self.task("i", [Edge(9, client_process_id=web, server_address="10.0.0.9")])
        start = self.server.get(f"/tasks/{task}/topology")["window"]["start"]
        middle = int(datetime.datetime.fromisoformat(start.replace("Z", "+00:00")).timestamp() * 1000) + 30000
        answer, edges = self.compare(task, "--window", f"{start}..{middle}", "--window", f"{middle}..", "--exit-code")
        self.assertEqual([answer[w]["seconds"] for w in "ab"], [30, 30])
        notes = self.sonde("compare", task, "--window", f"{start}..{middle}", "--window", f"{middle}..")[1]
        self.assertIn("so few slices", notes)
        whole, _ = self.compare(task, task, "--window", "..", "--window", "..+1h")
        both = [next(iter(answer["edges"]))["quantities"], next(iter(whole["edges"]))["quantities"]]
        sent = [{q["name"]: q for q in qs}["sent_bytes_per_second"] for qs in both]
        self.assertEqual(sent[0]["a"]["count"] + sent[0]["b"]["count"], sent[1]["a"]["count"])
        self.assertEqual(set(self.verdicts(edges["web/nginx", "10.0.0.9", "client"]).values()) - {"too_few"}, {"noise"})

    def test_an_edge_used_now_and_then_is_not_gone(self):
        web = self.process("web", "nginx", 42, "i")
        task = self.task("i", [Edge(14, client_process_id=web, server_address="10.0.0.9"),
                               Sometimes(15, (1,), segments=100, client_process_id=web, server_address="10.0.0.10"),
                               Sometimes(16, (0, 1, 2, 3), client_process_id=web, server_address="10.0.0.11"),
                               Sometimes(17, (5,), segments=100, client_process_id=web, server_address="10.0.0.12")])
        start = self.server.get(f"/tasks/{task}/topology")["window"]["start"]
        at = int(datetime.datetime.fromisoformat(start.replace("Z", "+00:00")).timestamp() * 1000) + 40000
        answer, edges = self.compare(task, "--window", f"..{at}", "--window", f"{at}..")
        got = {e["server"]: (e["state"], e["differs"], e["verdict"]) for e in edges.values()}
        self.assertEqual(got, {"10.0.0.9": ("both", False, None), "10.0.0.10": ("gone", False, "noise"),
                               "10.0.0.11": ("gone", True, "differs"), "10.0.0.12": ("new", False, "noise")}, answer)
        gone = edges["web/nginx", "10.0.0.11", "client"]
        self.assertTrue(gone["p"] < gone["p_adjusted"] < 0.05, gone)
        self.assertRegex(self.sonde("compare", task, "--window", f"..{at}", "--window", f"{at}..")[0],
                         r"(?m)^web/nginx +10\.0\.0\.10 .* GONE .* gone, within noise$")
        # of one slice nothing can be told
        answer, edges = self.compare(task, "--window", f"..{at}", "--window", f"{at}..{at + 10000}", "--exit-code")
        self.assertEqual({e["verdict"] for e in edges.values() if e["state"] == "gone"}, {"too_few"}, answer)

    def test_an_edge_that_may_be_among_the_others_is_not_gone(self):
        web = self.process("web", "nginx", 42, "i")
        first = self.task("i", [Edge(18, client_process_id=web, server_address="10.0.0.9"),
                                Edge(19, client_process_id=web, server_address="10.0.0.10"),
                                Edge(20, side="server", server_process_id=web, client_address="10.0.0.11")])
        second = self.task("i", [Edge(21, client_process_id=web, server_address="10.0.0.9"),
                                 Edge(22, client_process_id=web, server_address="other"),
                                 Edge(23, side="server", server_process_id=web, client_address="10.0.0.12")])
        answer, _ = self.compare(first, second)
        self.assertEqual({(e["client"], e["server"]): (e["state"], e["differs"]) for e in answer["edges"]},
                         {("web/nginx", "10.0.0.9"): ("both", False),
                          ("web/nginx", "10.0.0.10"): ("not_told_apart_in_b", False),
                          ("web/nginx", "other"): ("not_told_apart_in_a", False),
                          ("10.0.0.11", "web/nginx"): ("gone", True),
                          ("10.0.0.12", "web/nginx"): ("new", True)})
        self.assertIn("in B perhaps in other", self.sonde("compare", first, second)[0])

    def test_a_window_from_just_before_the_task_is_all_of_it(self):
        web = self.process("web", "nginx", 42, "i")
        edge = Edge(40, client_process_id=web, server_address="10.0.0.9")
        task = self.task("i", [edge], late_ms=3000)
        start = self.compare(task, "--window", "..", "--window", "..")[0]["a"]["window"]["start"]
        before = int(datetime.datetime.fromisoformat(start.replace("Z", "+00:00")).timestamp() * 1000) - 2000
        answer, edges = self.compare(task, "--window", f"{before}..", "--window", "..")
        sent = {q["name"]: q for q in edges["web/nginx", "10.0.0.9", "client"]["quantities"]}["sent_bytes_per_second"]
        self.assertEqual([answer[w]["window"]["start"] for w in "ab"], [start, start])
        self.assertEqual([sent[w]["count"] for w in "ab"], [edge.sum["bytes"]] * 2)

    def test_loss_makes_lower_bounds_and_a_missing_target_no_gone_edge(self):
        web = self.process("web", "nginx", 42, "i")
        db = self.process("db", "redis", 43, "i")
        edge = {"client_process_id": web, "server_process_id": db}
        first = self.task("i", [Edge(10, **edge), Edge(11, side="server", **edge)], ledger=[("cell_full", 7)])
        second = self.task("i", [Edge(12, loss=0.05, **edge)])
        answer, edges = self.compare(first, second)
        self.assertEqual([answer[w]["complete"] for w in "ab"], [False, True])
        quantity = {q["name"]: q for q in edges["web/nginx", "db/redis", "client"]["quantities"]}["retransmit_ratio"]
        self.assertEqual((quantity["verdict"], quantity["rests_on_lower_bound"]), ("differs", True))
        self.assertEqual([quantity[w]["lower_bound"] for w in "ab"], [True, False])
        server = edges["web/nginx", "db/redis", "server"]
        self.assertEqual((server["state"], server["differs"]), ("not_measured_in_b", False))
        text, notes = self.sonde("compare", first, second)
        self.assertRegex(text, r"retransmit_ratio .*>=\d[\d,]*/.* differs \(by lower bounds\)")
        self.assertIn("its ledger has losses", notes)

    def test_what_one_agent_lacks_is_absent_of_its_processes_alone(self):
        second = self.agent("agent-2")
        here, there = self.process("web", "nginx", 42, "i"), self.process("web", "apache", 43, "i", second)
        one, other = self.process("web", "both", 44, "i"), self.process("web", "both", 45, "j", second)
        to = {"server_address": "10.0.0.9"}
        tasks = [self.task("i", [Edge(seed, client_process_id=here, **to), Edge(seed + 1, client_process_id=one, **to)],
                           targets=(here, one),
                           second=([Edge(seed + 2, client_process_id=there, **to),
                                    Edge(seed + 3, client_process_id=other, **to)], (there, other),
                                   ("sonde_net_receive_dropped_segments_total",))) for seed in (24, 28)]
        _, edges = self.compare(*tasks)
        got = {client: {q["name"]: (q["verdict"], q["reason"]) for q in e["quantities"]}["drop_ratio"]
               for (client, _, _), e in edges.items()}
        lacks = ("absent", "no such hook here")
        self.assertEqual(got, {"web/nginx": ("noise", None), "web/apache": lacks, "web/both": lacks})

    def test_more_edges_than_can_be_compared_are_refused(self):
        web = self.process("web", "nginx", 42, "i")
        few = self.task("i", [Edge(41, client_process_id=web, server_address="10.0.0.9")])
        for sides, status in ((2048, 200), (2049, 413)):
            many = self.task("i", [Edge(42, client_process_id=web, server_address="10.0.0.9")])
            for at in range(1, sides, 256):
                meters = [single("sonde_net_sent_segments_total", 1, side="client", server_port="80", client_process_id=web,
                                 server_address=f"10.1.{n // 256}.{n % 256}") for n in range(at, min(at + 256, sides))]
                self.assertEqual(self.agents[0].collect(f"{many}/{100 + at}/h", collection(
                    *meters, timestamp_ms=int(time.time()) // 10 * 10000 - 5000)).status, 0)
            got, _, body = self.server.request("GET", f"/api/v1/compare?a={few}&b={many}")
            self.assertEqual((got, body.get("field"), len(body.get("edges", []))),
                             (status, "b" if status == 413 else None, sides if status == 200 else 0), str(body)[:300])

    def test_each_exit_status(self):
        web = self.process("web", "nginx", 42, "i")
        task = self.task("i", [Edge(13, client_process_id=web, server_address="10.0.0.9")])
        empty = self.server.create({"service": "web"})["id"]
        self.sonde("compare", task, "nothing", status=3)
        self.sonde("compare", task, empty, status=4)  # nothing was measured
        for wrong in ((task,), (task, task), (task, task, "--window", "x"), (task, task, "--window", "1..y", "--window", ".."),
                      (task, task, "--window", "..", "--window", "..", "--window", ".."), (), (task, task, task),
                      (task, empty, "--threshold", "x%"), (task, empty, "--min-samples", "0")):
            self.sonde("compare", *wrong, status=2)
        self.sonde("compare", task, empty, "--server", "http://127.0.0.1:1", status=5)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
