#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What all of REST shares, and what a page lives on: pages, spans of time, the heat map.

server-rest.py SONDE_SERVER RULES_FOLDER
"""
import collections
import http.client
import json
import os
import pathlib
import re
import resource
import socket
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from server_rig import Agent, ServerCase, collection, histogram, message, single  # noqa: E402


def edge(side="client", port="80", **more):
    return {"side": side, "client_process_id": "c" * 64, "server_address": "10.0.0.9", "server_port": port, **more}


def stamp(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03d}Z"


class WithServer(ServerCase):
    def with_task(self, **more):
        agent = self.agent()
        self.assertEqual(agent.report_processes(("web", "nginx", 42)).status, 0)
        return agent, self.server.create({"service": "web"}, **more)["id"]

    def refused(self, path, field):
        status, _, body = self.server.request("GET", f"/api/v1{path}")
        self.assertEqual((status, body.get("field")), (400, field), path)


class Pages(WithServer):
    def test_tasks_come_in_pages_newest_first_each_once(self):
        _, first = self.with_task()
        made = [first] + [self.server.create({"service": "web"})["id"] for _ in range(8)]
        for limit in (1, 2, 3, 4, 9, 10):
            got, cursor, pages = [], "", 0
            while cursor is not None:
                page = self.server.get(f"/tasks?limit={limit}&cursor={cursor}")
                got += [t["id"] for t in page["tasks"]]
                self.assertLessEqual(len(page["tasks"]), limit)
                cursor = page["next"]
                pages += 1
            self.assertEqual(got, made[::-1])
            self.assertEqual(pages, -(-9 // limit))
        # What is made meanwhile is on no later page.
        page = self.server.get("/tasks?limit=4")
        self.server.create({"service": "web"})
        later = self.server.get(f"/tasks?limit=100&cursor={page['next']}")
        self.assertEqual([t["id"] for t in page["tasks"] + later["tasks"]], made[::-1])
        for query, field in (("cursor=nobody", "cursor"), ("limit=0", "limit"), ("limit=1001", "limit"),
                             ("state=x", "state"), ("since=yesterday", "since"),
                             ("until=2026-02-30T00:00:00Z", "until")):
            self.refused("/tasks?" + query, field)

    def test_tasks_by_state_and_time(self):
        agent, first = self.with_task()
        second = self.server.create({"service": "web"})["id"]
        third = self.server.create({"service": "web"})["id"]
        agent.query()
        agent.report(first, 1, states=["running"])
        agent.report(second, 1, states=["running"])
        agent.report(second, 2, end="done")

        def ids(query):
            return [t["id"] for t in self.server.get("/tasks?" + query)["tasks"]]
        self.assertEqual(ids("state=running"), [first])
        self.assertEqual(ids("state=ended"), [second])
        self.assertEqual(ids("state=unfinished"), [third, first])
        created = {t["id"]: t["created"] for t in self.server.get("/tasks")["tasks"]}
        self.assertEqual(set(ids(f"since={created[first]}")), {first, second, third})
        self.assertEqual(ids(f"until={created[first]}"), [])
        self.assertEqual(ids("since=2100-01-01T00:00:00Z"), [])
        self.assertEqual(ids("until=4102444800000&state=ended"), [second])


class Time(WithServer):
    def reported(self):
        """Two steps of 10 s, the second within its minute: (task, start of the first in ms)."""
        agent, task = self.with_task()
        agent.query()
        agent.report(task, 1, states=["running"])
        first = int(time.time() * 1000) // 60000 * 60000 - 60000
        for n, (at, port, hist) in enumerate(((first + 1000, "80", {10: 3, 400: 2}), (first + 2000, "80", {10: 1}),
                                              (first + 11000, "80", {500: 7}), (first + 12000, "443", {10: 5})), 1):
            self.assertEqual(agent.collect(f"{task}/{n}/h", collection(
                single("sonde_net_sent_bytes_total", n, **edge(port=port)),
                histogram("sonde_net_rtt_microseconds", hist, **edge("server" if port == "443" else "client", port)),
                timestamp_ms=at)).status, 0)
        return task, first

    def test_a_series_between_two_times(self):
        task, first = self.reported()

        def points(query):
            series = self.server.get(f"/tasks/{task}/series?metric=sonde_net_sent_bytes_total&{query}")["series"]
            return {p[0]: p[1] for s in series for p in s["points"] if s["edge"] == self.edge(task, 80)}
        both = {stamp(first): 3, stamp(first + 10000): 3}
        self.assertEqual(points(""), both)
        self.assertEqual(points(f"since={first}"), both)
        self.assertEqual(points(f"since={stamp(first + 1)}"), {stamp(first + 10000): 3})
        self.assertEqual(points(f"until={first + 10000}"), {stamp(first): 3})
        self.assertEqual(points(f"since={stamp(first)}&until={stamp(first + 10001)}"), both)
        self.assertEqual(points(f"since={first + 20000}"), {})
        self.assertEqual(points("step=1m"), {stamp(first): 6})
        self.assertEqual(points("step=1h"), {stamp(first // 3600000 * 3600000): 6})
        self.refused(f"/tasks/{task}/series?metric=m&since=x", "since")
        self.refused(f"/tasks/{task}/series?metric=m&step=1d", "step")

    def edge(self, task, port):
        found, = (e["id"] for e in self.server.get(f"/tasks/{task}/topology")["edges"] if e["port"] == port)
        return found

    def test_a_heat_map_has_every_observation_once(self):
        task, first = self.reported()

        def cells(query=""):
            got = self.server.get(f"/tasks/{task}/heatmap?{query}")
            self.assertEqual((got["metric"], got["unit"]), ("sonde_net_rtt_microseconds", "us"))
            for column in got["columns"]:
                self.assertEqual(column["count"], sum(n for _, n in column["cells"]))
                self.assertEqual(column["cells"], sorted(column["cells"]))
            return {c["start"]: dict(map(tuple, c["cells"])) for c in got["columns"]}
        fine = {stamp(first): {10: 4, 400: 2}, stamp(first + 10000): {10: 5, 500: 7}}
        self.assertEqual(cells(), fine)
        self.assertEqual(cells("step=1m"), {stamp(first): {10: 9, 400: 2, 500: 7}})
        self.assertEqual(cells("side=server"), {stamp(first + 10000): {10: 5}})
        self.assertEqual(cells(f"edge={self.edge(task, 443)}"), {stamp(first + 10000): {10: 5}})
        self.assertEqual(cells(f"edge={self.edge(task, 80)}&since={first + 10000}"), {stamp(first + 10000): {500: 7}})
        self.assertEqual(cells(f"until={first}"), {})
        self.assertEqual(self.server.get(f"/tasks/{task}/heatmap?metric=nobody")["columns"], [])
        self.refused(f"/tasks/{task}/heatmap?metric=sonde_net_sent_bytes_total", "metric")
        self.refused(f"/tasks/{task}/heatmap?side=x", "side")
        # The same observations as the topology has.
        total = collections.Counter()
        for column in cells().values():
            total.update(column)
        sides = [side for e in self.server.get(f"/tasks/{task}/topology")["edges"]
                 for side in (e["client_side"], e["server_side"]) if side]
        self.assertEqual(sum(s["rtt_us"]["count"] for s in sides), sum(total.values()))


class Groups(WithServer):
    def test_a_topology_by_what_processes_belong_to(self):
        agent, task = self.with_task()
        agent.report_processes(("web", "nginx", 42), ("web", "php", 43))
        other = Agent(self.server, "agent-2")
        self.agents.append(other)
        other.report_processes(("db", "redis", 44))
        for a, host in ((agent, "n1"), (other, "n2")):
            a.call("/skywalking.v3.ManagementService/reportInstanceProperties", message(
                f1="agents", f2=a.name, f3=[message(f1="agent_id", f2=a.name), message(f1="host", f2=host)]))
        pid = {t["process"]: t["process_id"] for t in self.server.get("/targets")["targets"]}
        agent.query()
        meters = []
        for process, sent, rtt, low in (("nginx", 100, {10: 3}, 9), ("php", 20, {400: 2}, 300)):
            labels = {"side": "client", "client_process_id": pid[process], "server_process_id": pid["redis"],
                      "server_port": "6379"}
            meters += [single("sonde_net_sent_bytes_total", sent, **labels),
                       histogram("sonde_net_rtt_microseconds", rtt, **labels),
                       single("sonde_net_rtt_min_microseconds", low, **labels),
                       single("sonde_net_smoothed_rtt_microseconds", low + 1, **labels)]
        meters.append(single("sonde_net_sent_bytes_total", 7, side="client", client_process_id=pid["php"],
                             server_address="10.0.0.9", server_port="443"))
        self.assertEqual(agent.collect(f"{task}/1/h", collection(*meters)).status, 0)
        names = {"process": (pid["nginx"], pid["redis"]), "instance": ("instance:web/i", "instance:db/i"),
                 "service": ("service:web", "service:db"), "node": ("node:n1", "node:n2")}
        for by, (client, server) in names.items():
            got = self.server.get(f"/tasks/{task}/topology?by={by}")
            edges = {(e["client"], e["server"], e["port"]): e for e in got["edges"]}
            self.assertEqual(len(edges), 3 if by == "process" else 2, by)
            self.assertEqual({n["id"] for n in got["nodes"]}, {end for e in edges for end in e[:2]})
            side = edges[client, server, 6379]["client_side"]
            together = by != "process"
            self.assertEqual(side["sent_bytes"], 120 if together else 100)
            self.assertEqual((side["rtt_us"]["count"], side["rtt_us"]["p99"]), (5, 400) if together else (3, 10))
            self.assertEqual(side["rtt_min_us"], 9)
            self.assertEqual(side["smoothed_rtt_us"], None if together else 10)
            self.assertEqual("smoothed_rtt_us" in side["absent"], together)
            kinds = {n["id"]: n["kind"] for n in got["nodes"]}
            self.assertEqual((kinds[client], kinds[server], kinds["address:10.0.0.9"]), (by, by, "address"))
            target = {n["id"]: n["target"] for n in got["nodes"]}
            self.assertEqual((target[client], target[server]), (True, False))
        self.assertEqual(self.server.get(f"/tasks/{task}/topology"),
                         self.server.get(f"/tasks/{task}/topology?by=process"))
        self.refused(f"/tasks/{task}/topology?by=moon", "by")


class Stream:
    """Events of a task, one by one."""
    opened = []

    def __init__(self, server, task, last=None, host="127.0.0.1"):
        Stream.opened.append(self)
        self.connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=60, source_address=(host, 0))
        headers = {"Last-Event-ID": last} if last else {}
        self.connection.request("GET", f"/api/v1/tasks/{task}/events", headers=headers)
        self.answer = self.connection.getresponse()
        self.status = self.answer.status

    def next(self):
        """{"id", "event", "data"}; None: the server ended it."""
        event = {}
        while True:
            line = self.answer.readline().decode()
            if not line:
                return None
            if line == "\n" and event:
                event["data"] = json.loads(event["data"])
                return event
            if ": " in line and not line.startswith(":"):
                key, _, value = line.rstrip("\n").partition(": ")
                event[key] = value

    def close(self):
        self.answer.close()  # which holds the socket
        self.connection.close()


class Events(WithServer):
    def tearDown(self):
        super().tearDown()  # the server goes while there are streams
        while Stream.opened:
            Stream.opened.pop().close()

    def until(self, stream, state):
        """The event that shows this state; those before it show a change each."""
        seen = set()
        while True:
            event = stream.next()
            self.assertIsNotNone(event, f"the stream ended before {state}")
            self.assertNotIn((event["id"], event["event"]), seen)
            seen.add((event["id"], event["event"]))
            if event["data"]["state"] == state:
                return event

    def test_a_task_is_followed_to_its_end(self):
        agent, task = self.with_task()
        agent.query()
        stream = Stream(self.server, task)
        self.assertEqual((stream.status, stream.answer.headers["Content-Type"]), (200, "text/event-stream"))
        first = stream.next()
        self.assertEqual((first["event"], first["data"]["id"], first["data"]["state"]), ("task", task, "accepted"))
        agent.report(task, 1, states=["planned", "attaching", "running"])
        event = self.until(stream, "running")
        self.assertEqual(event["data"]["states"], self.server.get(f"/tasks/{task}")["states"])
        agent.report(task, 2)
        event = stream.next()
        self.assertEqual(event["data"]["agents"][0]["reports"], 2)
        agent.report(task, 3, end="done")
        event = self.until(stream, "done")
        last = stream.next()
        self.assertEqual((last["event"], last["data"], last["id"]), ("end", {"state": "done"}, event["id"]))
        self.assertIsNone(stream.next())
        stream.close()
        # A browser comes again by itself: it is told that there is no more.
        again = Stream(self.server, task, last["id"])
        self.assertEqual(again.status, 204)
        again.close()
        anew = Stream(self.server, task)
        self.assertEqual([anew.next()["event"], anew.next()["event"], anew.next()], ["task", "end", None])
        anew.close()

    def test_who_comes_again_gets_what_is_new_and_nothing_it_has(self):
        agent, task = self.with_task()
        agent.query()
        agent.report(task, 1, states=["running"])
        stream = Stream(self.server, task)
        first = self.until(stream, "running")
        stream.close()
        same = Stream(self.server, task, first["id"])
        agent.report(task, 2)
        event = same.next()
        self.assertNotEqual(event["id"], first["id"])
        self.assertEqual(event["data"]["agents"][0]["reports"], 2)
        same.close()
        self.server.restart()  # killed: the client comes back to the next one
        behind = Stream(self.server, task, first["id"])
        self.assertEqual(behind.next()["data"]["agents"][0]["reports"], 2)
        behind.close()
        self.assertEqual(Stream(self.server, "nobody").status, 404)

    def test_streams_are_bounded_and_clients_that_left_make_room(self):
        agent, task = self.with_task()
        agent.query()
        streams = []
        for host in ("127.0.0.1", "127.0.0.2"):  # each has half
            streams += [Stream(self.server, task, host=host) for _ in range(32)]
            self.assertEqual({s.status for s in streams}, {200})
            more = Stream(self.server, task, host=host)
            self.assertEqual((more.status, more.answer.headers["Retry-After"]), (503, "5"))
            more.close()
        more = Stream(self.server, task, host="127.0.0.3")
        self.assertEqual(more.status, 503)
        more.close()
        self.assertEqual(self.server.request("GET", "/healthz")[0], 200)
        for stream in streams[:60]:
            stream.close()
        sequence, end = 0, time.monotonic() + 60
        again = Stream(self.server, task)
        while again.status != 200 and time.monotonic() < end:
            again.close()
            sequence += 1
            agent.report(task, sequence, states=["running"])  # something to tell, by which the dead are found
            time.sleep(0.2)
            again = Stream(self.server, task)
        self.assertEqual(again.status, 200)
        for stream in streams[60:]:
            self.assertEqual(stream.next()["event"], "task")


class Limits(WithServer):
    def raw(self, data):
        """The head of the answer; "" if the server hangs up."""
        with socket.create_connection(("127.0.0.1", self.server.http), 60) as s:
            got = b""
            try:
                s.sendall(data)
            except OSError:
                pass  # it has answered and closed before all of it was there
            try:
                while b"\r\n\r\n" not in got:
                    more = s.recv(65536)
                    if not more:
                        break
                    got += more
            except ConnectionError:
                pass
            return got.decode("latin-1")

    def memory(self):
        status = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text(encoding="utf-8")
        return int(re.search(r"RssAnon:\s*(\d+)", status).group(1)) << 10

    def refused_by(self, bound, source="127.0.0.1"):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.http, timeout=60, source_address=(source, 0))
        connection.request("GET", "/metrics")
        body = connection.getresponse().read().decode()
        connection.close()
        return int(re.search(rf'sonde_server_refused_total{{bound="{bound}"}} (\d+)', body).group(1))

    def test_header_bombs_and_lying_lengths(self):
        start = b"POST /api/v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        before = self.memory()
        for _ in range(20):
            for data, statuses in (
                    (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200000 + b"\r\n\r\n", ("431", "")),
                    (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 40000 + b"\r\n", ("431", "")),
                    (b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", ("414", "")),
                    (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", ("400", "")),
                    (start + b"Content-Length: -5\r\n\r\n", ("400",)),
                    (start + b"Content-Length: 99999999999999\r\n\r\n", ("413",)),
                    (start + b"Content-Length: 500000\r\nExpect: 100-continue\r\n\r\n", ("413",))):
                head = self.raw(data)
                self.assertIn((head.split(" ") + [""])[1] if head else "", statuses, data[:60])
        self.assertLess(self.memory() - before, 16 << 20)
        self.assertEqual(self.refused_by("http_body"), 40)
        # What the library refused by itself, before there was a request: told in /server as well.
        http_stats = self.server.get("/server")["http"]
        self.assertEqual(http_stats["bodies_refused"], 40)
        self.assertGreaterEqual(http_stats["malformed"], 80)
        print(f"\n    140 header bombs and lying lengths: {http_stats}")
        self.assertEqual(self.server.request("GET", "/healthz")[0], 200)

    def test_a_thousand_connections_of_one_address_leave_room_for_others(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 1200:
            self.skipTest("no 1,200 files may be open")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
        before, crowd = self.memory(), []
        for _ in range(1000):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", self.server.http))
            crowd.append(s)
        other = http.client.HTTPConnection("127.0.0.1", self.server.http, timeout=60, source_address=("127.0.0.2", 0))
        other.request("GET", "/healthz")
        self.assertEqual(other.getresponse().read(), b'{"status":"ok"}')
        open_files = len(list(pathlib.Path(f"/proc/{self.server.process.pid}/fd").iterdir()))
        self.assertLess(open_files, 128 + 64)
        self.assertLess(self.memory() - before, 16 << 20)
        # Those that found the backlog full come once their SYN is sent again.
        end, refused = time.monotonic() + 60, 0
        while refused == 0 and time.monotonic() < end:
            refused = self.refused_by("http_connections_of_one_address", "127.0.0.3")
            time.sleep(0.1)
        self.assertGreater(refused, 0)
        for s in crowd:
            s.close()
        other.close()
        end, status = time.monotonic() + 60, 0
        while status != 200 and time.monotonic() < end:
            try:
                status = self.server.request("GET", "/healthz")[0]
            except OSError:
                time.sleep(0.1)  # the crowd is not gone yet
        self.assertEqual(status, 200)

    @unittest.skipUnless(os.environ.get("SONDE_TEST_LONG"), "takes half a minute (--long)")
    def test_a_byte_a_second_does_not_keep_a_connection(self):
        with socket.create_connection(("127.0.0.1", self.server.http), 60) as s:
            end = time.monotonic() + 120
            s.settimeout(1)
            ended = False
            while not ended and time.monotonic() < end:
                try:
                    s.send(b"G")
                    ended = s.recv(1) == b""
                except TimeoutError:
                    pass
                except ConnectionError:
                    ended = True
        self.assertTrue(ended)
        self.assertEqual(self.refused_by("http_slow_client"), 1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
