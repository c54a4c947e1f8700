#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sonde-server over its real ports against a peer that is not ours, well behaved and not.

server-peer.py SONDE_SERVER RULES_FOLDER
"""
import contextlib
import http.client
import json
import pathlib
import signal
import socket
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
from server_rig import Agent, Server, ServerCase, collection, entity, histogram, single, task_report, wait_for  # noqa: E402
from protobuf import decode, field, message  # noqa: E402

PROGRAM, RULES = sys.argv[1:3]
OK, INVALID, NOT_FOUND, DENIED, EXHAUSTED, PRECONDITION, UNIMPLEMENTED = 0, 3, 5, 7, 8, 9, 12
REPORT = "/sonde.v1.TaskReportService/report"
BATCH = "/skywalking.v3.MeterReportService/collectBatch"


def edge_labels(side="client", **more):
    return {"side": side, "client_process_id": "c" * 64, "server_address": "10.0.0.9", "server_port": "80", **more}


def batch(sent=100, rtt=None, **more):
    meters = [single("sonde_net_sent_bytes_total", sent, **edge_labels())]
    if rtt:
        meters.append(histogram("sonde_net_rtt_microseconds", rtt, **edge_labels()))
    return collection(*meters, **more)


class WithServer(ServerCase):
    def with_task(self, **more):
        agent = self.agent()
        self.assertEqual(agent.report_processes(("web", "nginx", 42)).status, OK)
        return agent, self.server.create({"service": "web"}, **more)["id"]

    def side(self, task):
        edges = self.server.get(f"/tasks/{task}/topology")["edges"]
        self.assertEqual(len(edges), 1)
        return edges[0]["client_side"]


def plan(agent, question, probes=(), targets=(), **more):
    """probes: (metrics, probe, state, core)."""
    return message(f1=agent, f2=question, f5=[message(f1=pid, f3="n", f4=state) for pid, state in targets],
                   f6=[message(f1=m, f2=p, f3=s, f4=core, f5="why", f8=100) for m, p, s, core in probes], **more)


class Questions(WithServer):
    ANSWER = "/sonde.v1.TaskControlService/answer"
    PROBES = (("connections", "tp_btf/x", "chosen", True), ("calls", "fentry/y", "absent", False))

    def watching(self, name="agent-1"):
        agent = self.agent(name)
        self.assertEqual(agent.report_processes(("web", "nginx", 42)).status, OK)
        return agent, self.watch(agent)

    def watch(self, agent):
        watch = agent.start("/sonde.v1.TaskControlService/watch", [message(f1=agent.name)])
        while not watch.messages:
            agent.step()
        return watch

    def ask(self, *request):
        """The REST call runs beside: its answer waits for the agent's. Call the result for it."""
        got = []
        thread = threading.Thread(target=lambda: got.append(self.server.request(*request)))
        thread.start()

        def answer():
            thread.join(120)
            return got[0]
        return answer

    def question(self, agent, watch, n=2):
        """(id, spec) of the watch's n-th message."""
        while len(watch.messages) < n:
            agent.step()
        asked = decode(decode(watch.messages[n - 1])[5][0])
        return asked[1][0].decode(), asked.get(2, [b""])[0].decode()

    def test_doctor_waits_for_the_agents_answer(self):
        agent, watch = self.watching()
        answer = self.ask("GET", "/api/v1/agents/agent-1/doctor")
        ident, spec = self.question(agent, watch)
        self.assertEqual((len(ident), spec), (32, ""))
        self.assertEqual(agent.call(self.ANSWER, plan("agent-1", ident, self.PROBES, f8=7, f9=9)).status, OK)
        status, _, got = answer()
        self.assertEqual((status, got["ok"], got["answered"], got["map_bytes"], got["map_bytes_full"]),
                         (200, True, True, 7, 9))
        self.assertEqual([(p["probe"], p["state"], p["core"], p["target_ns"]) for p in got["probes"]],
                         [("tp_btf/x", "chosen", True, 100), ("fentry/y", "absent", False, 100)])
        # The question is answered: nobody can answer it again.
        self.assertEqual(agent.call(self.ANSWER, plan("agent-1", ident)).status, NOT_FOUND)

    def test_a_core_metric_without_a_probe_is_not_ok(self):
        agent, watch = self.watching()
        for n, probes, more in ((2, (("c", "p", "absent", True),), {}), (3, (), {}),
                                (4, self.PROBES, {"f4": "CAP_BPF"})):
            answer = self.ask("GET", "/api/v1/agents/agent-1/doctor")
            ident, _ = self.question(agent, watch, n)
            self.assertEqual(agent.call(self.ANSWER, plan("agent-1", ident, probes, **more)).status, OK)
            self.assertFalse(answer()[2]["ok"])

    def test_an_answer_counts_only_from_who_was_asked_and_only_in_bounds(self):
        agent, watch = self.watching()
        other = self.agent("agent-2")
        answer = self.ask("GET", "/api/v1/agents/agent-1/doctor")
        ident, _ = self.question(agent, watch)
        self.assertEqual(other.call(self.ANSWER, plan("agent-2", ident, self.PROBES)).status, NOT_FOUND)
        self.assertEqual(agent.call(self.ANSWER, plan("agent-1", "0" * 32, self.PROBES)).status, NOT_FOUND)
        self.assertEqual(agent.call(self.ANSWER, plan("agent-1", "", self.PROBES)).status, NOT_FOUND)
        self.assertEqual(agent.call(self.ANSWER, b"\xff\xff\xff").status, INVALID)
        self.assertEqual(agent.call(self.ANSWER, plan("agent-1", ident, self.PROBES * 300)).status, INVALID)
        self.assertEqual(agent.call(self.ANSWER, message(f1="agent-1", f2=ident, f3=b"\xc3\x28")).status, INVALID)
        self.assertEqual(agent.call(self.ANSWER, plan("agent-1", ident, self.PROBES, f3="a\x1b[2Jb")).status, OK)
        self.assertEqual(answer()[2]["refused"], "a\x1b[2Jb")  # as JSON; who shows it takes care

    def test_who_is_not_there_is_not_asked(self):
        self.assertEqual(self.server.request("GET", "/api/v1/agents/nobody/doctor")[0], 404)
        self.assertEqual(self.server.request("POST", "/api/v1/agents/nobody/doctor", {})[0], 405)
        self.assertEqual(self.server.request("POST", "/api/v1/plan", {"targets": []})[0], 400)
        self.assertEqual(self.server.request("POST", "/api/v1/plan",
                                             {"targets": [{"service": "x"}], "durationMs": 5000})[0], 409)

    def test_a_question_waits_for_the_watch(self):
        agent = self.agent()
        self.assertEqual(agent.report_processes(("web", "nginx", 42)).status, OK)
        answer = self.ask("GET", "/api/v1/agents/agent-1/doctor")
        time.sleep(0.3)
        watch = self.watch(agent)
        ident, _ = self.question(agent, watch)
        self.assertEqual(agent.call(self.ANSWER, plan("agent-1", ident, self.PROBES)).status, OK)
        self.assertEqual(answer()[0], 200)

    def test_a_plan_asks_each_agent_for_its_own_targets(self):
        one, first = self.watching("agent-1")
        two, second = self.watching("agent-2")
        self.assertEqual(two.report_processes(("db", "redis", 43)).status, OK)
        answer = self.ask("POST", "/api/v1/plan", {"targets": [{"service": "web", "agentId": "agent-1"},
                                                               {"service": "db"}], "durationMs": 5000})
        ident, spec = self.question(one, first)
        self.assertEqual([t["service"] for t in json.loads(spec)["targets"]], ["web"])
        self.assertEqual(one.call(self.ANSWER, plan("agent-1", ident, self.PROBES, ((42, "found"),))).status, OK)
        ident, spec = self.question(two, second)
        self.assertEqual([t["service"] for t in json.loads(spec)["targets"]], ["db"])
        self.assertEqual(two.call(self.ANSWER, plan("agent-2", ident, self.PROBES, f3="no target")).status, OK)
        status, _, got = answer()
        self.assertEqual((status, got["ok"], got["spec"]["durationMs"]), (200, True, 5000))
        self.assertEqual([(a["agent_id"], a["refused"], [t["pid"] for t in a["targets"]]) for a in got["agents"]],
                         [("agent-1", None, [42]), ("agent-2", "no target", [])])
        self.assertEqual(self.server.get("/tasks")["tasks"], [])

    def test_open_questions_are_bounded(self):
        _, watch = self.watching()
        self.assertTrue(watch.messages)
        waiting = [self.ask("GET", "/api/v1/agents/agent-1/doctor") for _ in range(40)]
        answers = sorted((status, body["detail"]) for status, _, body in (w() for w in waiting))
        self.assertEqual(answers, [(503, "too many questions are open, try again")] * 8
                         + [(504, "the agent did not answer in time")] * 32)

    def test_the_client_and_the_server_may_go_while_it_waits(self):
        agent, watch = self.watching()
        connection = http.client.HTTPConnection("127.0.0.1", self.server.http, timeout=10)
        connection.request("GET", "/api/v1/agents/agent-1/doctor")
        ident, _ = self.question(agent, watch)
        connection.close()
        self.assertEqual(agent.call(self.ANSWER, plan("agent-1", ident, self.PROBES)).status, OK)
        self.ask("GET", "/api/v1/agents/agent-1/doctor")
        self.question(agent, watch, 3)  # tearDown ends the server with this one open


