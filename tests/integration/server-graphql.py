#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sonde-server as SkyWalking's UIs and swctl see it: the documents that they send, on POST /graphql.

server-graphql.py SONDE_SERVER RULES_FOLDER
"""
import base64
import collections
import hashlib
import http.client
import json
import os
import pathlib
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from server_rig import Agent, Server, collection, entity, histogram, message, single, wait_for  # noqa: E402

PROGRAM, RULES = sys.argv[1:3]
OK, NOT_FOUND = 0, 5
WAIT_S = 60  # a test that hangs, not a measure

MENU_ITEM = "title icon layer activate description documentLink i18nKey"
SERVICE = "id value: name label: name group layers normal"
TASK = """taskId serviceName serviceId serviceInstanceId serviceInstanceName processLabels processName processId
    taskStartTime triggerType fixedTriggerDuration targetType createTime
    continuousProfilingCauses { type singleValue { threshold current } uri { uriRegex uriPath threshold current } message }"""
TASKS = f"""query queryEBPFTasks($serviceId: ID, $serviceInstanceId: ID, $targets: [EBPFProfilingTargetType!],
    $triggerType: EBPFProfilingTriggerType) {{ queryEBPFTasks: queryEBPFProfilingTasks(serviceId: $serviceId,
    serviceInstanceId: $serviceInstanceId, targets: $targets, triggerType: $triggerType) {{ {TASK} }} }}"""
CREATE = """mutation newNetworkProfiling($request: EBPFProfilingNetworkTaskRequest!) {
    newEBPFNetworkProfiling: createEBPFNetworkProfiling(request: $request) { status errorReason id } }"""
KEEP = """mutation aliveNetworkProfiling($taskId: ID!) {
    keepEBPFNetworkProfiling(taskId: $taskId) { status errorReason } }"""
TOPOLOGY = """query queryData($serviceInstanceId: ID!, $duration: Duration!) {
    topology: getProcessTopology(serviceInstanceId: $serviceInstanceId, duration: $duration) {
      nodes { id name isReal serviceName serviceId serviceInstanceId serviceInstanceName }
      calls { id source detectPoints target sourceComponents targetComponents } } }"""
PROCESSES = """query queryProcesses($instanceId: ID!, $duration: Duration!) {
    processes: listProcesses(instanceId: $instanceId, duration: $duration) { id value: name label: name serviceId
      serviceName instanceId instanceName agentId detectType attributes { name value } labels } }"""
RESULT = "{ type results { metric { labels { key value } } values { id value traceID } } error }"
SAMPLING = {"when4xx": False, "when5xx": True,
            "settings": {"requireCompleteRequest": True, "requireCompleteResponse": True}}


def b64(text):
    return base64.b64encode(text.encode()).decode()


def service_id(service):
    return b64(service) + ".1"


def instance_id(service, instance):
    return f"{service_id(service)}_{b64(instance)}"


def process_id(process, service, instance):
    return hashlib.sha256(f"{process}_{instance_id(service, instance)}".encode()).hexdigest()


def window(before_s=1800, after_s=0, step="MINUTE", form="%Y-%m-%d %H%M"):
    now = time.time()
    return {"start": time.strftime(form, time.gmtime(now - before_s)),
            "end": time.strftime(form, time.gmtime(now + after_s)), "step": step}


CLIENT, PEER = process_id("nginx", "web", "pod-1"), process_id("10.0.0.9", "web", "pod-1")


class WithServer(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.server = Server(PROGRAM, RULES)
        self.agent = Agent(self.server, "agent-1")
        self.assertEqual(self.agent.report_processes(("web", "nginx", 42), ("web", "nginx", 43), ("web", "cron", 44),
                                                     instance="pod-1").status, OK)

    def tearDown(self):
        self.agent.close()
        self.assertEqual(self.server.close(), 0)

    def post(self, document, variables=None, **more):
        status, _, body = self.server.request("POST", "/graphql",
                                              {"query": document, "variables": variables, **more})
        self.assertEqual(status, 200, body)
        return body

    def ask(self, document, variables=None, **more):
        body = self.post(document, variables, **more)
        self.assertNotIn("errors", body)
        return body["data"]

    def error(self, document, variables=None):
        body = self.post(document, variables)
        return body["errors"][0]["message"]

    def create(self, instance="pod-1", samplings=(SAMPLING,)):
        request = {"instanceId": instance_id("web", instance)}
        if samplings is not None:
            request["samplings"] = list(samplings)
        return self.ask(CREATE, {"request": request})["newEBPFNetworkProfiling"]

    def task(self):
        created = self.create()
        self.assertEqual((created["status"], created["errorReason"]), (True, None))
        return created["id"]

    def tasks(self, **more):
        return self.ask(TASKS, {"serviceId": service_id("web"), "serviceInstanceId": instance_id("web", "pod-1"),
                                "targets": ["NETWORK"], "triggerType": "FIXED_TIME", **more})["queryEBPFTasks"]

    def feed(self, task, sequence=1, at_ms=None, side="client", **values):
        """The agent's report: one edge of its own set, from nginx to an address."""
        labels = {"side": side, "client_process_id": CLIENT, "server_address": "10.0.0.9", "server_port": "80"}
        meters = [single(f"sonde_net_{name}", value, **labels) for name, value in values.items()]
        status = self.agent.collect(f"{task}/{sequence}/aa", collection(*meters, instance="pod-1", timestamp_ms=at_ms)).status
        self.assertEqual(status, OK)

    def topology(self):
        return self.ask(TOPOLOGY, {"serviceInstanceId": instance_id("web", "pod-1"), "duration": window()})["topology"]

    def wait_until_held(self, n):
        wait_for(f"{n} held", lambda: self.server.get("/server")["graphql"]["held"] >= n)

    def entity(self, **more):
        return {"serviceName": "web", "normal": True, "serviceInstanceName": "pod-1", "processName": "nginx",
                "destServiceName": "web", "destNormal": True, "destServiceInstanceName": "pod-1",
                "destProcessName": "10.0.0.9", **more}

    def evaluate(self, *expressions, entity=None, duration=None):
        names = range(len(expressions))
        variables = {f"expression{i}": expressions[i] for i in names}
        variables.update({f"entity{i}": entity or self.entity() for i in names})
        head = ",".join(f"$expression{i}: String!,$entity{i}: Entity!" for i in names)
        body = ",".join(f"expression{i}: execExpression(expression: $expression{i}, entity: $entity{i}, "
                        f"duration: $duration){RESULT}" for i in names)
        data = self.ask(f"query queryData($duration: Duration!,{head}) {{{body}}}",
                        {"duration": duration or window(), **variables})
        return [data[f"expression{i}"] for i in names]

    def points(self, result):
        """{labels: [values that are there]}"""
        self.assertIsNone(result["error"], result)
        return {",".join(f"{label['key']}={label['value']}" for label in r["metric"]["labels"]):
                [v["value"] for v in r["values"] if v["value"] is not None] for r in result["results"]}


