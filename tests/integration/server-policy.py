#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Policies: on the wire as an OAP speaks it, and with a real agent: thresholds that are only watched attach nothing, one
that is passed makes a task, a schedule does, and a server that is killed knows them again.

server-policy.py SONDE_SERVER RULES_FOLDER SONDE_AGENT SONDE
"""
import json
import os
import pathlib
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parent.parent / "tools")]
# The folders are known only at run time.
from server_rig import Server, ServerCase, decode, ends_with_test, message, wait_for  # noqa: E402
from stack import children, end  # noqa: E402

PROGRAM, RULES, AGENT, SONDE = sys.argv[1:5]
CONTINUOUS = "/skywalking.v3.ContinuousProfilingService/"
NOT_FOUND, FAILED_PRECONDITION, UNIMPLEMENTED, INVALID_ARGUMENT = 5, 9, 12, 3


def threads(threshold, **more):
    return {"policy": [{"type": "NETWORK", **more, "checkers": [
        {"type": "PROCESS_THREAD_COUNT", "threshold": threshold, "period": 10, "count": 1}]}]}


class Wire(ServerCase):
    """A client that is no agent of ours: what an OAP would answer it."""

    def setUp(self):
        super().setUp()
        self.rover = self.agent("rover")
        self.assertEqual(self.rover.report_processes(("web", "nginx", 42)).status, 0)

    def commands(self, call):
        """{name: {key: value}}"""
        self.assertEqual(call.status, 0, call.words)
        found = {}
        for command in decode(call.messages[0]).get(1, []):
            fields = decode(command)
            pairs = [decode(p) for p in fields[2]]
            found[fields[1][0].decode()] = {p[1][0].decode(): p[2][0].decode() for p in pairs}
        return found

    def policies(self, *asked):
        call = self.rover.call(CONTINUOUS + "queryPolicies", message(f1=[message(f1=s, f2=u) for s, u in asked]))
        commands = self.commands(call)
        if not commands:
            return []
        self.assertEqual(list(commands), ["ContinuousProfilingPolicyQuery"])
        self.assertEqual(list(commands["ContinuousProfilingPolicyQuery"]), ["SerialNumber", "ServiceWithPolicyJSON"])
        return json.loads(commands["ContinuousProfilingPolicyQuery"]["ServiceWithPolicyJSON"])

    def report(self, service="web", process="nginx", cause=None, metadata=None, **target):
        value = message(f1=20.0, f2=31.0)
        return self.rover.call(CONTINUOUS + "reportProfilingTask", message(
            f1="GENERAL", f2=service, f3="i", f4=process, f5=cause or message(f1=1, f2=value), f6=60,
            **(target or {"f9": b""})), **(metadata or {}))

    def starts(self):
        """Rows of the audit log about tasks that nobody asked for."""
        return [(e["who"], e["role"], e["address"], e["subject"], e["status"], e["words"]) for e in self.server.get("/audit")["entries"]
                if e["action"] == "task.create"]

    def test_an_agent_starts_a_task_for_its_own_processes_alone(self):
        self.server.put("/policies/web", threads(20))
        other = self.report(metadata={"sonde_agent_id": "another"})
        self.assertEqual((other.status, other.words), (NOT_FOUND, "no such process is reported by this agent"))
        self.assertEqual(self.server.get("/tasks")["tasks"], [])
        made = self.commands(self.report(metadata={"sonde_agent_id": "rover"}))["ContinuousProfilingReportTask"]["TaskId"]
        (row,) = wait_for("it is in the audit log", self.starts)
        self.assertEqual(row[:5], ("agent rover", "none", "", made, 201))
        self.assertIn("current 31 >= threshold 20", row[5])

    def test_thresholds_are_told_until_they_are_known(self):
        self.assertEqual(self.policies(("web", "")), [])
        self.server.put("/policies/web", {"policy": [*threads(20)["policy"], {"type": "ON_CPU", "checkers": [
            {"type": "PROCESS_CPU", "threshold": "9", "period": 5, "count": 2}]}]})
        (told,) = self.policies(("web", ""), ("other", ""))
        self.assertEqual((told["ServiceName"], len(told["UUID"])), ("web", 128))
        self.assertEqual(told["Profiling"], {"NETWORK": {"PROCESS_THREAD_COUNT": {
            "Threshold": "20", "Period": 10, "Count": 1}}})
        self.assertEqual(self.policies(("web", told["UUID"])), [])
        self.server.put("/policies/web", threads(21))
        (again,) = self.policies(("web", told["UUID"]))
        self.assertNotEqual(again["UUID"], told["UUID"])
        self.assertEqual(self.server.request("DELETE", "/api/v1/policies/web")[0], 200)
        self.assertEqual(self.policies(("web", again["UUID"])), [{"ServiceName": "web", "UUID": ""}])

    def test_a_rover_has_its_task_by_the_answer_alone(self):
        self.server.put("/policies/web", threads(20, duration="90s"))
        made = self.commands(self.report())["ContinuousProfilingReportTask"]
        task = self.server.get("/tasks/" + made["TaskId"])
        self.assertEqual((task["duration_ms"], task["created_by"]), (90000, "policy"))
        self.assertEqual([t["processId"] for t in task["spec"]["targets"]], [task["trigger"]["process_id"]])
        trigger = task["trigger"]
        self.assertEqual((trigger["kind"], trigger["policy"], trigger["process"]), ("threshold", "web", "nginx"))
        self.assertEqual(trigger["causes"], [{
            "type": "PROCESS_THREAD_COUNT", "threshold": 20.0, "current": 31.0, "uri": None,
            "message": "PROCESS_THREAD_COUNT: current 31 >= threshold 20"}])
        self.assertIn("31 >= threshold 20", task["states"][0]["words"])
        self.assertEqual(self.rover.query(), [])  # or it would run it twice
        again = self.report()
        self.assertEqual((again.status, "still runs" in again.words), (FAILED_PRECONDITION, True), again.words)
        came = self.server.get("/policies/web")["thresholds"]
        self.assertEqual((came["tasks"], came["skipped"], came["last"]["task"]), (1, 1, task["id"]))

    def test_what_is_not_meant_or_hostile_makes_no_task(self):
        self.assertEqual(self.report().status, NOT_FOUND)  # there is no policy
        self.server.put("/policies/web", threads(20))
        self.assertEqual(self.report(process="apache").status, NOT_FOUND)
        self.assertEqual(self.report(f7=b"").status, UNIMPLEMENTED)  # on CPU
        nan = b"\x09" + struct.pack("<d", float("nan"))
        for cause in (message(f1=99, f2=message(f1=1.0, f2=2.0)), message(f1=1), message(f1=1, f2=nan)):
            self.assertEqual(self.report(cause=cause).status, INVALID_ARGUMENT, cause)
        for data in (b"\xff", b"\x0a\xff\xff\xff\xff\x0f"):
            self.assertEqual(self.rover.call(CONTINUOUS + "queryPolicies", data).status, INVALID_ARGUMENT)
            self.assertEqual(self.rover.call(CONTINUOUS + "reportProfilingTask", data).status, INVALID_ARGUMENT)
        self.assertEqual(self.server.get("/tasks")["tasks"], [])

    def test_a_schedule_of_nobody_says_why_and_what_was_missed_is_counted(self):
        self.server.put("/policies/nobody", {"schedules": [{"name": "s", "when": "every 10s"}]})
        self.rewind(int(time.time() * 1000) - 3600 * 1000)  # as if it had been down for an hour
        run = self.schedule("nobody", "missed")
        self.assertGreaterEqual(run["missed"], 355)
        run = self.schedule("nobody", "refused")
        self.assertEqual((run["tasks"], run["last"]["task"]), (0, None))
        self.assertEqual(run["last"]["words"], 'no live process belongs to "nobody"')

    def rewind(self, when_ms):
        """The server was away, and the schedule's times up to then are done with."""
        self.assertEqual(self.server.end(), 0)
        db = sqlite3.connect(pathlib.Path(self.server.path) / "state/sonde.db")
        with db:
            record = json.loads(db.execute("SELECT record FROM policy").fetchone()[0])
            record["schedules"]["s"]["due_ms"] = when_ms
            db.execute("UPDATE policy SET record = ?", (json.dumps(record),))
        db.close()
        self.server.start()

    def schedule(self, service, key):
        return wait_for(f"{key} of the schedule", lambda: next(
            (s for s in self.server.get("/policies/" + service)["schedules"] if s[key]), None))

    def test_a_schedule_never_runs_twice_at_once(self):
        self.server.put("/policies/web", {"schedules": [{"name": "s", "when": "every 10s", "duration": "20m"}]})
        self.rewind(int(time.time()) // 10 * 10000 - 1)  # the last one is due, not missed
        first = self.schedule("web", "tasks")
        (row,) = wait_for("it is in the audit log", self.starts)
        self.assertEqual(row[:5], ("schedule s", "none", "", first["last"]["task"], 201))
        self.assertEqual(row[5], "schedule s of web: every 10s")
        self.rewind(int(time.time()) // 10 * 10000 - 1)
        again = self.schedule("web", "skipped")
        self.assertEqual((again["tasks"], again["last"]["task"]), (1, first["last"]["task"]))
        self.assertIn("still ran", again["last"]["words"])
        self.assertEqual([t["id"] for t in self.server.get("/tasks")["tasks"]], [first["last"]["task"]])

    def ask(self, document, **variables):
        status, _, body = self.server.request("POST", "/graphql", {"query": document, "variables": variables})
        self.assertEqual((status, body.get("errors")), (200, None), body)
        return body["data"]["result"]

    def set_thresholds(self, targets, service_id="d2Vi.1"):
        """swctl's own document."""
        return self.ask("mutation ($request: ContinuousProfilingPolicyCreation!){ result: setContinuousProfilingPolicy("
                        "request: $request) { status errorReason } }",
                        request={"serviceId": service_id, "targets": targets})

    def test_what_swctl_and_booster_ask(self):
        item = {"type": "PROCESS_CPU", "threshold": "75", "period": 10, "count": 3, "uriList": None, "uriRegex": None}
        good = [{"targetType": "NETWORK", "checkItems": [item]}]
        for targets, words in (
                ([*good, *good], "contains multiple same target type: NETWORK"),
                ([{"targetType": "NETWORK", "checkItems": [item, item]}],
                 "contains multiple same monitor type PROCESS_CPU in NETWORK"),
                ([{"targetType": "ON_CPU", "checkItems": [{**item, "threshold": "101"}]}],
                 "check PROCESS_CPU in ON_CPU error: the process CPU percent should be in (0-100]"),
                ([{"targetType": "NETWORK", "checkItems": [{**item, "count": 11}]}],
                 "check PROCESS_CPU in NETWORK error: count must be equal to or smaller than period")):
            self.assertEqual(self.set_thresholds(targets), {"status": False, "errorReason": words})
        self.assertEqual(self.set_thresholds(good, ""),
                         {"status": False, "errorReason": "the service id cannot be empty"})
        self.assertEqual(self.server.get("/policies")["policies"], [])
        targets = ("query ($serviceId: ID!){ result: queryContinuousProfilingServiceTargets(serviceId: $serviceId) { type "
                   "checkItems { type threshold period count uriList uriRegex } triggeredCount lastTriggerTimestamp } }")
        self.assertEqual(self.ask(targets, serviceId="d2Vi.1"), [])

        # What OAP has no word for stays.
        self.server.put("/policies/web", {**threads(20, duration="90s"), "schedules": [{"name": "s", "when": "every 1h"}]})
        self.assertEqual(self.set_thresholds(good), {"status": True, "errorReason": None})
        document = self.server.get("/policies/web")["document"]
        self.assertEqual((document["policy"][0]["duration"], document["schedules"][0]["name"]), ("90s", "s"))
        none = {"triggeredCount": 0, "lastTriggerTimestamp": None}
        self.assertEqual(self.ask(targets, serviceId="d2Vi.1"), [{"type": "NETWORK", "checkItems": [item], **none}])
        self.commands(self.report(cause=message(f1=0, f2=message(f1=75.0, f2=80.5))))
        (row,) = self.ask(targets, serviceId="d2Vi.1")
        once = {"triggeredCount": 1, "lastTriggerTimestamp": row["lastTriggerTimestamp"]}
        self.assertEqual((row["triggeredCount"], abs(row["lastTriggerTimestamp"] / 1000 - time.time()) < 60), (1, True))
        (instance,) = self.ask(
            "query ($serviceId: ID!, $target: ContinuousProfilingTargetType!){ result: "
            "queryContinuousProfilingMonitoringInstances(serviceId: $serviceId, target: $target) { id name attributes { "
            "name value } triggeredCount lastTriggerTimestamp processes { id name detectType labels triggeredCount "
            "lastTriggerTimestamp } } }", serviceId="d2Vi.1", target="NETWORK")
        (process,) = instance.pop("processes")
        self.assertEqual(instance, {"id": "d2Vi.1_aQ==", "name": "i", "attributes": [], **once})
        self.assertEqual({k: process[k] for k in ("name", "triggeredCount")}, {"name": "nginx", "triggeredCount": 1})
        tasks = ("query ($trigger: EBPFProfilingTriggerType){ result: queryEBPFProfilingTasks(serviceId: \"d2Vi.1\", "
                 "triggerType: $trigger) { triggerType processId processName continuousProfilingCauses { type "
                 "singleValue { threshold current } uri { uriPath threshold } message } } }")
        self.assertEqual(self.ask(tasks, trigger="FIXED_TIME"), [])
        self.assertEqual(self.ask(tasks, trigger="CONTINUOUS_PROFILING"), [{
            "triggerType": "CONTINUOUS_PROFILING", "processId": process["id"], "processName": "nginx",
            "continuousProfilingCauses": [{"type": "PROCESS_CPU", "singleValue": {"threshold": 7500, "current": 8050},
                                           "uri": None, "message": "PROCESS_CPU: current 80.50% >= threshold 75.00%"}]}])

        # No target is no policy; schedules stay until they go too.
        self.assertTrue(self.set_thresholds([])["status"])
        self.assertEqual(self.server.get("/policies/web")["document"]["policy"], [])
        self.server.put("/policies/web", threads(20))
        self.assertTrue(self.set_thresholds([])["status"])
        self.assertEqual(self.server.request("GET", "/api/v1/policies/web")[0], 404)
        self.assertTrue(self.set_thresholds([])["status"])


TARGET = """
import socket, sys, threading
server, held = socket.create_server(("127.0.0.1", 0)), threading.Event()
def talk(end, first):
    if first:
        end.sendall(b"x" * 100)
    while not held.wait(0.02):
        end.sendall(end.recv(100))
client = socket.create_connection(server.getsockname())
for end, first in ((client, True), (server.accept()[0], False)):
    threading.Thread(target=talk, args=(end, first), daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        threading.Thread(target=held.wait, daemon=True).start()
"""


SWCTL_FILE = """policy:
  - type: ON_CPU
    checkers:
      - type: PROCESS_CPU
        threshold: 1
        period: 10
        count: 3
  - type: NETWORK
    checkers:
      - type: HTTP_ERROR_RATE
        threshold: 1
        period: 10
        count: 1
"""


class CommandLine(ServerCase):
    def setUp(self):
        super().setUp()
        self.file = self.server.path / "policy.yaml"

    def sonde(self, status, *arguments, data=None):
        """(stdout, stderr)"""
        done = subprocess.run([SONDE, "--server", f"http://127.0.0.1:{self.server.http}", "policy", *arguments],
                              input=data, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, status, (arguments, done.stderr))
        return done.stdout, done.stderr

    def test_a_file_of_swctl_goes_in_and_comes_out(self):
        self.file.write_text(SWCTL_FILE, encoding="utf-8")
        service = "shop::cart/a b%\u00e9"
        told = self.sonde(0, "set", service, "-f", str(self.file))[1]
        self.assertIn("ON_CPU is kept, but not watched", told)
        self.assertIn("HTTP_ERROR_RATE is not watched by sonde-agent", told)
        document = self.sonde(0, "get", service, "--document")[0]
        changed = self.server.get("/policies")["policies"][0]["changed"]
        self.sonde(0, "set", "-f", "-", data=document)  # its own `service`
        (row,) = self.server.get("/policies")["policies"]
        self.assertNotEqual(row["changed"], changed)
        self.assertEqual(self.sonde(0, "get", service, "--document")[0], document)
        self.assertEqual(self.sonde(0, "list", "-o", "name")[0], service + "\n")
        self.assertIn("NETWORK HTTP_ERROR_RATE>=1", self.sonde(0, "list")[0])
        self.assertIn("no live process of this service", self.sonde(0, "get", service)[0])
        self.sonde(0, "delete", service)
        self.sonde(3, "delete", service)
        self.sonde(3, "get", service)

    def test_what_is_wrong_is_told_with_file_and_line(self):
        for old, new, line, words in (
                ("threshold: 1\n", "threshold: 101\n", 5,
                 "policy[0].checkers[0].threshold: check PROCESS_CPU in ON_CPU error: the process CPU percent should be in"),
                ("count: 3", "cuont: 3", 7, "policy[0].checkers[0].cuont: no such key, known here are type, threshold"),
                ("        count: 3\n", "", 4, "policy[0].checkers[0].count: "),
                ("NETWORK", "NETWORKS", 8, "policy[1].type: expected ON_CPU, OFF_CPU or NETWORK"),
                ("policy:", "schedules: [{name: a, when: daily}]\npolicy:", 1, "schedules[0].when: expected 'every INTERVAL'"),
                ("    checkers:", "  - checkers", 4, "not YAML")):
            self.assertIn(old, SWCTL_FILE)
            self.file.write_text(SWCTL_FILE.replace(old, new, 1), encoding="utf-8")
            told = self.sonde(2, "set", "s", "-f", str(self.file))[1]
            self.assertIn(f"sonde: {self.file}:{line}: {words}", told)
        self.file.write_text(SWCTL_FILE, encoding="utf-8")
        self.assertIn("whose policy?", self.sonde(2, "set", "-f", str(self.file))[1])
        self.sonde(2, "set", "s")
        self.sonde(2, "set", "..", "-f", str(self.file))
        self.sonde(2, "set", "s", "-f", str(self.file) + ".none")
        self.assertEqual(self.server.get("/policies")["policies"], [])


def why_not():
    if os.geteuid() != 0:
        return "needs root"
    if not pathlib.Path("/sys/kernel/btf/vmlinux").exists():
        return "the kernel has no BTF"
    return None


@unittest.skipIf(why_not(), why_not())
class RealAgent(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="sonde-policy-")
        cls.path = pathlib.Path(cls.folder.name)
        cls.server = Server(PROGRAM, RULES)
        program = cls.path / "policy-target"
        shutil.copy2(pathlib.Path(sys.executable).resolve(), program)
        cls.target = subprocess.Popen([program, "-c", TARGET], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                      env={**os.environ, "PYTHONHOME": sys.base_prefix})
        assert cls.target.stdout.readline() == "ready\n"
        cls.start_agent()

    @classmethod
    def start_agent(cls):
        config = cls.path / "agent.yaml"
        config.write_text(
            f"backend: {{host: 127.0.0.1, port: {cls.server.grpc}, poll: 500ms}}\n"
            "skywalking: {continuous: {check: 1s}}\n"
            f"processes: {{scan: 500ms, rules: [{{executable: {cls.path}/policy-target, service: target}}]}}\n",
            encoding="utf-8")
        with open(cls.path / "agent.log", "ab") as log:
            cls.agent = ends_with_test(subprocess.Popen(
                [AGENT, "--state-dir", str(cls.path / "agent"), "--config", str(config)], stderr=log,
                stdin=subprocess.DEVNULL))

    @classmethod
    def tearDownClass(cls):
        end(cls.agent)
        cls.target.stdin.close()
        end(cls.target)
        cls.target.stdout.close()
        status = cls.server.close()
        cls.folder.cleanup()
        assert status == 0, status

    def sonde(self, *arguments, data=None):
        done = subprocess.run([SONDE, "--server", f"http://127.0.0.1:{self.server.http}", *arguments], input=data,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def bpf_descriptors(self):
        """Of agent, keeper and worker: what /proc says that they hold."""
        family = [self.agent.pid, *children(self.agent.pid)]
        family += [c for p in family[1:] for c in children(p)]
        self.assertGreaterEqual(len(family), 3)
        held = []
        for pid in family:
            for fd in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
                try:
                    text = fd.read_text(encoding="ascii", errors="replace")
                except FileNotFoundError:
                    continue
                if any(f"{kind}_id:" in text for kind in ("prog", "map", "link")):
                    held.append((pid, fd.name))
        return held

    def policy(self):
        return self.server.get("/policies/target")

    def task(self, ident, *states):
        return wait_for(f"task {ident} is {states}", lambda: next(
            (t for t in [self.server.get(f"/tasks/{ident}")] if t["state"] in states), None))

    def test(self):
        wait_for("the target is reported", lambda: any(t["service"] == "target" for t in self.server.get("/targets")["targets"]))
        # 3 and 30 threads: passed by the last one, so that whoever looks while they are begun sees nothing yet
        document = threads(33, preset="network", duration="60s")
        self.sonde("policy", "set", "target", "-f", "-", data=json.dumps(document))
        wait_for("an agent watches", lambda: any(a["current"] for a in self.policy()["agents"]))
        self.assertIn("no threshold was passed yet", self.policy()["words"])

        # It is watched, and nothing is attached.
        for _ in range(20):
            self.assertEqual(self.bpf_descriptors(), [])
            time.sleep(0.1)
        self.assertEqual(self.server.get("/tasks")["tasks"], [])

        # A schedule beside it, and the threshold is passed.
        document["schedules"] = [{"name": "soon", "when": "every 10s", "duration": "5s"}]
        self.sonde("policy", "set", "target", "-f", "-", data=json.dumps(document))
        self.target.stdin.write("30\n")
        self.target.stdin.flush()
        ident = wait_for("a task by itself", lambda: (self.policy()["thresholds"]["last"] or {}).get("task"))
        self.task(ident, "running")
        self.assertNotEqual(self.bpf_descriptors(), [])  # they can be seen
        wait_for("its series come", lambda: any((e[side] or {}).get("sent_bytes", 0) >= 100 for e in self.server.get(
            f"/tasks/{ident}/topology")["edges"] for side in ("client_side", "server_side")))
        self.sonde("task", "stop", ident)
        task = self.task(ident, "stopped", "done")
        cause = task["trigger"]["causes"][0]
        self.assertEqual((cause["type"], cause["threshold"]), ("PROCESS_THREAD_COUNT", 33.0))
        self.assertEqual(cause["current"], 33)
        self.assertEqual((task["trigger"]["policy"], task["duration_ms"]), ("target", 60000))
        self.assertIn(cause["message"], self.sonde("task", "get", ident))

        run = wait_for("the schedule has run", lambda: next((s for s in self.policy()["schedules"] if s["tasks"]), None))
        scheduled = self.task(run["last"]["task"], "done")
        self.assertEqual((scheduled["trigger"]["kind"], scheduled["trigger"]["schedule"]), ("schedule", "soon"))

        # No more of them, and a server that is killed knows it all again.
        document["schedules"][0]["when"] = "every 168h"
        self.sonde("policy", "set", "target", "-f", "-", data=json.dumps(document))
        wait_for("all have ended", lambda: not self.server.get("/tasks?state=unfinished")["tasks"])
        wait_for("all is detached", lambda: not self.bpf_descriptors())
        before = self.policy()
        self.server.restart()
        after = self.policy()
        for key in ("document", "uuid", "changed", "thresholds", "schedules"):
            self.assertEqual(after[key], before[key], key)
        self.assertEqual(after["thresholds"]["tasks"], 1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