class Tasks(WithServer):
    def test_a_process_is_echoed_with_its_id_and_listed(self):
        agent = self.agent()
        call = agent.report_processes(("web", "nginx", 42), ("web", "nginx", 43))
        self.assertEqual(call.status, OK)
        self.assertEqual(call.headers["sonde-extension"], "1")
        self.assertEqual(call.headers["grpc-accept-encoding"], "identity,gzip,zstd")
        down = [decode(p) for p in decode(call.messages[0])[1]]
        self.assertEqual(len({d[1][0] for d in down}), 1)  # two pids of one name are one SkyWalking process
        self.assertEqual([decode(d[2][0])[1][0] for d in down], [42, 43])
        self.assertEqual(decode(down[0][2][0])[2][0], entity("web", "nginx"))
        targets = self.server.get("/targets")["targets"]
        self.assertEqual(sorted(t["pid"] for t in targets), [42, 43])
        self.assertEqual(targets[0]["process_id"], down[0][1][0].decode())
        self.assertEqual(targets[0]["command_line"], "/bin/nginx")
        self.assertTrue(targets[0]["live"])
        self.assertEqual(self.server.get("/agents")["agents"][0]["processes"], 2)

    def test_the_command_is_skywalkings_with_our_spec_in_it(self):
        agent, task = self.with_task(name="look", options={"executionTime": True})
        command, = agent.query()
        self.assertEqual(list(command), ["", "SerialNumber", "TaskId", "ProcessId", "TaskUpdateTime", "TriggerType",
                                         "TargetType", "TaskStartTime", "ExtensionConfigJSON",
                                         "FixedTriggerDuration"])
        self.assertEqual(command[""], "EBPFProfilingTaskQuery")
        self.assertEqual((command["TaskId"], command["TriggerType"], command["TargetType"],
                          command["FixedTriggerDuration"]), (task, "FIXED_TIME", "NETWORK", "60"))
        self.assertEqual(command["ProcessId"], self.server.get("/targets")["targets"][0]["process_id"])
        spec = json.loads(command["ExtensionConfigJSON"])["Sonde"]
        self.assertEqual((spec["id"], spec["name"], spec["durationMs"], spec["options"]["executionTime"]),
                         (task, "look", 60000, True))
        self.assertEqual(spec["targets"], [{"service": "web"}])
        self.assertEqual(agent.query(int(command["TaskUpdateTime"])), [])
        self.assertEqual(self.agent("agent-2").query(), [])

    def test_reports_drive_the_states_and_the_ledger(self):
        agent, task = self.with_task()
        agent.query()
        self.assertEqual(agent.report(task, 1, states=["planned", "attaching", "running"]).status, OK)
        self.assertEqual(self.server.get(f"/tasks/{task}")["state"], "running")
        self.assertEqual(agent.report(task, 1, states=["draining"]).status, OK)  # sent again
        self.assertEqual(self.server.get(f"/tasks/{task}")["state"], "running")
        self.assertEqual(agent.report(task, 3, states=["draining"], end="done",
                                      ledger=[("cell_full", 7, False)]).status, OK)
        got = self.server.get(f"/tasks/{task}")
        self.assertEqual([s["state"] for s in got["states"]],
                         ["accepted", "planned", "attaching", "running", "draining", "done"])
        ledger = self.server.get(f"/tasks/{task}/ledger")
        self.assertFalse(ledger["complete"])
        self.assertEqual(ledger["reports"] | {"late_ms": 0},
                         {"sequence": 3, "received": 2, "duplicates": 1, "missing": 1, "late_ms": 0, "batches": 0,
                          "refused": 0, "spooled": 0, "silent_ms": 0})
        self.assertEqual({e["site"]: e["count"] for e in ledger["entries"]}, {"cell_full": 7, "report_missing": 1})
        self.assertEqual(agent.report(task, 2).status, OK)  # late, but there
        self.assertTrue(self.server.get(f"/tasks/{task}/ledger")["complete"])

    def test_many_idle_connections_are_a_report_like_any_other(self):
        agent, task = self.with_task()
        agent.query()
        ones = dict.fromkeys([f"f{n}" for n in (2, 4, 7, 8, 10, 11, *range(17, 27))], 1)
        flow = [b"\x09" + n.to_bytes(8, "little") + message(f5=b"\x0a" * 4, f6=b"\x0a" * 4, f9=6, **ones)
                for n in range(1, 2561)]
        flows = message(f1=message(f1=7, f2="p" * 64, f3="redis"), f2=flow)
        self.assertEqual(agent.report(task, 1, states=["running"], f20=flows).status, OK)
        self.assertEqual(self.server.get(f"/tasks/{task}")["state"], "running")

    def test_an_agent_that_was_started_anew_ends_its_task(self):
        agent, task = self.with_task()
        agent.query()
        agent.report(task, 1, states=["running"])
        agent.report(task, 2)
        self.assertEqual(agent.report(task, 1, states=["planned", "running"]).status, OK)  # counts from 1 again
        self.assertEqual(agent.report(task, 2, end="done").status, OK)
        self.assertEqual(self.server.get(f"/tasks/{task}")["state"], "done")

    def test_the_code_of_an_end_is_kept_for_programs(self):
        agent, task = self.with_task()
        agent.query()
        self.assertEqual(self.server.get(f"/tasks/{task}")["reason_code"], "")
        agent.report(task, 1, states=["failed"], end="failed", f19="bpf_refused")
        self.server.restart(signal.SIGTERM)
        got = self.server.get(f"/tasks/{task}")
        self.assertEqual((got["state"], got["reason_code"]), ("failed", "bpf_refused"))

    def test_a_clock_of_another_age_ends_no_task_early(self):
        agent, task = self.with_task()
        agent.query()
        agent.report(task, 1, states=["running", "draining", "done"], at_ms=1000)  # 1970: older than any retention
        agent.report(task, 2, end="done")
        got = self.server.get(f"/tasks/{task}")
        self.assertEqual((got["state"], got["ended"], got["started"]), ("done", got["created"], got["created"]))

    def test_a_sequence_that_could_not_be_kept_is_refused(self):
        agent, task = self.with_task()
        agent.query()
        self.assertEqual(agent.report(task, 1, states=["running"]).status, OK)
        self.assertEqual(agent.report(task, 1 << 63).status, INVALID)
        self.server.restart(signal.SIGTERM)
        self.assertEqual(self.server.get(f"/tasks/{task}")["state"], "running")

    def test_a_watch_says_hello_and_is_told_of_extension_and_stop(self):
        agent, task = self.with_task()
        agent.query()
        agent.report(task, 1, states=["running"])
        watch = agent.start("/sonde.v1.TaskControlService/watch", [message(f1=agent.name)])
        while len(watch.messages) < 1:
            agent.step()
        self.assertEqual(list(decode(watch.messages[0])), [3])
        status, _, body = self.server.request("POST", f"/api/v1/tasks/{task}/extend", {"duration_ms": 5000})
        self.assertEqual((status, body["duration_ms"]), (202, 65000))
        while len(watch.messages) < 2:
            agent.step()
        extend = decode(decode(watch.messages[1])[2][0])
        self.assertEqual(extend[1][0].decode(), task)
        again = agent.start("/sonde.v1.TaskControlService/watch", [message(f1=agent.name)])
        while len(again.messages) < 2:  # who comes anew is told as well
            agent.step()
        self.assertEqual(decode(decode(again.messages[1])[2][0])[2], extend[2])
        status, _, _ = self.server.request("POST", f"/api/v1/tasks/{task}/stop", {"reason": "enough"})
        self.assertEqual(status, 202)
        while len(watch.messages) < 3:
            agent.step()
        stop = decode(decode(watch.messages[2])[1][0])
        self.assertEqual((stop[1][0].decode(), stop[2][0].decode()), (task, "enough"))
        agent.report(task, 2, end="stopped")
        self.assertEqual(self.server.get(f"/tasks/{task}")["state"], "stopped")

    def watch(self, agent):
        watch = agent.start("/sonde.v1.TaskControlService/watch", [message(f1=agent.name)])
        while len(watch.messages) < 1:
            agent.step()
        return watch

    def test_who_watches_is_told_that_a_task_waits(self):
        agent, first = self.with_task()
        watch = self.watch(agent)
        while len(watch.messages) < 2:  # the one that was there before the watch
            agent.step()
        self.assertEqual(list(decode(watch.messages[1])), [4])
        self.assertEqual([c["TaskId"] for c in agent.query()], [first])
        second = self.server.create({"service": "web"})["id"]
        while len(watch.messages) < 3:
            agent.step()
        self.assertEqual(list(decode(watch.messages[2])), [4])
        self.assertIn(second, [c["TaskId"] for c in agent.query()])

    def test_a_task_shorter_than_a_poll_waits_for_it(self):
        agent, task = self.with_task(duration_ms=1000)
        time.sleep(2.5)  # as a poll may be late
        command, = agent.query()
        self.assertEqual((command["TaskId"], command["FixedTriggerDuration"]), (task, "1"))
        self.assertEqual(self.server.get(f"/tasks/{task}")["state"], "accepted")
        agent.report(task, 1, states=["running"])
        agent.report(task, 2, end="done")
        self.assertEqual(self.server.get(f"/tasks/{task}")["state"], "done")

    def test_an_agent_whose_watch_ended_gets_no_task(self):
        agent, _ = self.with_task()
        self.watch(agent)
        self.assertTrue(self.server.get("/agents")["agents"][0]["connected"])
        agent.close()
        self.agents.remove(agent)
        wait_for("the end of its watch", lambda: not self.server.get("/agents")["agents"][0]["connected"])
        self.assertFalse(self.server.get("/targets")["targets"][0]["live"])
        for target in ({"service": "web"}, {"pid": 42}, {"pid": 4242, "agentId": agent.name}):
            status, _, body = self.server.request("POST", "/api/v1/tasks",
                                                  {"targets": [target], "durationMs": 5000})
            self.assertEqual(status, 409, target)
            self.assertIn("not connected", body["detail"])
        self.assertEqual(self.server.request("POST", "/api/v1/tasks",
                                             {"targets": [{"pid": 7}], "durationMs": 5000})[0], 409)
        self.assertEqual(self.agent().report_processes(("web", "nginx", 42)).status, OK)  # it is back
        self.assertIn("id", self.server.create({"service": "web"}))

    def test_a_stop_before_anyone_took_it_ends_it(self):
        _, task = self.with_task()
        status, _, body = self.server.request("POST", f"/api/v1/tasks/{task}/stop")
        self.assertEqual((status, body["state"]), (202, "stopped"))

    def test_an_unregistered_pid_goes_to_the_agent_that_is_named(self):
        agent = self.agent()
        agent.report_processes(("web", "nginx", 42))
        task = self.server.create({"pid": 4242, "agentId": agent.name})["id"]
        command, = agent.query()
        self.assertEqual((command["TaskId"], command["ProcessId"]), (task, ""))
        self.assertEqual(json.loads(command["ExtensionConfigJSON"])["Sonde"]["targets"],
                         [{"pid": 4242, "agentId": agent.name}])


