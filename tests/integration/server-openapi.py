#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The description of the REST interface against the running server, both ways: no route, method, status, header or
field that is not described, and nothing described that is not there. Requests are made from the description.

server-openapi.py SONDE_SERVER RULES_FOLDER FOLDER_OF_THE_ROUTES
"""
import collections
import http.client
import json
import os
import pathlib
import random
import re
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

try:
    import jsonschema
    import yaml
except ImportError:
    print("python3-jsonschema or python3-yaml is missing")
    sys.exit(77)

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from server_rig import Agent, Server, collection, histogram, message, single, wait_for  # noqa: E402

PROGRAM, RULES, ROUTES = sys.argv[1:4]
ROUNDS = 400 if os.environ.get("SONDE_TEST_LONG") else 60  # requests an operation
SEED = 7
DOC = yaml.safe_load((pathlib.Path(ROUTES) / "openapi.yaml").read_text(encoding="utf-8"))
METHODS = ("get", "post", "put", "delete", "patch", "options", "trace")
# Optional members of a request alone, of the alternative to a probe that cannot be had, and of rare errors.
# Not provoked here: what a healthy server with room does not give, 504 of an agent that is silent for 9 s, 403 of a
# certificate that is missing (server-tls.py), a conflict of two writers, and an agent's answer that was there before.
RARE = {"500", "503", "504"}
UNPROVOKED = {("putPolicy", "409"), ("doctor", "304")}
NEVER_SEEN = {"NewTask", "NoAnswer"}


def resolve(node):
    while "$ref" in node:
        at = DOC
        for part in node["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        node = at
    return node


def at(path, ident):
    """What a path stands for; a policy's is its service."""
    return path.replace("/policies/{id}", "/policies/web").replace("{id}", ident)