class Booster(WithServer):
    def test_what_a_page_asks_before_anything_is_drawn(self):
        items = self.ask(f"query queryOAPMenuItems {{ getMenuItems {{ {MENU_ITEM} subItems {{ {MENU_ITEM} }} }} }}", {})
        kubernetes = items["getMenuItems"][0]
        self.assertEqual((kubernetes["icon"], kubernetes["activate"]), ("kubernetes", True))
        self.assertEqual([(i["layer"], i["activate"]) for i in kubernetes["subItems"]], [("K8S_SERVICE", True)])
        self.assertIn("GENERAL", [i["subItems"][0]["layer"] for i in items["getMenuItems"]])
        info = self.ask("query queryOAPTimeInfo { getTimeInfo { timezone currentTimestamp } }", {})["getTimeInfo"]
        self.assertEqual(info["timezone"], "+0000")
        self.assertLess(abs(info["currentTimestamp"] / 1000 - time.time()), WAIT_S)
        self.assertRegex(self.ask("query { version }", {})["version"], r"^10\.1\.0-sonde")

    def test_what_a_page_of_10_2_and_later_asks_besides(self):
        ttl = self.ask("""query MetricsTTL {getMetricsTTL {
            minute
            hour
            day
            coldMinute
            coldHour
            coldDay
          }}""", {})["getMetricsTTL"]
        self.assertEqual(ttl, {"minute": 2, "hour": 7, "day": 7, "coldMinute": -1, "coldHour": -1, "coldDay": -1})
        ttl = self.ask("query RecordsTTL {getRecordsTTL { normal trace zipkinTrace log browserErrorLog coldNormal coldTrace "
                       "coldZipkinTrace coldLog coldBrowserErrorLog }}", {})["getRecordsTTL"]
        self.assertEqual({ttl[k] for k in ("normal", "trace", "zipkinTrace", "log", "browserErrorLog")}, {0})
        self.assertEqual({v for k, v in ttl.items() if k.startswith("cold")}, {-1})
        # A page of traces is not offered, but each page reads this without asking whether it came.
        self.assertEqual(self.ask("query queryHasQueryTracesV2Support {\n    hasQueryTracesV2Support\n  }", {}),
                         {"hasQueryTracesV2Support": False})

    def test_the_four_dashboards_lead_to_each_other(self):
        rows = self.ask("query template { getAllTemplates { id configuration } }", {})["getAllTemplates"]
        pages = {p["name"]: p for p in (json.loads(r["configuration"]) for r in rows)}
        self.assertEqual(len({r["id"] for r in rows}), len(rows))
        for layer in ("K8S_SERVICE", "GENERAL"):
            root = [p for p in pages.values() if p["layer"] == layer and p["isRoot"]]
            self.assertEqual(len(root), 1)
            service = pages[root[0]["children"][0]["graph"]["dashboardName"]]
            instance = pages[service["children"][0]["graph"]["dashboardName"]]
            edge = pages[instance["children"][0]["linkDashboard"]]
            self.assertEqual([p["entity"] for p in (root[0], service, instance, edge)],
                             ["All", "Service", "ServiceInstance", "ProcessRelation"])
            self.assertTrue(service["isDefault"] and instance["isDefault"])
            self.assertEqual(instance["children"][0]["type"], "NetworkProfiling")
            expressions = [e for c in edge["children"] for e in c["expressions"]]
            places = [(c["x"], c["y"]) for c in edge["children"]]
            self.assertEqual(len(set(places)), len(places))
            # A page hides the name of a chart's only line, unless it is told not to.
            self.assertEqual([c["graph"]["legend"] for c in edge["children"]], [{"show": True}] * len(edge["children"]))
            # Each of them is one that this server can evaluate.
            for result in self.evaluate(*expressions):
                self.assertIsNone(result["error"])
            for words in ("retransmits", "dropped", "rtt"):
                self.assertTrue(any(words in e for e in expressions))

    def test_a_dashboard_is_found_by_its_id(self):
        rows = self.ask("{ getAllTemplates { id configuration updateTime } }")["getAllTemplates"]
        document = "query ($id: String!) { getTemplate(id: $id) { id configuration updateTime } }"
        for row in rows:
            self.assertEqual(self.ask(document, {"id": row["id"]})["getTemplate"], row)
        self.assertIsNone(self.ask(document, {"id": "Sonde-GENERAL-Nope"})["getTemplate"])

    def test_no_more_than_32_layers_are_shown(self):
        self.assertEqual(self.server.get("/server")["graphql"]["layers_refused"], 0)
        other = Agent(self.server, "agent-2")
        self.addCleanup(other.close)
        processes = [message(f1=message(f1=entity("web", f"p{i}", "pod-2", f"LAYER-{i}"), f2=100 + i)) for i in range(40)]
        self.assertEqual(other.call("/skywalking.v3.EBPFProcessService/reportProcesses", message(f1=processes, f2="agent-2")).status, OK)
        # Kubernetes, which always is there, and 32 that processes are in.
        data = self.ask("{ listLayers getMenuItems { title } getAllTemplates { id } }")
        self.assertEqual(data["listLayers"][:2], ["K8S_SERVICE", "GENERAL"])
        self.assertEqual([len(v) for v in data.values()], [33, 33, 4 * 33])
        self.assertEqual(self.server.get("/server")["graphql"]["layers_refused"], 9)
        # All of them have room in an answer, 64 times all of them have not: what does not fit is an error each.
        body = self.post("{" + " ".join(f"a{i}: getAllTemplates {{ id configuration }}" for i in range(64)) + "}")
        whole = [a for a in body["data"].values() if a]
        self.assertEqual([len(a) for a in whole], [4 * 33] * len(whole))
        self.assertTrue(0 < len(whole) < 64)
        self.assertEqual(len(body["errors"]), 64 - len(whole))
        # On a machine with much else to do its time may be over before the room is.
        self.assertLessEqual({e["message"] for e in body["errors"]},
                             {"the answer is too large: ask for less", "takes too long: ask for less at once"})
        self.assertLess(len(json.dumps(body)), 17 << 20)

    def test_services_instances_and_processes_have_skywalkings_ids(self):
        services = self.ask(f"query queryServices($layer: String!) {{ services: listServices(layer: $layer) {{ {SERVICE} }} }}",
                            {"layer": "GENERAL"})["services"]
        self.assertEqual(services, [{"id": service_id("web"), "value": "web", "label": "web", "group": "",
                                     "layers": ["GENERAL"], "normal": True}])
        one = f"query queryService($serviceId: String!) {{ service: getService(serviceId: $serviceId) {{ {SERVICE} }} }}"
        self.assertEqual(self.ask(one, {"serviceId": service_id("web")})["service"], services[0])
        self.assertIsNone(self.ask(one, {"serviceId": service_id("nope")})["service"])
        self.assertIsNone(self.ask(one, {"serviceId": "not base64"})["service"])
        pods = self.ask("query queryInstances($serviceId: ID!, $duration: Duration!) { pods: listInstances(duration: $duration,"
                        " serviceId: $serviceId) { id value: name label: name language instanceUUID attributes { name value } } }",
                        {"serviceId": service_id("web"), "duration": window()})["pods"]
        self.assertEqual([(p["id"], p["value"]) for p in pods], [(instance_id("web", "pod-1"), "pod-1")])
        processes = self.ask(PROCESSES, {"instanceId": pods[0]["id"], "duration": window()})["processes"]
        self.assertEqual({(p["id"], p["value"], p["detectType"], p["agentId"]) for p in processes},
                         {(CLIENT, "nginx", "VM", "agent-1"),
                          (process_id("cron", "web", "pod-1"), "cron", "VM", "agent-1")})
        self.assertEqual(processes[0]["serviceId"], service_id("web"))
        self.assertIn("command_line", [a["name"] for a in processes[0]["attributes"]])

    def test_from_creating_a_task_to_its_edge(self):
        self.assertEqual(self.tasks(), [])
        task = self.task()
        rows = self.tasks()
        self.assertEqual([(r["taskId"], r["serviceInstanceName"], r["fixedTriggerDuration"], r["targetType"]) for r in rows],
                         [(task, "pod-1", 600, "NETWORK")])
        self.assertLess(abs(rows[0]["taskStartTime"] / 1000 - time.time()), WAIT_S)
        # Every process of the instance is a target, each once.
        spec = self.server.get(f"/tasks/{task}")["spec"]
        self.assertEqual({t["processId"] for t in spec["targets"]}, {CLIENT, process_id("cron", "web", "pod-1")})
        self.assertEqual(len(spec["targets"]), 2)
        self.assertEqual([c["TaskId"] for c in self.agent.query()], [task])
        self.feed(task, sent_bytes_total=100)
        got = self.topology()
        self.assertEqual(got["calls"], [{"id": f"{CLIENT}-{PEER}", "source": CLIENT, "target": PEER, "detectPoints": ["CLIENT"],
                                         "sourceComponents": ["tcp"], "targetComponents": []}])
        # A call's ends are nodes with every id, and what is no process of ours has its address for a name.
        self.assertEqual({(n["id"], n["name"], n["isReal"]) for n in got["nodes"]},
                         {(CLIENT, "nginx", True), (PEER, "10.0.0.9", False)})
        for node in got["nodes"]:
            self.assertEqual((node["serviceId"], node["serviceInstanceId"]),
                             (service_id("web"), instance_id("web", "pod-1")))
        listed = self.ask(PROCESSES, {"instanceId": instance_id("web", "pod-1"), "duration": window()})["processes"]
        self.assertIn((PEER, "10.0.0.9", "VIRTUAL", ""), {(p["id"], p["value"], p["detectType"], p["agentId"]) for p in listed})
        self.assertEqual(self.ask(KEEP, {"taskId": task})["keepEBPFNetworkProfiling"], {"status": True, "errorReason": None})

    def test_the_first_topology_of_a_task_waits_for_its_edge(self):
        task = self.task()
        got = []
        began = time.monotonic()
        thread = threading.Thread(target=lambda: got.append((self.topology(), time.monotonic() - began)))
        thread.start()
        self.wait_until_held(1)
        self.feed(task, sent_bytes_total=1)
        thread.join(WAIT_S)
        (topology, took_s), = got
        # It was asked before there was an edge, and is answered with it, unless this machine needed 10 s for that.
        self.assertTrue(len(topology["calls"]) == 1 or took_s >= 10, (topology, took_s))
        self.assertEqual(self.server.get("/server")["graphql"]["held"], 0)

    def test_what_has_no_new_task_is_answered_at_once(self):
        self.assertEqual(self.topology(), {"nodes": [], "calls": []})
        task = self.task()
        self.server.request("POST", f"/api/v1/tasks/{task}/stop", {})
        self.assertEqual(self.topology(), {"nodes": [], "calls": []})

    def hold(self):
        """A connection whose question is under way."""
        body = json.dumps({"query": TOPOLOGY, "variables": {"serviceInstanceId": instance_id("web", "pod-1"),
                                                            "duration": window()}})
        connection = socket.create_connection(("127.0.0.1", self.server.http), WAIT_S)
        connection.sendall((f"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                            f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
        return connection

    @unittest.skipUnless(os.environ.get("SONDE_TEST_LONG"), "takes 10 s")
    def test_it_waits_10_s_at_most(self):
        self.task()
        began = time.monotonic()
        self.assertEqual(self.topology(), {"nodes": [], "calls": []})
        self.assertGreaterEqual(time.monotonic() - began, 10)

    def test_a_server_that_goes_answers_what_it_holds(self):
        self.task()
        with self.hold() as connection:
            self.wait_until_held(1)
            self.assertEqual(self.server.end(), 0)
            self.assertIn(b"200 OK", connection.recv(4096))

    def test_a_client_that_leaves_while_it_is_held_is_no_harm(self):
        self.task()
        for _ in range(3):
            with self.hold():
                self.wait_until_held(1)
        self.assertEqual(len(self.tasks()), 1)

    def test_a_refused_task_says_why(self):
        for rules, words in (([SAMPLING, SAMPLING], "same uriRegex"), ([{**SAMPLING, "minDuration": -1}], "minDuration"),
                             ([{**SAMPLING, "settings": {"requireCompleteRequest": False, "requireCompleteResponse": False}}],
                              "must be true"),
                             ([{**SAMPLING, "settings": {**SAMPLING["settings"], "maxRequestSize": 0}}], "above 0")):
            got = self.create(samplings=rules)
            self.assertFalse(got["status"])
            self.assertIsNone(got["id"])
            self.assertIn(words, got["errorReason"])
        self.assertIn("doesn't have processes", self.create("pod-2")["errorReason"])
        keep = self.ask(KEEP, {"taskId": "nope"})["keepEBPFNetworkProfiling"]
        self.assertEqual((keep["status"], keep["errorReason"]), (False, "there is no such task"))

    def test_keeping_extends_a_task_that_is_nearly_over(self):
        task = self.server.create({"service": "web"}, duration_ms=59000)["id"]
        self.assertTrue(self.ask(KEEP, {"taskId": task})["keepEBPFNetworkProfiling"]["status"])
        self.assertEqual(self.server.get(f"/tasks/{task}")["duration_ms"], 659000)
        self.assertTrue(self.ask(KEEP, {"taskId": task})["keepEBPFNetworkProfiling"]["status"])
        self.assertEqual(self.server.get(f"/tasks/{task}")["duration_ms"], 659000)
        self.server.request("POST", f"/api/v1/tasks/{task}/stop", {})
        self.assertFalse(self.ask(KEEP, {"taskId": task})["keepEBPFNetworkProfiling"]["status"])

    def test_the_newest_task_comes_first_and_an_ended_one_is_shorter(self):
        first = self.server.create({"service": "web"}, duration_ms=60000)["id"]
        time.sleep(0.01)
        second = self.task()
        self.server.request("POST", f"/api/v1/tasks/{first}/stop", {})
        rows = self.tasks()
        self.assertEqual([r["taskId"] for r in rows], [second, first])
        self.assertLess(rows[1]["fixedTriggerDuration"], 60)
        self.assertEqual(self.tasks(targets=["ON_CPU"]), [])
        self.assertEqual(self.tasks(triggerType="CONTINUOUS_PROFILING"), [])
        self.assertEqual(self.tasks(serviceInstanceId=instance_id("web", "pod-2")), [])
        self.assertIn("needed", self.error("{ queryEBPFProfilingTasks { taskId } }"))

    def test_expressions_are_evaluated_minute_by_minute(self):
        task = self.task()
        minute = int(time.time()) // 60 * 60000
        self.feed(task, 1, minute - 60000, sent_bytes_total=1000, sent_segments_total=10, retransmitted_segments_total=1)
        self.feed(task, 2, minute, sent_bytes_total=3000, sent_segments_total=30, retransmitted_segments_total=6)
        (total, ratio, sums, latest, math, none, unknown, wrong) = self.evaluate(
            "sonde_net_sent_bytes_total", "sonde_net_retransmitted_segments_total/sonde_net_sent_segments_total*100",
            "sum(sonde_net_sent_bytes_total)", "latest(sonde_net_sent_bytes_total{role='client'})",
            "(aggregate_labels(sonde_net_sent_bytes_total,sum)+24)/1024", "sonde_net_resets_sent_total",
            "latest(k8s_service_pod_total)", "sonde_net_sent_bytes_total >> 1")
        self.assertEqual((total["type"], self.points(total)),
                         ("TIME_SERIES_VALUES", {"role=client,server_port=80": ["1000", "3000"]}))
        # One value a minute of the window, named by its beginning.
        ids = [int(v["id"]) for v in total["results"][0]["values"]]
        self.assertEqual(ids, list(range(ids[0], ids[0] + 60000 * len(ids), 60000)))
        self.assertIn(minute, ids)
        self.assertEqual(dict((int(v["id"]), v["value"]) for v in total["results"][0]["values"])[minute], "3000")
        self.assertEqual(self.points(ratio), {"role=client,server_port=80": ["10", "20"]})
        self.assertEqual((sums["type"], self.points(sums)), ("SINGLE_VALUE", {"role=client,server_port=80": ["4000"]}))
        # The hours that hold both; a day is made of hours.
        for step, form in (("HOUR", "%Y-%m-%d %H"), ("DAY", "%Y-%m-%d")):
            whole, = self.evaluate("sum(sonde_net_sent_bytes_total)", duration=window(7200, 0, step, form))
            self.assertEqual(self.points(whole), {"role=client,server_port=80": ["4000"]}, step)
        self.assertEqual(self.points(latest), {"role=client,server_port=80": ["3000"]})
        self.assertEqual(self.points(math), {"": ["1", "2.953125"]})
        self.assertEqual((none["results"], none["error"]), ([], None))
        self.assertEqual((unknown["type"], unknown["results"], unknown["error"]),
                         ("UNKNOWN", [], "Metric: [k8s_service_pod_total] does not exist."))
        self.assertIn("not supported", wrong["error"])

    def test_other_steps_and_windows(self):
        task = self.task()
        minute = int(time.time()) // 60 * 60000
        for i in range(3):
            self.feed(task, i + 1, minute - 60000 * i, sent_bytes_total=100)
        for step, form in (("DAY", "%Y-%m-%d"), ("HOUR", "%Y-%m-%d %H")):
            got, = self.evaluate("sum(sonde_net_sent_bytes_total)", duration=window(7200, 0, step, form))
            self.assertEqual(self.points(got), {"role=client,server_port=80": ["300"]})
        got, = self.evaluate("sonde_net_sent_bytes_total", duration=window(0, 0, "SECOND", "%Y-%m-%d"))
        self.assertIn("step", got["error"])
        got, = self.evaluate("sonde_net_sent_bytes_total", duration=window(86400 * 30))
        self.assertIn("too long", got["error"])

    def test_percentiles_and_both_ends(self):
        task = self.task()
        server = process_id("cron", "web", "pod-1")
        for i, side in enumerate(("client", "server")):
            labels = {"side": side, "client_process_id": CLIENT, "server_process_id": server, "server_port": "80"}
            self.assertEqual(self.agent.collect(f"{task}/{i + 1}/aa", collection(
                histogram("sonde_net_rtt_microseconds", {100: 60, 200: 40}, **labels),
                single("sonde_net_sent_bytes_total", 10 + i, **labels), instance="pod-1")).status, OK)
        rtt, sent = self.evaluate("aggregate_labels(sonde_net_rtt_microseconds{role='client'},max(p))",
                                  "sonde_net_sent_bytes_total", entity=self.entity(destProcessName="cron"))
        self.assertEqual(self.points(rtt), {"p=50": ["100"], "p=90": ["200"], "p=99": ["200"]})
        self.assertEqual(self.points(sent), {"role=client,server_port=80": ["10"], "role=server,server_port=80": ["11"]})
        call, = self.topology()["calls"]
        self.assertEqual(call["detectPoints"], ["CLIENT", "SERVER"])

    def test_tasks_are_never_added(self):
        first, second = self.task(), self.task()
        for task, n in ((first, 100), (second, 7)):
            self.feed(task, sent_bytes_total=n)
        got, = self.evaluate("sum(sonde_net_sent_bytes_total)")
        self.assertEqual(self.points(got), {"role=client,server_port=80": ["100"]})
        self.assertEqual(len(self.topology()["calls"]), 1)

    def test_charts_that_ask_before_the_processes_are_known_get_nothing(self):
        got, = self.evaluate("process_relation_client_write_cpm", entity=self.entity(processName=None, destProcessName=None))
        self.assertEqual((got["results"], got["error"]), ([], None))

    def test_skywalkings_own_set_has_its_own_virtual_processes(self):
        task = self.task()
        labels = {"side": "client", "client_process_id": CLIENT, "server_address": "10.0.0.9", "server_local": "false"}
        self.assertEqual(self.agent.collect(f"{task}/1/aa", collection(
            single("rover_net_p_client_write_counts_counter", 5, **labels), instance="pod-1")).status, OK)
        nodes = self.topology()["nodes"]
        self.assertEqual({n["name"] for n in nodes}, {"nginx", "UNKNOWN_REMOTE"})
        got, = self.evaluate("process_relation_client_write_cpm", entity=self.entity(destProcessName="UNKNOWN_REMOTE"))
        self.assertEqual(self.points(got), {"": ["5"]})


class Session(WithServer):
    def test_the_session_of_the_readme(self):
        readme = pathlib.Path(__file__).resolve().parents[2] / "src/backend/oap/README.md"
        script, = re.findall(r"^```sh\n(.*?)^```$", readme.read_text(), re.M | re.S)
        script = subprocess.Popen(["bash", "-euo", "pipefail", "-c", script], stdout=subprocess.PIPE, text=True,
                                  env={**os.environ, "SERVER": f"http://127.0.0.1:{self.server.http}", "SERVICE": "web"})
        self.addCleanup(script.kill)
        task, = wait_for("its task", lambda: self.server.get("/tasks")["tasks"])
        self.wait_until_held(1)
        self.feed(task["id"], sent_bytes_total=100)
        out, _ = script.communicate(timeout=WAIT_S)
        self.assertEqual(script.returncode, 0)
        created, _, edges = out.partition("\n}\n")
        self.assertEqual(json.loads(created + "\n}"), {"createEBPFNetworkProfiling": {
            "status": True, "errorReason": None, "id": task["id"]}})
        self.assertEqual(edges, "nginx -> 10.0.0.9  tcp  seen from CLIENT\n")


class Swctl(WithServer):
    SELECTED = "id name group shortName layers normal"

    def test_names_are_looked_up(self):
        found = self.ask(f"query ($serviceName: String!) {{ result: findService(serviceName: $serviceName) {{ {self.SELECTED} }} }}",
                         {"serviceName": "web"})["result"]
        self.assertEqual((found["id"], found["shortName"]), (service_id("web"), "web"))
        self.assertIsNone(self.ask(f'{{ result: findService(serviceName: "nope") {{ {self.SELECTED} }} }}')["result"])
        every = self.ask(f"query ($duration: Duration!) {{ result: getAllServices(duration: $duration) {{ {self.SELECTED} }} }}",
                         {"duration": window()})["result"]
        self.assertEqual([s["name"] for s in every], ["web"])

    def test_a_task_without_rules(self):
        got = self.ask("mutation ($request: EBPFProfilingNetworkTaskRequest!) { result: createEBPFNetworkProfiling("
                       "request: $request) { status errorReason id } }",
                       {"request": {"instanceId": instance_id("web", "pod-1")}})["result"]
        self.assertTrue(got["status"])
        rows = self.ask("query ($serviceId: ID!, $triggerType: EBPFProfilingTriggerType) { result: queryEBPFProfilingTasks("
                        "serviceId: $serviceId, triggerType: $triggerType) { taskId serviceInstanceName } }",
                        {"serviceId": service_id("web"), "triggerType": "FIXED_TIME"})["result"]
        self.assertEqual(rows, [{"taskId": got["id"], "serviceInstanceName": "pod-1"}])

    def test_metrics_with_a_scope_and_empty_names(self):
        self.feed(self.task(), sent_bytes_total=5)
        got = self.ask(f"query ($expression: String!, $entity: Entity!, $duration: Duration!) {{ result: execExpression("
                       f"expression: $expression, entity: $entity, duration: $duration) {RESULT} }}",
                       {"expression": "sum(sonde_net_sent_bytes_total)", "duration": window(),
                        "entity": self.entity(scope="ProcessRelation", endpointName="", destEndpointName="")})["result"]
        self.assertEqual(got["results"][0]["values"][0]["value"], "5")

    def test_profiling_of_a_cpu_is_not_to_be_had(self):
        got = self.ask("query ($serviceId: ID!) {\n    result: queryPrepareCreateEBPFProfilingTaskData(serviceId: $serviceId) {\n"
                       "        couldProfiling processLabels\n    }\n}", {"serviceId": service_id("web")})["result"]
        self.assertEqual(got, {"couldProfiling": False, "processLabels": []})

    def test_there_are_no_sampled_requests(self):
        condition = {"name": "sampled_slow_trace_record", "parentEntity": self.entity(scope="ProcessRelation"), "topN": 5,
                     "order": "DES"}
        got = self.ask("query ($condition: RecordCondition!, $duration: Duration!) { result: readRecords(condition: $condition, "
                       "duration: $duration) { name id value refId } }", {"condition": condition, "duration": window()})["result"]
        self.assertEqual(got, [])

    def test_health(self):
        self.assertEqual(self.ask("query { result: checkHealth { score details } }")["result"], {"score": 0, "details": ""})

    def test_health_by_grpc(self):
        check = "/grpc.health.v1.Health/Check"
        for service in ("", "skywalking.v3.MeterReportService", "grpc.health.v1.Health"):
            call = self.agent.call(check, message(f1=service) if service else b"")
            self.assertEqual((call.status, call.messages), (OK, [b"\x08\x01"]), service)
        for service in ("skywalking.v3.Meter", "nope", "skywalking.v3.MeterReportService/"):
            self.assertEqual(self.agent.call(check, message(f1=service)).status, NOT_FOUND, service)


class Horizon(WithServer):
    def test_literals_and_many_aliases_in_one_document(self):
        layers = ["GENERAL", "MESH", "K8S_SERVICE"] * 13
        data = self.ask("{" + " ".join(f'l{i}: listServices(layer: "{layer}") {{ id name }}' for i, layer in enumerate(layers)) + "}")
        self.assertEqual([len(data[f"l{i}"]) for i in range(3)], [1, 0, 0])
        data = self.ask('{ listLayers listLayerLevels { layer level } t: __type(name: "Query") { fields { name } } }')
        self.assertEqual(data["listLayers"], ["K8S_SERVICE", "GENERAL"])
        self.assertIn("getProcessTopology", [f["name"] for f in data["t"]["fields"]])
        self.feed(self.task(), sent_bytes_total=5)
        document = ('{ client_0: execExpression(expression: "sum(sonde_net_sent_bytes_total{role=\'client\'})", entity: { scope: '
                    'ProcessRelation, serviceName: "web", normal: true, serviceInstanceName: "pod-1", processName: "nginx", '
                    'destServiceName: "web", destNormal: true, destServiceInstanceName: "pod-1", destProcessName: "10.0.0.9" }, '
                    f'duration: {{ start: "{window()["start"]}", end: "{window()["end"]}", step: MINUTE }}) {{ type error results '
                    '{ metric { labels { key value } } values { id value owner { scope serviceID serviceName normal '
                    'serviceInstanceID serviceInstanceName endpointID endpointName } } } } }')
        value = self.ask(document)["client_0"]["results"][0]["values"][0]
        self.assertEqual(value, {"id": None, "value": "5", "owner": None})

    def test_what_each_page_asks_beside_its_own(self):
        got = self.ask("""query HorizonCountGetAlarm($duration: Duration!, $paging: Pagination!) {
            getAlarm(duration: $duration, paging: $paging) { msgs { id startTime recoveryTime } } }""",
                       {"duration": window(1200, 0, "SECOND", "%Y-%m-%d %H%M%S"), "paging": {"pageNum": 1, "pageSize": 201}})
        self.assertEqual(got, {"getAlarm": {"msgs": []}})
        got = self.ask("""query HorizonGetAlarm($duration: Duration! $scope: Scope $keyword: String $paging: Pagination! $tags: [AlarmTag]) {
            getAlarm(duration: $duration, scope: $scope, keyword: $keyword, paging: $paging, tags: $tags) { msgs {
              id startTime recoveryTime scope name message tags { key value } snapshot { expression metrics { name
              results { metric { labels { key value } } values { id value traceID } } } } } } }""",
                       {"duration": window(), "paging": {"pageNum": 1, "pageSize": 201}})
        self.assertEqual(got, {"getAlarm": {"msgs": []}})
        got = self.ask("query HorizonOapBackendProbe { records: getRecordsTTL { normal trace zipkinTrace log browserErrorLog } "
                       "metrics: getMetricsTTL { metadata minute hour day coldMinute coldHour coldDay } }", {})
        self.assertEqual((got["records"]["trace"], got["metrics"]["metadata"]), (0, 7))

    def test_the_empty_regex_is_any(self):
        got = self.create(samplings=[{"uriRegex": "", "minDuration": 0, **SAMPLING, "when4xx": True}])
        self.assertTrue(got["status"], got)


class Templates(WithServer):
    PATH = "/ui-management/templates"

    def change(self, method, body, path=PATH, status=200):
        got = self.server.request(method, path, body)
        self.assertEqual(got[0], status, got)
        return got[2]

    def rows(self, more=""):
        return [(r["id"], r["configuration"], r["disabled"]) for r in self.change("GET", None, self.PATH + more)]

    def test_rows_are_kept_as_they_came(self):
        self.assertEqual(self.rows(), [])
        first = self.change("POST", {"configuration": '{"name":"a \u00e9"}'})
        self.assertEqual((len(first["id"]), first["status"], first["message"]), (36, True, None))
        self.assertEqual(self.change("POST", {"id": "own", "configuration": "x" * 100000})["id"], "own")
        taken = self.change("POST", {"id": "own", "configuration": "y"}, status=409)
        self.assertEqual((taken["status"], taken["id"]), (False, "own"))
        self.change("PUT", {"id": first["id"], "configuration": "b"})
        self.change("PUT", {"id": "nope", "configuration": "b"}, status=409)
        self.change("POST", {}, self.PATH + "/own/disable")
        expected = [(first["id"], "b", False), ("own", "x" * 100000, True)]
        self.assertEqual((self.rows(), self.rows("?includingDisabled=true")), (expected[:1], expected))
        self.server.restart()
        self.agent.close()
        self.agent = Agent(self.server, "agent-1")
        self.assertEqual(self.rows("?includingDisabled=true"), expected)
        self.assertEqual(self.change("GET", None, self.PATH + "/own")["disabled"], True)

    def fill(self, rows):
        """Begins again with these rows (id, configuration)."""
        self.agent.close()
        self.assertEqual(self.server.end(), 0)
        database = sqlite3.connect(self.server.path / "state" / "sonde.db")
        database.executemany("INSERT INTO template VALUES (?, ?, 0)", rows)
        database.commit()
        database.close()
        self.server.start()
        self.agent = Agent(self.server, "agent-1")

    def post_at_once(self, bodies):
        """How many got which status: all are sent before any is answered."""
        connections = []
        for body in bodies:
            text = json.dumps(body)
            connection = http.client.HTTPConnection("127.0.0.1", self.server.http, timeout=WAIT_S)
            connection.request("POST", self.PATH, text, {"Content-Type": "application/json"})
            connections.append(connection)
        answers = [c.getresponse() for c in connections]
        found = collections.Counter((a.status, json.loads(a.read())["message"]) for a in answers)
        for connection in connections:
            connection.close()
        return found

    def test_rows_are_bounded_also_while_they_are_written(self):
        self.fill((f"id-{i}", "x") for i in range(1995))
        full = (409, "there is no room for another template")
        self.assertEqual(self.post_at_once([{"configuration": "x"}] * 12), {(200, None): 5, full: 7})
        self.assertEqual(len(self.rows()), 2000)
        # A change needs no room for a row.
        self.change("PUT", {"id": "id-7", "configuration": "yy"})
        self.assertEqual(self.change("GET", None, self.PATH + "/id-7")["configuration"], "yy")

    def test_bytes_are_bounded_also_while_they_are_written(self):
        rest = 100000
        self.fill([("big", "x" * ((32 << 20) - rest)), ("small", "x" * (rest // 2))])
        full = (409, "there is no room for another template")
        self.assertEqual(self.post_at_once([{"configuration": "y" * (rest // 10)}] * 12), {(200, None): 5, full: 7})
        # Full to the last byte, a row can be written again, but be no longer.
        self.change("PUT", {"id": "small", "configuration": "z" * (rest // 2 + 1)}, status=409)
        self.change("PUT", {"id": "small", "configuration": "z" * (rest // 2)})
        self.change("POST", {"configuration": "y"}, status=409)
        self.change("PUT", {"id": "small", "configuration": ""}, status=400)
        self.change("PUT", {"id": "small", "configuration": "z" * (rest // 2 - 1)})
        self.change("POST", {"configuration": "y"})
        self.change("POST", {"configuration": "y"}, status=409)

    def test_one_id_is_made_once(self):
        found = self.post_at_once([{"id": "own", "configuration": "x"}] * 8)
        self.assertEqual(found, {(200, None): 1, (409, "there is a template of that id"): 7})

    def test_what_is_wrong_is_refused(self):
        for method, body, path, status in (("POST", {}, "", 400), ("POST", {"configuration": 1}, "", 400), ("POST", [], "", 400),
                                           ("PUT", {"configuration": "x"}, "", 400), ("GET", None, "/nope", 404),
                                           ("POST", {}, "/nope/disable", 404), ("PUT", {}, "/nope", 405),
                                           ("DELETE", None, "", 405), ("GET", None, "/a/b", 404),
                                           ("POST", {"configuration": "x", "id": "i" * 300}, "", 409)):
            self.change(method, body, self.PATH + path, status)


class Wrong(WithServer):
    def test_an_unknown_field_is_an_error_in_graphqls_form(self):
        body = self.post("query x {\n  queryTraces { traces { spans } } version }")
        self.assertNotIn("data", body)
        self.assertEqual(body["errors"][0]["locations"], [{"line": 2, "column": 3}])
        self.assertIn("'queryTraces' in type 'Query' is undefined", body["errors"][0]["message"])
        self.assertIn("found the end", self.error("{ version"))
        self.assertIn("Subscription", self.error("subscription { version }"))
        self.assertIn("operationName", self.error("query a { version } query b { version }"))
        self.assertEqual(self.ask("query a { version } query b { listLayers }", operationName="b")["listLayers"][0], "K8S_SERVICE")

    def test_one_that_fails_leaves_the_others(self):
        body = self.post('{ version t: queryEBPFProfilingTasks { taskId } }')
        self.assertEqual(body["errors"][0]["path"], ["t"])
        self.assertRegex(body["data"]["version"], "sonde")

    def test_what_is_no_request_is_a_problem(self):
        for body, status in (({}, 400), ({"query": 1}, 400), ({"query": "{ version }", "variables": []}, 400),
                             ([], 400), ({"query": "{ version }", "operationName": 1}, 400)):
            self.assertEqual(self.server.request("POST", "/graphql", body)[0], status, body)
        status, headers, _ = self.server.request("GET", "/graphql?query={version}")
        self.assertEqual((status, headers["Allow"]), (405, "POST"))

    def test_hostile_documents_are_refused(self):
        self.assertIn("deep", self.error("{a" * 1000))
        self.assertIn("fields", self.error("{ ...f0 }" + "".join(
            f" fragment f{i} on Query {{ ...f{i + 1} ...f{i + 1} }}" for i in range(20)) + " fragment f20 on Query { version }"))
        self.assertIn("root fields", self.error("{" + " ".join(f"a{i}: version" for i in range(200)) + "}"))
        # A list stands once, but is read at each use: none of these may be read in full.
        uses = " ".join(f"a{i}: queryEBPFProfilingTasks(targets: $t) {{ taskId }}" for i in range(1020))
        several = " ".join(f"a{i}: queryEBPFProfilingTasks(targets: $t) {{ taskId }}" for i in range(100))
        head = "query ($t: [EBPFProfilingTargetType!]"
        for body in (uses, several):
            self.assertIn("values in the arguments", self.error(f"{head}) {{ {body} }}", {"t": ["NETWORK"] * 15000}))
        self.assertIn("values in the arguments", self.error(f"{head} = [{'NETWORK ' * 3900}]) {{ {uses} }}"))
        for expression in ("(" * 500, "a" * 3000, "1" * 40, "sum(", "x{a=", "sum(sonde_net_sent_bytes_total"):
            got, = self.evaluate(expression)
            self.assertEqual((got["type"], got["results"]), ("UNKNOWN", []))
            self.assertTrue(got["error"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