class Meters(WithServer):
    def test_every_encoding_counts_the_same(self):
        agent, task = self.with_task()
        for sequence, encoding in enumerate(("identity", "gzip", "zstd"), 1):
            call = agent.collect(f"{task}/{sequence}/h", batch(100, {10: 3, 40: 1}), encoding=encoding)
            self.assertEqual(call.status, OK, call.words)
        side = self.side(task)
        self.assertEqual(side["sent_bytes"], 300)
        self.assertEqual(side["rtt_us"] | {"mean": None},
                         {"count": 12, "mean": None, "min": 10, "p50": 10, "p90": 40, "p99": 40})

    def test_a_total_takes_the_nearest_rank_and_a_point_that_of_an_oap(self):
        agent, task = self.with_task()
        agent.collect(f"{task}/1/h", batch(rtt={10: 14, 40: 2}))  # P90 of 16 is at rank 14.4
        name = "sonde_net_rtt_microseconds"
        total = {m["labels"]["p"]: m["value"] for m in self.server.get(f"/tasks/{task}/metrics")["metrics"]
                 if m["metric"] == name}
        point = {s["labels"]["p"]: s["points"][0][1]
                 for s in self.server.get(f"/tasks/{task}/series?metric={name}&step=1m")["series"]}
        self.assertEqual(total, {"50": 10, "90": 40, "99": 40})
        self.assertEqual(point, {"50": 10, "90": 10, "99": 40})
        self.assertEqual(self.side(task)["rtt_us"]["p90"], total["90"])

    def test_a_batch_sent_again_counts_once(self):
        agent, task = self.with_task()
        for _ in range(3):
            self.assertEqual(agent.collect(f"{task}/1/h", batch()).status, OK)
        self.assertEqual(agent.collect(f"{task}/1/other", batch()).status, OK)  # another content
        self.assertEqual(self.side(task)["sent_bytes"], 200)
        self.assertEqual(self.server.get(f"/tasks/{task}/ledger")["reports"]["duplicates"], 2)

    def test_tasks_do_not_share_series(self):
        agent, one = self.with_task()
        two = self.server.create({"service": "web"})["id"]
        agent.collect(f"{one}/1/h", batch(1))
        agent.collect(f"{two}/1/h", batch(20))
        agent.collect("-/1/h", batch(300))
        agent.collect(None, batch(4000))
        self.assertEqual(self.side(one)["sent_bytes"], 1)
        self.assertEqual(self.side(two)["sent_bytes"], 20)

    def test_both_ends_are_one_edge(self):
        agent = self.agent()
        call = agent.report_processes(("web", "nginx", 42), ("db", "redis", 43))
        web, database = (decode(p)[1][0].decode() for p in decode(call.messages[0])[1])
        task = self.server.create({"service": "web"}, {"service": "db"})["id"]
        ends = {"client_process_id": web, "server_process_id": database, "server_port": "6379"}
        agent.collect(f"{task}/1/h",
                      collection(single("sonde_net_sent_bytes_total", 10, side="client", **ends)),
                      collection(single("sonde_net_received_bytes_total", 10, side="server", **ends), service="db"))
        topology = self.server.get(f"/tasks/{task}/topology")
        edge, = topology["edges"]
        self.assertEqual((edge["client"], edge["server"], edge["port"]), (web, database, 6379))
        self.assertEqual(edge["client_side"]["sent_bytes"], 10)
        self.assertEqual(edge["server_side"]["received_bytes"], 10)
        self.assertEqual({n["service"]: n["target"] for n in topology["nodes"]}, {"web": True, "db": True})
        rows = self.server.get(f"/tasks/{task}/metrics?edge={edge['id']}")["metrics"]
        self.assertEqual({(r["client"], r["server"]) for r in rows}, {("nginx", "redis")})

    def test_collect_is_one_collection_a_stream(self):
        agent = self.agent()
        before = self.server.get("/server")["ingest"]
        call = agent.call("/skywalking.v3.MeterReportService/collect",
                          single("sonde_net_sent_bytes_total", 1, **edge_labels()),
                          single("sonde_net_sent_bytes_total", 2, **edge_labels(server_port="81")) +
                          message(f3="web", f4="i", f5=1700000000000))
        self.assertEqual(call.status, OK, call.words)
        after = self.server.get("/server")["ingest"]
        self.assertEqual((after["collections"] - before["collections"], after["samples"] - before["samples"]), (1, 2))

    def test_a_bad_collection_does_not_take_the_next_one_down(self):
        agent, task = self.with_task()
        nameless = message(f1=[single("sonde_net_sent_bytes_total", 5, **edge_labels())])  # no service, no time
        self.assertEqual(agent.collect(f"{task}/1/h", nameless, batch(7)).status, OK)
        self.assertEqual(self.side(task)["sent_bytes"], 7)
        self.assertFalse(self.server.get(f"/tasks/{task}/ledger")["complete"])

    def test_points_over_time_and_totals_agree(self):
        agent, task = self.with_task()
        start = int(time.time()) // 60 * 60000 - 240000  # of a minute; older than what is kept is refused
        for i in range(13):
            agent.collect(f"{task}/{i}/h", batch(i, timestamp_ms=start + i * 10000))
        for step, points in (("10s", 13), ("1m", 3)):
            series = self.server.get(f"/tasks/{task}/series?metric=sonde_net_sent_bytes_total&step={step}")
            found = series["series"][0]["points"]
            self.assertEqual(sum(v for _, v in found), 78)
            self.assertLessEqual(len(found), points)
        self.assertEqual(found[0][0], time.strftime("%Y-%m-%dT%H:%M:00.000Z", time.gmtime(start // 1000)))
        metrics = self.server.get(f"/tasks/{task}/metrics?metric=sonde_net_sent_bytes_total")["metrics"]
        self.assertEqual([m["value"] for m in metrics], [78])
        self.assertEqual(self.server.get(f"/tasks/{task}/metrics?edge=ffff")["metrics"], [])
        edge = self.server.get(f"/tasks/{task}/topology")["edges"][0]["id"]
        self.assertTrue(self.server.get(f"/tasks/{task}/metrics?edge={edge}")["metrics"])


    def test_a_rate_is_per_minute_and_says_so(self):
        agent, task = self.with_task()
        meter = single("rover_net_p_client_write_bytes_counter", 60, **edge_labels())
        start = int(time.time()) // 60 * 60000 - 240000
        for sequence, second in enumerate((0, 10, 70), 1):
            call = agent.collect(f"{task}/{sequence}/h", collection(meter, timestamp_ms=start + second * 1000))
            self.assertEqual(call.status, OK)
        name = "process_relation_client_write_total_bytes"
        for step, values in (("10s", [360, 360, 360]), ("1m", [120, 60])):
            got = self.server.get(f"/tasks/{task}/series?metric={name}&step={step}")
            self.assertEqual(got["unit"], "bytes_per_minute")
            self.assertEqual([v for _, v in got["series"][0]["points"]], values)
        total, = self.server.get(f"/tasks/{task}/metrics?metric={name}")["metrics"]
        self.assertEqual((total["unit"], total["value"]), ("bytes_per_minute", 90))


class Restart(WithServer):
    def test_nothing_acknowledged_is_lost_by_a_kill(self):
        agent, task = self.with_task()
        agent.query()
        agent.report(task, 1, states=["running"])
        for i in range(5):
            self.assertEqual(agent.collect(f"{task}/{i}/h", batch(100, {10: 1})).status, OK)
        before = self.server.get(f"/tasks/{task}/topology")
        for _ in range(3):
            self.server.restart(signal.SIGKILL)
            self.assertEqual(self.server.get(f"/tasks/{task}/topology"), before)
        agent = self.agent()
        self.assertEqual(agent.collect(f"{task}/4/h", batch(100, {10: 1})).status, OK)  # sent again
        self.assertEqual(agent.collect(f"{task}/5/h", batch(1)).status, OK)
        self.assertEqual(self.side(task)["sent_bytes"], 501)
        self.assertEqual(agent.report(task, 1, states=["draining"]).status, OK)
        got = self.server.get(f"/tasks/{task}")
        self.assertEqual((got["state"], got["reports"]["duplicates"]), ("running", 2))
        self.assertEqual(agent.report(task, 2, end="done").status, OK)
        self.server.restart(signal.SIGTERM)
        self.assertEqual(self.side(task)["sent_bytes"], 501)
        self.assertEqual(self.server.get(f"/tasks/{task}")["state"], "done")
        self.assertEqual(self.server.get("/targets")["targets"][0]["pid"], 42)

    def test_a_clean_end_leaves_nothing_to_apply_again(self):
        agent, task = self.with_task()
        agent.collect(f"{task}/1/h", batch())
        self.server.end(signal.SIGTERM)
        database = sqlite3.connect(self.server.path / "state" / "sonde.db")
        waiting, = database.execute("SELECT count(*) FROM report WHERE data IS NOT NULL").fetchone()
        database.close()
        self.assertEqual(waiting, 0)
        self.server.start()
        self.assertEqual(self.side(task)["sent_bytes"], 100)

    def test_a_start_that_fails_deletes_nothing(self):
        agent, task = self.with_task()
        old = batch(timestamp_ms=int(time.time() * 1000) - 3 * 3600 * 1000)
        self.assertEqual(agent.collect(f"{task}/1/h", old).status, OK)
        self.server.end(signal.SIGTERM)

        def fine():
            with contextlib.closing(sqlite3.connect(self.server.path / "state" / "sonde.db")) as database:
                return database.execute("SELECT count(*) FROM bucket WHERE step = 0").fetchone()[0]
        self.assertEqual(fine(), 1)
        flags = self.server.flags
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.server.flags = (*flags, "--series-keep-10s", "30m", "--http-listen", f"127.0.0.1:{taken.getsockname()[1]}")
            with self.assertRaisesRegex(RuntimeError, "cannot listen for HTTP"):
                self.server.start()
        self.assertEqual(fine(), 1)
        self.server.flags = (*flags, "--series-keep-10s", "30m")
        self.server.start()
        wait_for("its deletion", lambda: fine() == 0)  # it was one to go

    def test_a_newer_servers_database_is_left_alone(self):
        self.server.end()
        database = sqlite3.connect(self.server.path / "state" / "sonde.db")
        version, = database.execute("PRAGMA user_version").fetchone()
        database.execute("PRAGMA user_version = 999")
        database.close()
        with self.assertRaisesRegex(RuntimeError, "newer version"):
            self.server.start()
        database = sqlite3.connect(self.server.path / "state" / "sonde.db")
        database.execute(f"PRAGMA user_version = {version}")
        database.close()
        self.server.start()


class Hostile(WithServer):
    flags = ("--http-max-body", "4KiB", "--grpc-max-message", "64KiB")

    def refused(self, status, method, path, field_name=None, **options):
        got, headers, body = self.server.request(method, path, **options)
        self.assertEqual(got, status, body)
        self.assertEqual(headers["Content-Type"], "application/problem+json")
        self.assertEqual(body["status"], status)
        self.assertTrue(body["detail"] and body["title"])
        self.assertEqual(body.get("field"), field_name)
        return headers

    def test_bad_requests_name_what_is_wrong(self):
        agent, task = self.with_task()
        tasks = "/api/v1/tasks"
        self.refused(400, "POST", tasks, raw="{")
        self.refused(400, "POST", tasks, raw="[" * 2000)
        self.refused(400, "POST", tasks, raw='{"name":"a","name":"b"}')
        self.refused(400, "POST", tasks, "targets", body={"durationMs": 5000})
        self.refused(400, "POST", tasks, "durationMs", body={"targets": [{"service": "web"}]})
        self.refused(404, "POST", tasks, "targets[0].service",
                     body={"targets": [{"service": "nope"}], "durationMs": 5000})
        self.refused(404, "POST", tasks, "targets[0].agentId",
                     body={"targets": [{"pid": 1, "agentId": "nope"}], "durationMs": 5000})
        self.refused(413, "POST", tasks, raw=json.dumps({"name": "x" * 5000}))
        self.refused(415, "POST", tasks, raw="{}", headers={"Content-Type": "text/plain"})
        self.refused(404, "GET", "/api/v1/nope")
        self.refused(404, "GET", f"{tasks}/nope")
        self.refused(404, "GET", f"{tasks}/{'x' * 5000}")
        self.assertEqual(self.refused(405, "DELETE", tasks)["Allow"], "GET, HEAD, POST")
        self.assertEqual(self.refused(405, "GET", f"{tasks}/{task}/stop")["Allow"], "POST")
        self.assertEqual(self.refused(405, "POST", "/healthz", body={})["Allow"], "GET, HEAD")
        self.refused(400, "GET", f"{tasks}?limit=0", "limit")
        self.refused(400, "GET", f"{tasks}/{task}/series", "metric")
        self.refused(400, "GET", f"{tasks}/{task}/series?metric=a&step=1d", "step")
        self.refused(400, "POST", f"{tasks}/{task}/extend", "duration_ms", body={})
        self.refused(400, "POST", f"{tasks}/{task}/extend", "duration_ms", body={"duration_ms": 10**12})
        self.refused(400, "POST", f"{tasks}/{task}/stop", "reason", body={"reason": 7})
        self.assertEqual(len(agent.query()), 1)  # and everyone else goes on

    def test_head_has_the_headers_alone(self):
        status, headers, body = self.server.request("HEAD", "/api/v1/tasks")
        self.assertEqual((status, body), (200, None))
        self.assertGreater(int(headers["Content-Length"]), 0)

    def test_bad_messages_end_their_own_call_only(self):
        agent, task = self.with_task()
        watch = agent.start("/sonde.v1.TaskControlService/watch", [message(f1=agent.name)])
        for call, status in (
                (agent.call(REPORT, b"\xff\xff"), INVALID),
                (agent.call(REPORT, task_report("", task, 1)), INVALID),
                (agent.call(REPORT, task_report(agent.name, "nope", 1)), NOT_FOUND),
                (agent.call(REPORT, task_report("stranger", task, 1)), PRECONDITION),
                (agent.call(REPORT, task_report(agent.name, task, 0)), INVALID),
                (agent.call(REPORT, task_report(agent.name, task, 1, f9=[b""] * 5000)), INVALID),
                (agent.call(REPORT), INVALID),
                (agent.call(REPORT, b"", b""), INVALID),
                (agent.call(BATCH, b"\xff", sonde_report_id=f"{task}/1/h"), INVALID),
                (agent.collect("no id", batch()), INVALID),
                (agent.collect("nope/1/h", batch()), NOT_FOUND),
                (agent.collect(f"{task}/1/h", b"\0" * 70000), EXHAUSTED),
                (agent.collect(f"{task}/1/h", b"\0" * 10**7, encoding="zstd"), EXHAUSTED),  # a bomb
                (agent.collect(f"{task}/1/h", b"\0" * 10**7, encoding="gzip"), EXHAUSTED),
                (agent.collect(f"{task}/1/h", batch(), encoding="snappy", flag=1), UNIMPLEMENTED),
                (agent.call("/skywalking.v3.EBPFProcessService/reportProcesses", b"\x0a\x7f"), INVALID),
                (agent.call("/skywalking.v3.EBPFProcessService/reportProcesses", message(f2="")), INVALID),
                (agent.call("/skywalking.v3.EBPFProfilingService/queryTasks", b"\xff"), INVALID),
                (agent.call("/sonde.v1.TaskControlService/watch", message(f1="x" * 300)), INVALID),
                (agent.call("/skywalking.v3.Nope/nope", b""), UNIMPLEMENTED)):
            self.assertEqual(call.status, status, call.headers)
            self.assertTrue(call.words)
        self.assertEqual(agent.collect(f"{task}/1/h", batch()).status, OK)
        self.assertEqual(self.side(task)["sent_bytes"], 100)
        self.assertFalse(watch.ended)

    def test_small_bytes_do_not_become_much_memory(self):
        agent, task = self.with_task()
        empty = field(1, b"") * 30000  # two bytes a meter
        self.assertEqual(agent.collect(f"{task}/1/h", empty).status, OK)
        self.assertEqual(self.server.get("/server")["ingest"]["collections_refused"], 1)
        self.assertEqual(agent.call(REPORT, field(9, b"") * 30000).status, INVALID)

    def test_garbage_on_either_port_disturbs_nobody(self):
        agent, _ = self.with_task()
        for port in (self.server.grpc, self.server.http):
            for data in (b"\0" * 1000, b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 500):
                with socket.create_connection(("127.0.0.1", port), 20) as sock:
                    sock.sendall(data)
        self.assertEqual(self.server.request("GET", "/healthz")[0], 200)
        self.assertEqual(len(agent.query()), 1)

    def test_a_client_that_leaves_in_mid_call_is_no_harm(self):
        agent, task = self.with_task()
        for _ in range(20):
            gone = Agent(self.server)
            gone.start(BATCH, [batch()], end=False, sonde_report_id=f"{task}/1/h")
            gone.close()
            gone = Agent(self.server)
            gone.start(BATCH, [batch(1)], sonde_report_id=f"{task}/2/h")
            gone.close()
        self.assertEqual(agent.collect(f"{task}/2/h", batch(1)).status, OK)
        self.assertEqual(self.side(task)["sent_bytes"], 1)


class Token(WithServer):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="sonde-server-")
        config = pathlib.Path(folder.name) / "server.yaml"
        config.write_text("token: s3cret-token\n", encoding="utf-8")
        config.chmod(0o600)  # a secret: refused where everyone may read it
        self.server = Server(PROGRAM, RULES, "--config", str(config), folder=folder)
        self.agents = []

    def test_both_ports_want_it_and_no_log_has_it(self):
        self.assertNotEqual(self.agent().report_processes(("web", "nginx", 1)).status, OK)
        self.assertNotEqual(self.agent(token="wrong").report_processes(("web", "nginx", 1)).status, OK)
        self.assertEqual(self.agent(token="s3cret-token").report_processes(("web", "nginx", 1)).status, OK)
        self.assertEqual(self.server.request("GET", "/api/v1/targets")[0], 401)
        self.assertEqual(self.server.request("GET", "/api/v1/targets",
                                             headers={"Authorization": "Bearer s3cret-tokem"})[0], 401)
        self.assertEqual(self.server.request("GET", "/api/v1/targets",
                                             headers={"Authorization": "Bearer s3cret-token"})[0], 200)
        self.assertNotIn("s3cret", self.server.log())

    def test_health_is_told_without_a_token_and_nothing_else(self):
        for token in (None, "wrong", "s3cret-token"):
            got = self.agent(token=token).call("/grpc.health.v1.Health/Check", b"")
            self.assertEqual((got.status, got.messages), (OK, [b"\x08\x01"]), token)
        for path in ("/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check/", "/grpc.health.v1.Health/",
                     "/skywalking.v3.ManagementService/keepAlive", "/sonde.v1.TaskControlService/watch", "/no.such/Thing"):
            self.assertEqual(self.agent().call(path, b"").status, DENIED, path)

    HEALTH = "/grpc.health.v1.Health/Check"

    def test_a_stranger_may_ask_a_short_question(self):
        stranger = self.agent()
        self.assertEqual(stranger.call(self.HEALTH, message(f1="x" * 253)).status, NOT_FOUND)  # 256 bytes: read
        self.assertEqual(stranger.call(self.HEALTH, message(f1="x" * 254)).status, EXHAUSTED)
        for encoding in ("gzip", "zstd"):
            self.assertEqual(stranger.call(self.HEALTH, b"", encoding=encoding).status, UNIMPLEMENTED, encoding)

    def unfinished(self, announced):
        """A stranger's question, but for its last byte."""
        one = self.agent()
        call = one.start(self.HEALTH, end=False)
        stream, data = max(one.calls), b"\0" + announced.to_bytes(4, "big") + bytes(announced - 1)
        while data and not call.ended:
            n = min(len(data), one.h2.local_flow_control_window(stream), 16384)
            if n:
                one.h2.send_data(stream, data[:n])
                one.flush()
                data = data[n:]
            else:
                one.step()
        return one, call

    def test_what_strangers_do_not_finish_takes_no_room_from_agents(self):
        large = [self.unfinished(16 << 20) for _ in range(4)]  # but for 4 bytes all that calls may hold
        small = [self.unfinished(256) for _ in range(20)]
        self.assertEqual(self.agent(token="s3cret-token").report_processes(("web", "nginx", 42)).status, OK)
        self.assertEqual([one.finish(call).status for one, call in large], [EXHAUSTED] * 4)
        for one, call in small:
            self.assertFalse(call.ended)
            one.h2.send_data(max(one.calls), b"\0", end_stream=True)
            self.assertEqual(one.finish(call).status, INVALID)  # whole now, and no question


class Config(unittest.TestCase):
    def run_with(self, text, *flags):
        with tempfile.TemporaryDirectory(prefix="sonde-server-") as folder:
            path = pathlib.Path(folder) / "server.yaml"
            path.write_text(text, encoding="utf-8")
            path.chmod(0o600)  # some hold a token
            done = subprocess.run([PROGRAM, "--config", str(path), *flags], capture_output=True, text=True,
                                  timeout=20, check=False)
        return done.returncode, done.stdout, done.stderr

    def test_an_unknown_key_names_file_and_line(self):
        status, _, err = self.run_with("grpc:\n  listen: 127.0.0.1:0\n  lisen: x\n", "--check-config")
        self.assertEqual(status, 2)
        self.assertRegex(err, r"server\.yaml:3: .*lisen")

    def test_a_bad_address_is_refused(self):
        status, _, err = self.run_with("http:\n  listen: localhost\n", "--check-config")
        self.assertEqual(status, 2)
        self.assertIn("http.listen", err)

    def test_the_dump_is_taken_again(self):
        status, out, _ = self.run_with("tasks:\n  grace: 5s\ntoken: hush\n", "--dump-config")
        self.assertEqual(status, 0)
        self.assertNotIn("hush", out)
        self.assertEqual(self.run_with(out, "--check-config")[0], 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