def operations():
    for path, item in DOC["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


class Seen:
    """Which described members have come in an answer."""
    def __init__(self):
        self.members = collections.Counter()

    def walk(self, schema, value, name=""):
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
        schema = resolve(schema)
        for one in schema.get("oneOf", []):
            if not list(VALIDATOR.evolve(schema=one).iter_errors(value)):
                self.walk(one, value, name)
        if isinstance(value, dict):
            for key, member in value.items():
                known = schema.get("properties", {}).get(key)
                if known is not None:
                    self.members[name, key] += 1
                    self.walk(known, member, f"{name}.{key}")
                elif isinstance(schema.get("additionalProperties"), dict):
                    self.walk(schema["additionalProperties"], member, f"{name}.*")
        if isinstance(value, list):
            for item in value:
                self.walk(schema.get("items") or {}, item, f"{name}[]")


class Tally:
    """What the answers that were held come to."""
    answers = failures = 0
    statuses = set()  # (operationId, status)

    @classmethod
    def line(cls):
        every = {(o["operationId"], status) for _, _, o in operations() for status in o["responses"]}
        unseen = collections.Counter(status for _, status in every - cls.statuses)
        return (f"openapi: {len({o for o, _ in cls.statuses})} of {len({o for o, _ in every})} operations, "
                f"{cls.answers} answers held against the description, {cls.failures} failures; "
                f"{len(every & cls.statuses)} of {len(every)} statuses provoked (not: "
                + ", ".join(f"{status} of {n}" for status, n in sorted(unseen.items())) + f"; seed {SEED})")


VALIDATOR = jsonschema.Draft202012Validator({}, resolver=jsonschema.RefResolver("", DOC))
SEEN = Seen()


class Maker:
    """Values from a schema; @good: of its kind, else perhaps not."""
    TEXTS = ("", "a", "web", "nginx", "\u00e9\u4e2d", "x" * 255, "' OR 1=1 --", "%s%n", "../../etc/passwd", "<b>", "0")
    BAD = (None, True, -1, 0, 1 << 62, 1.5, "", "x" * 5000, "a\x00b", "\x1b[2J", [], {}, [[]], {"a": {"b": []}},
           "\ud7ff")

    def __init__(self, seed, known):
        self.random = random.Random(seed)
        self.known = known  # name of a parameter or member -> good values

    def value(self, schema, name=""):
        r = self.random
        schema = resolve(schema)
        if name in self.known and r.random() < 0.8:
            return r.choice(self.known[name])
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return r.choice(schema["enum"])
        if "anyOf" in schema or "oneOf" in schema:
            base = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
            return self.value({**base, **resolve(r.choice(schema.get("anyOf") or schema["oneOf"]))}, name)
        kind = schema.get("type", "object")
        kind = r.choice(kind) if isinstance(kind, list) else kind
        if kind == "object":
            keys = [k for k in schema.get("properties", {}) if k in schema.get("required", []) or r.random() < 0.4]
            return {k: self.value(schema["properties"][k], k) for k in keys}
        if kind == "array":
            low = schema.get("minItems", 0)
            return [self.value(schema["items"]) for _ in range(r.randint(low, low + 2))]
        if kind == "integer":
            low = schema.get("minimum", -1000)
            return r.choice((low, low + 1, min(schema.get("maximum", low + 9999), low + 9999),
                             r.randint(low, low + 500)))
        if kind == "string":
            texts = [t for t in self.TEXTS if len(t) <= schema.get("maxLength", 9999)]
            return r.choice(texts)
        return {"boolean": r.random() < 0.5, "number": r.random(), "null": None}[kind]

    def spoil(self, value):
        """One place of it is something else."""
        r = self.random
        if isinstance(value, dict) and value and r.random() < 0.8:
            key = r.choice(list(value))
            if r.random() < 0.2:
                return {**value, "unknown" + key: 1}
            return {**value, key: self.spoil(value[key])}
        if isinstance(value, list) and value and r.random() < 0.8:
            return [self.spoil(value[0]), *value[1:]]
        return r.choice(self.BAD)


def many_meters(meters):
    """One value of every sonde_net_* meter, both sides, TCP and UDP."""
    made = []
    for m in meters:
        udp = "_udp_" in m["name"]
        for side in ("client", "server"):
            labels = {"side": side, "client_process_id": "c" * 64, "server_process_id": "d" * 64, "server_port": "80",
                      **{k: "x" for k in m["labels"]}, **({"protocol": "udp"} if udp else {})}
            if m["kind"] == "histogram":
                made.append(histogram(m["name"], {10: 3, 400: 2}, **labels))
            else:
                made.append(single(m["name"], 5, **labels))
    return made


def flow(ident, role, **more):
    fields = {"f2": 1, "f4": 9, "f5": b"\x0a\0\0\1", "f6": b"\x0a\0\0\2", "f7": 40000, "f8": 80, "f9": 6, "f10": role,
              "f11": 1, "f14": int(time.time() * 1000) - 500, "f16": 1000, **{f"f{n}": n for n in range(17, 27)},
              **more}
    return b"\x09" + ident.to_bytes(8, "little") + message(**fields)


class Description(unittest.TestCase):
    def test_it_is_openapi_3_1_and_whole(self):
        self.assertEqual(DOC["openapi"], "3.1.0")
        ids = [operation["operationId"] for _, _, operation in operations()]
        self.assertEqual(len(ids), len(set(ids)))
        tags = {t["name"] for t in DOC["tags"]}
        used = set(re.findall(r"'\$ref': '([^']+)'", str(DOC)))
        for reference in used:
            self.assertTrue(resolve({"$ref": reference}), reference)
        for section in ("schemas", "responses", "parameters"):
            for name, node in DOC["components"][section].items():
                self.assertIn(f"#/components/{section}/{name}", used, "it is described, and nothing refers to it")
                if section == "schemas":
                    jsonschema.Draft202012Validator.check_schema(node)
        for path, method, operation in operations():
            self.assertIn(method, METHODS)
            self.assertTrue(set(operation["tags"]) <= tags, path)
            given = [resolve(p) for p in operation.get("parameters", [])]
            self.assertEqual({p["name"] for p in given if p["in"] == "path"}, set(re.findall(r"{(\w+)}", path)))
            self.assertEqual(len({(p["name"], p["in"]) for p in given}), len(given))
            for status, response in operation["responses"].items():
                self.assertRegex(status, "^[2-5][0-9][0-9]$")
                for content in resolve(response).get("content", {}).values():
                    jsonschema.Draft202012Validator.check_schema(content["schema"])

    def test_the_routes_of_the_source_are_the_described_ones(self):
        """Independent of the server: the tables' own words. GraphQL describes itself."""
        found = set()
        for file in pathlib.Path(ROUTES).glob("routes*.c"):
            text = file.read_text(encoding="utf-8")
            for method, prefix, path in re.findall(r'{"([A-Z]+)", (?:(API|TASK) )?"([^"]*)",', text):
                base = {"API": "/api/v1", "TASK": "/api/v1/tasks/{id}", "": ""}[prefix]
                found.add((base + path, method.lower()))
        found = {f for f in found if f[0] != "/graphql"} | {("/api/v1/agents/{id}/doctor", "get")}
        self.assertEqual({(path, method) for path, method, _ in operations()}, found)


class Token(unittest.TestCase):
    def ask(self, method, path, headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.http, timeout=60)
        connection.request(method, path, None if method == "GET" else "{}",
                           {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    def test_nothing_is_told_without_the_token(self):
        folder = tempfile.TemporaryDirectory(prefix="sonde-server-")
        config = pathlib.Path(folder.name) / "server.yaml"
        config.write_text("token: s3cret\n", encoding="utf-8")
        config.chmod(0o600)  # a secret: refused where everyone may read it
        self.server = Server(PROGRAM, RULES, "--config", str(config), folder=folder)
        asked = [(method.upper(), at(path, "x")) for path, method, o in operations() if o.get("security") != [{}]]
        self.assertEqual([p for p, _, o in operations() if o.get("security") == [{}]], ["/healthz"])
        asked += [(method, path) for method in ("GET", "POST", "PUT")
                  for path in ("/graphql", "/ui-management/templates", "/ui-management/templates/x", "/nothing")]
        self.assertIn(("GET", "/api/v1/tasks/x/events"), asked)
        self.assertIn(("GET", "/api/v1/openapi.json"), asked)
        for method, path in asked:
            for given in ({}, {"Authorization": "Bearer s3cres"}, {"Authorization": "Bearer "},
                          {"Authorization": "Basic s3cret"}, {"authentication": "s3cret0"}):
                status, headers, body = self.ask(method, path, given)
                self.assertEqual((status, headers["Content-Type"], headers["WWW-Authenticate"]),
                                 (401, "application/problem+json", "Bearer"), (method, path, given))
                self.assertEqual(json.loads(body)["status"], 401)
                Tally.statuses |= {(o["operationId"], "401") for p, m, o in operations()
                                   if (m.upper(), at(p, "x")) == (method, path)}
            for given in ({"Authorization": "Bearer s3cret"}, {"authentication": "s3cret"}):
                self.assertNotEqual(self.ask(method, path, given)[0], 401, (method, path, given))
        self.assertEqual(self.server.close(), 0)


class Running(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(PROGRAM, RULES, "--limits-task-entities", "40")
        cls.agent = Agent(cls.server, "agent-1")
        assert cls.agent.report_processes(("web", "nginx", 42)).status == 0
        cls.connection = None
        cls.held = set()  # answers that were held already
        cls.task = cls.full_task()
        cls.server.create({"processName": "nginx"}, {"pid": 42, "agentId": "agent-1"}, duration_ms=600000)  # each way to name a target
        cls.full_policy()

    @classmethod
    def tearDownClass(cls):
        cls.connection.close()
        cls.agent.close()
        status = cls.server.close()
        assert status == 0, status

    @classmethod
    def full_task(cls):
        """A task of which everything is told that can be."""
        agent = cls.agent
        task = cls.server.create({"service": "web"}, options={"executionTime": True}, name="full")["id"]
        agent.query()
        now = int(time.time() * 1000)
        target = message(f1=42, f2="p" * 64, f3="nginx", f4="found", f6=now)
        probe = message(f1="tp_btf/x", f2="rtt", f3="attached", f5=1, f6=2, f7=3)
        cost = message(f1=message(f1="x", f2=1, f3=2, f4=3, f5=4), **{f"f{n}": n for n in range(2, 11)}, f11="zstd")
        absent = [message(f1="sonde_net_smoothed_rtt_microseconds", f2="not requested")]
        counters = [message(f1=name, f2=9, f3=1) for name in ("TcpRetransSegs", "TcpInSegs")]
        namespace = message(f1=True, f2=42, f3=1, f4=counters)
        process = [message(f1=42, f2="p" * 64, f3="nginx"), message(f1=43, f2="q" * 64, f3="redis")]
        rest = message(**{f"f{n}": n for n in range(1, 10)})
        service = message(f1=b"\x0a\0\0\x09", f2=80, f3=b"\x0a\0\0\2", f4=8080, f5=6, f6=2, f7="d" * 64)
        flows = message(f1=process, f2=[flow(1, 1), flow(2, 2, f3=2, f12=1, f15=now, f11=7),
                                        flow(3, 1, f13=2, f27=b"\x0a\0\0\7", f28=99)], f4=rest, f5=rest, f6=[service])
        more = {"f9": target, "f10": probe, "f12": cost, "f13": absent, "f20": flows, "f21": namespace}
        assert agent.report(task, 1, states=["planned", "attaching", "running"], ledger=[("cell_full", 7, True)],
                            **more).status == 0
        meters = many_meters(cls.server.get("/meters")["meters"])
        for n, at in enumerate(range(0, len(meters), 40), 1):
            assert agent.collect(f"{task}/{n}/h", collection(*meters[at:at + 40], service="web")).status == 0
        rover = [single("rover_net_p_client_write_counts_counter", 3, side="client", client_process_id="c" * 64,
                        server_process_id="d" * 64),
                 histogram("rover_net_p_client_write_rtt_histogram", {0: 1, 5: 2}, side="client",
                           client_process_id="c" * 64, server_process_id="d" * 64)]
        rover.append(single("sonde_net_sent_bytes_total", 5, side="client", client_process_id="c" * 64,
                            server_address="10.0.0.9", server_port="80"))  # a Service's, which has a backend
        assert agent.collect(f"{task}/99/h", collection(*rover)).status == 0
        crowd = [single("sonde_net_sent_bytes_total", 5, side="client", client_process_id="c" * 64,
                        server_address=f"10.9.0.{i}", server_port="80") for i in range(60)]  # more than limits.task_entities
        assert agent.collect(f"{task}/100/h", collection(*crowd)).status == 0
        assert agent.report(task, 2, states=["draining"], end="done", ledger=[("cell_full", 7, True)],
                            f14=message(**{f"f{n}": 1 for n in range(1, 8)})).status == 0
        return task

    @classmethod
    def full_policy(cls):
        """A policy of thresholds and a schedule that has led to a task, and agents that know it."""
        more = {"preset": "network", "duration": "5m", "spec": {"options": {"withoutFlows": True}}}
        checkers = [{"type": "PROCESS_CPU", "threshold": 5, "period": 10, "count": 1},
                    {"type": "HTTP_ERROR_RATE", "threshold": "9", "period": 10, "count": 1, "uriList": ["/a"],
                     "uriRegex": "b.*"}]
        cls.server.put("/policies/web", {"policy": [{"type": "NETWORK", "checkers": checkers, **more}],
                                         "schedules": [{"name": "late", "when": "at 02:30 +05:30 on mon", **more}]})
        cls.server.put("/policies/db", {"schedules": [{"name": "often", "when": "every 168h"}]})
        service = "/skywalking.v3.ContinuousProfilingService/"
        cls.agent.call(service + "queryPolicies", message(f1=message(f1="web")), sonde_agent_id="agent-1")
        cause = message(f1=3, f3=message(f2="/a", f3=9.0, f4=9.5))
        assert cls.agent.call(service + "reportProfilingTask", message(
            f1="GENERAL", f2="web", f3="i", f4="nginx", f5=cause, f6=60, f9=b""), sonde_agent_id="agent-1").status == 0

    def setUp(self):
        self.agent.report_processes(("web", "nginx", 42))  # it lives, however long all this takes

    def ask(self, method, path, body=None, headers=None, raw=None):
        """(status, headers, bytes); one connection as long as it lasts."""
        data = raw if raw is not None else None if body is None else json.dumps(body)
        given = {"Content-Type": "application/json"} if data is not None else {}
        for _ in range(2):
            if not Running.connection:
                Running.connection = http.client.HTTPConnection("127.0.0.1", self.server.http, timeout=60)
            try:
                self.connection.request(method, path, data, {**given, **(headers or {})})
                answer = self.connection.getresponse()
                return answer.status, answer.headers, answer.read()
            except (http.client.RemoteDisconnected, ConnectionError):
                self.connection.close()
                Running.connection = None
        raise AssertionError(f"{method} {path}: the server hangs up")

    def hold(self, operation, where, status, headers, body):
        """One answer against the description. Returns the JSON, if it is any."""
        Tally.answers += 1
        Tally.failures += 1  # until it is held
        got = self.hold_answer(operation, where, status, headers, body)
        Tally.failures -= 1
        Tally.statuses.add((operation["operationId"], str(status)))
        return got

    def hold_answer(self, operation, where, status, headers, body):
        known = operation["responses"].get(str(status))
        self.assertIsNotNone(known, f"{where}: status {status} is not described: {body[:300]}")
        known = resolve(known)
        for name, header in known.get("headers", {}).items():
            if header.get("required"):
                self.assertIn(name, headers, where)
        content = known.get("content", {})
        if not content:
            self.assertEqual(body, b"", where)
            return None
        kind = headers["Content-Type"].partition(";")[0]
        self.assertIn(kind, content, where)
        if not kind.endswith("json"):
            return None
        got = json.loads(body)
        if (id(known), status, body) in self.held:
            return got
        self.held.add((id(known), status, body))
        schema = content[kind]["schema"]
        errors = [e.message[:300] + " at " + e.json_path for e in VALIDATOR.evolve(schema=schema).iter_errors(got)]
        self.assertEqual(errors[:3], [], where)
        SEEN.walk(schema, got)
        if kind == "application/problem+json":
            self.assertEqual(got["status"], status, where)
        return got

    def known(self):
        topology = self.server.get(f"/tasks/{self.task}/topology")
        process = self.server.get("/targets")["targets"][0]["process_id"]
        return {"id": [self.task], "a": [self.task], "b": [self.task], "targets": [[{"service": "web"}], [{"pid": 42}], [{"processName": "nginx"}],
                                               [{"processId": process}], [{"pid": 4242, "agentId": "agent-1"}]],
                "edge": [e["id"] for e in topology["edges"]], "service": ["web"], "agentId": ["agent-1", ""],
                "metric": ["sonde_net_sent_bytes_total", "sonde_net_rtt_microseconds",
                           "process_relation_client_write_cpm"],
                "If-None-Match": ["*", "\"0\""], "since": ["", "0", "2026-01-01T00:00:00Z"], "until": ["", "1", "2100-01-01T00:00:00.5Z"],
                "durationMs": [1000, 60000], "process": ["nginx", "42"], "when": ["every 1h", "at 02:30 UTC"],
                "checkers": [[{"type": "PROCESS_CPU", "threshold": 5, "period": 10, "count": 1}]],
                "preset": ["network"], "duration": ["5m"], "spec": [{}], "limit": [1, 5, 1000], "step": ["10s", "1m"]}

    def test_1_each_route_answers_as_described(self):
        """Everything is there, so that each member is seen."""
        full = self.known()
        for path, method, operation in operations():
            if method != "get" or "doctor" in path:
                continue
            if path.endswith("/events"):
                status, headers, body = self.ask("GET", path.replace("{id}", self.task))
                self.hold(operation, path, status, headers, body)
                self.assertEqual(re.findall(b"(?m)^event: (.*)$", body), [b"task", b"end"])
                self.hold(DOC["paths"]["/api/v1/tasks/{id}"]["get"], path, 200,
                          {"ETag": "", "Content-Type": "application/json"},
                          re.search(b"(?m)^data: (.*)$", body).group(1))
                last = re.search(b"(?m)^id: (.*)$", body).group(1).decode()
                self.hold(operation, path, *self.ask("GET", path.replace("{id}", self.task),
                                                     headers={"Last-Event-ID": last}))
                continue
            given = [p for p in map(resolve, operation.get("parameters", [])) if p["in"] == "query"]
            query = {p["name"]: full[p["name"]][0] for p in given if p.get("required")}
            for name, value in [(p["name"], v) for p in given for v in p["schema"].get("enum", [])]:
                url = at(path, self.task) + "?" + urllib.parse.urlencode({**query, name: value})
                got = self.ask("GET", url)
                self.hold(operation, url, *got)
                self.assertEqual(got[0], 200, (url, got[2][:300]))
            url = at(path, self.task) + ("?" + urllib.parse.urlencode(query) if query else "")
            status, headers, body = self.ask("GET", url)
            self.hold(operation, url, status, headers, body)
            self.assertEqual(status, 200, body[:300])
            for tag in (headers["ETag"], "W/" + headers["ETag"], f'"x", {headers["ETag"]}', "*"):
                if path in ("/metrics", "/api/v1/server", "/api/v1/agents"):
                    continue  # they change with each request, or with the clock
                again = self.ask("GET", url, headers={"If-None-Match": tag})
                self.hold(operation, url, *again)
                self.assertEqual(again[0], 304, (url, tag))
            status, headers, body = self.ask("HEAD", url)
            self.assertEqual((status, body), (200, b""), url)

    def test_1_pages_have_each_row_once(self):
        lists = {"targets": "targets", "agents": "agents", "meters": "meters", "tasks": "tasks", "series": "series",
                 "taskMetrics": "metrics", "drops": "drops", "rtt": "ends", "flows": "flows"}
        paged = {operation["operationId"]: (path, operation) for path, _, operation in operations()
                 if {"limit", "cursor"} <= {resolve(p)["name"] for p in operation.get("parameters", [])}}
        self.assertLessEqual(set(lists), set(paged))
        for name, rows in lists.items():
            path, operation = paged[name]
            url = path.replace("{id}", self.task) + "?metric=sonde_net_sent_bytes_total&limit="
            whole = json.loads(self.ask("GET", url + "1000")[2])[rows]
            self.assertTrue(whole, name)
            for limit in (1, 2, 1000):
                got, cursor = [], ""
                while cursor is not None:
                    where = f"{url}{limit}&cursor={cursor}"
                    page = self.hold(operation, where, *self.ask("GET", where))
                    self.assertLessEqual(len(page[rows]), limit)
                    got, cursor = got + page[rows], page["next"] and urllib.parse.quote(page["next"])
                ids = lambda these: [json.dumps({k: v for k, v in r.items() if k != "last_seen"}) for r in these]
                self.assertEqual(ids(got), ids(whole), name)
            status, _, body = self.ask("GET", url + "1&cursor=nobody")
            self.assertEqual((status, json.loads(body)["field"]), (400, "cursor"), name)

    def test_2_what_is_served_is_the_description(self):
        self.assertEqual(json.loads(self.ask("GET", "/api/v1/openapi.json")[2]), DOC)

    def test_3_other_methods_are_refused_and_told_which_there_are(self):
        for path, item in DOC["paths"].items():
            allowed = set()
            for method in item:
                allowed |= {"GET", "HEAD"} if method == "get" else {method.upper()}
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
                if method in allowed:
                    continue
                status, headers, body = self.ask(method, at(path, self.task),
                                                 headers={"Content-Type": "application/json"})
                for operation in item.values():
                    self.hold(operation, (method, path), status, headers, body)
                self.assertEqual(status, 405, (method, path))
                self.assertEqual({m.strip() for m in headers["Allow"].split(",")}, allowed, path)
        for path in ("/", "/api/v1", "/api/v1/", "/api/v1/tasks/", "/api/v1/tasks/x/y", "/api/v1/agents/",
                     "/api/v1/agents/x", "/api/v1/nothing", "/healthz/", "/api/v1/tasks/" + "x" * 900, "/%00"):
            status, headers, body = self.ask("GET", path)
            self.assertEqual((status, headers["Content-Type"]), (404, "application/problem+json"), path)
            self.assertEqual(list(VALIDATOR.evolve(schema=DOC["components"]["schemas"]["Problem"])
                                  .iter_errors(json.loads(body))), [])

    def test_3_bundles_go_out_and_in(self):
        out, taken = DOC["paths"]["/api/v1/tasks/{id}/bundle"]["get"], DOC["paths"]["/api/v1/import"]["post"]
        running = self.server.create({"service": "web"})["id"]
        got = self.ask("GET", f"/api/v1/tasks/{running}/bundle")
        self.hold(out, running, *got)
        self.assertEqual(got[0], 409)
        bundle = self.ask("GET", f"/api/v1/tasks/{self.task}/bundle")[2]
        for wanted in (201, 409):
            got = self.ask("POST", "/api/v1/import?as=copy", headers={"Content-Type": "application/zstd"}, raw=bundle)
            self.hold(taken, wanted, *got)
            self.assertEqual(got[0], wanted)
        for task in (running, "copy"):
            self.ask("POST", f"/api/v1/tasks/{task}/stop")
            self.ask("DELETE", f"/api/v1/tasks/{task}")

    def test_4_requests_made_from_the_description(self):
        made = Maker(SEED, self.known())
        statuses = collections.Counter()
        # what deletes comes last: the other routes ask about the task that it takes away
        for path, method, operation in sorted(operations(), key=lambda o: o[1] == "delete"):
            if path.endswith("/events"):
                continue  # of a task that runs it has no end
            self.agent.report_processes(("web", "nginx", 42))  # it lives, however long this takes
            for _ in range(1 if "doctor" in path or "plan" in path else ROUNDS):  # these wait for an agent
                good = made.random.random() < 0.6
                url, headers = path, {}
                for p in map(resolve, operation.get("parameters", [])):
                    if p["in"] != "path" and not p.get("required") and made.random.random() < 0.6:
                        continue
                    value = made.value(p["schema"], p["name"])
                    value = value if good or made.random.random() < 0.7 else made.spoil(value)
                    text = str(value).encode("utf-8", "replace")[:700]
                    if p["in"] == "path":
                        url = url.replace("{id}", urllib.parse.quote(text, safe="") or "x")
                    elif p["in"] == "header":
                        headers[p["name"]] = re.sub(r"[^ -~]", "?", text.decode())
                    else:
                        url += ("&" if "?" in url else "?") + f"{p['name']}={urllib.parse.quote(text)}"
                if "406" in operation["responses"]:
                    headers["Accept"] = made.random.choice(("*/*", "text/plain", "application/openmetrics-text", "x/y"))
                if "doctor" in path:
                    url = "/api/v1/agents/nobody/doctor"
                body, raw = None, None
                if operation.get("requestBody", {}).get("required") or made.random.random() < 0.3:
                    schema = operation.get("requestBody", {"content": {"application/json": {"schema": {}}}})
                    body = made.value(schema["content"].get("application/json", {"schema": {}})["schema"])
                    body = body if good else made.spoil(body)
                if not good and made.random.random() < 0.1:
                    raw = made.random.choice(("{", "\x00", "[" * 4000, '{"a":1,"a":2}', '{"targets":' + "9" * 400))
                status, answered, text = self.ask(method.upper(), url, body, headers, raw)
                where = (method, url, body, raw)
                self.assertNotIn(status, (500, 501), where)
                if not re.fullmatch(re.sub("{id}", "[^/]+", path), urllib.parse.unquote(url.partition("?")[0])):
                    continue  # the parameter made another path of it
                self.hold(operation, where, status, answered, text)
                statuses[f"{method.upper()} {path}", status] += 1
        print(f"\n{sum(statuses.values())} requests of {len({o for o, _ in statuses})} operations (seed {SEED}):",
              ", ".join(f"{n} x {s}" for s, n in sorted(sum_by_status(statuses).items())))
        self.assertGreater(statuses["POST /api/v1/tasks", 201], 0)
        self.assertGreater(statuses["POST /api/v1/tasks", 400], 0)
        self.assertEqual(statuses["DELETE /api/v1/tasks/{id}", 204], 1)

    def test_5_what_all_routes_refuse(self):
        for path, method, operation in operations():
            url = at(path, self.task)
            for status, headers, raw in ((415, {"Content-Type": "text/plain"}, "x"), (413, {}, "x" * (300 << 10)),
                                         (400, {}, "{")):
                got = self.ask(method.upper(), url, headers=headers, raw=raw)
                self.hold(operation, (url, status), *got)
                self.assertEqual(got[0], status, url)
            if method != "get":  # what changes nothing may come from any page, which cannot read the answer
                got = self.ask(method.upper(), url, headers={"Origin": "http://evil.example"})
                self.hold(operation, (url, "Origin"), *got)
                self.assertEqual(got[0], 403)

    def test_6_questions_to_agents(self):
        agent = Agent(self.server, "agent-2")
        agent.report_processes(("db", "redis", 43))
        watch = agent.start("/sonde.v1.TaskControlService/watch", [message(f1="agent-2")])
        while not watch.messages:
            agent.step()
        probe = message(f1="rtt", f2="tp_btf/x", f3="chosen", f4=True, f8=100, f9=1)
        body = {"targets": [{"service": "db"}], "durationMs": 5000}
        for method, path, url, data in (("get", "/api/v1/agents/{id}/doctor", "/api/v1/agents/agent-2/doctor", None),
                                        ("post", "/api/v1/plan", "/api/v1/plan", body)):
            before, got = len(watch.messages), []
            thread = threading.Thread(target=lambda m=method, u=url, d=data: got.append(self.ask(m.upper(), u, d)))
            thread.start()
            question = None
            while not question:
                agent.step()
                for one in watch.messages[before:]:
                    found = re.search(rb"[0-9a-f]{32}", one)
                    question = found and found.group().decode()
            agent.call("/sonde.v1.TaskControlService/answer", message(
                f1="agent-2", f2=question, f5=message(f1=43, f3="redis", f4="found"), f6=[probe],
                f7=message(f1="calls", f2="not requested"), f8=7, f9=9))
            thread.join(60)
            self.assertEqual(got[0][0], 200, got)
            self.hold(DOC["paths"][path][method], url, *got[0])
        agent.close()
        wait_for("the end of its connection", lambda: not any(
            a["connected"] for a in self.server.get("/agents")["agents"] if a["agent_id"] == "agent-2"))
        for method, path, url, data, status in (
                ("get", "/api/v1/agents/{id}/doctor", "/api/v1/agents/agent-2/doctor", None, 409),
                ("post", "/api/v1/plan", "/api/v1/plan", body, 409),
                ("post", "/api/v1/tasks", "/api/v1/tasks", body, 409),
                ("post", "/api/v1/plan", "/api/v1/plan", {**body, "targets": [{"service": "nobody"}]}, 404)):
            got = self.ask(method.upper(), url, data)
            self.hold(DOC["paths"][path][method], (url, status), *got)
            self.assertEqual(got[0], status, got)

    def test_6_a_task_that_runs_and_one_that_has_ended(self):
        runs, ended = (self.server.create({"service": "web"}, options={"signals": ["rtt"]})["id"] for _ in range(2))
        self.assertEqual(self.ask("POST", f"/api/v1/tasks/{ended}/stop", {})[0], 202)
        for method, path, task, data, status in (
                ("get", "/api/v1/tasks/{id}", runs, None, 200),
                ("post", "/api/v1/tasks/{id}/extend", runs, {"duration_ms": 1000}, 202),
                ("delete", "/api/v1/tasks/{id}", runs, None, 409),
                ("post", "/api/v1/tasks/{id}/stop", ended, {}, 202),
                ("post", "/api/v1/tasks", "", {"targets": [{"service": "nobody"}], "durationMs": 5000}, 404),
                ("get", "/api/v1/tasks/{id}/events", "nobody", None, 404)):
            url = path.replace("{id}", task)
            got = self.ask(method.upper(), url, data)
            self.hold(DOC["paths"][path][method], (method, url), *got)
            self.assertEqual(got[0], status, (method, url, got))

    def test_7_everything_described_was_there(self):
        """Last: of all answers so far."""
        missing = []
        for name, schema in DOC["components"]["schemas"].items():
            if name not in NEVER_SEEN:
                missing += [f"{name}.{key}" for key in schema.get("properties", {}) if not SEEN.members[name, key]]
        self.assertEqual(missing, [])


class Whole(unittest.TestCase):
    def test_each_status_was_provoked(self):
        """The last class by its name."""
        print("\n" + Tally.line())
        every = {(o["operationId"], status) for _, _, o in operations() for status in o["responses"]}
        reads = {o["operationId"] for _, method, o in operations() if method == "get"}
        left = {(o, s) for o, s in every - Tally.statuses if s not in RARE and not (s == "403" and o in reads)}
        self.assertEqual(left - UNPROVOKED, set())


def sum_by_status(statuses):
    total = collections.Counter()
    for (_, status), n in statuses.items():
        total[status] += n
    return total


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
