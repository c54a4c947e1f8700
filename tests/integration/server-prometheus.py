#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What Prometheus reads of sonde-server, read by Prometheus: a real one scrapes it and answers PromQL, whose
numbers are held against what was sent and against REST.

server-prometheus.py SONDE_SERVER RULES_FOLDER
"""
import http.client
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from server_rig import ServerCase, collection, histogram, single  # noqa: E402

LIMIT_S = 60  # a test that hangs, not a measure
OPEN = "application/openmetrics-text; version=1.0.0"
# What would end a label, a line or a scrape, were it not escaped.
HOSTILE = 'a"} 1 # EOF\\x{y="\\n'


def text(server, path, accept=None, token=None):
    """(status, Content-Type, body) of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=20)
    headers = {k: v for k, v in (("Accept", accept), ("Authorization", token)) if v}
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["Content-Type"], body


def edge(side="client", port="80", **more):
    return {"side": side, "client_process_id": "c" * 64, "server_address": "10.0.0.9", "server_port": port, **more}


class Prometheus:
    """A server of its own on loopback that scrapes one sonde-server, and waits for an answer as long as until the next time:
    of one that failed it would have no sample."""
    def __init__(self, server, folder):
        self.log_file = folder / "prometheus.log"
        config = folder / "prometheus.yml"
        target = f"[{{targets: ['127.0.0.1:{server.http}']}}]"
        config.write_text("global: {scrape_interval: 10s, scrape_timeout: 10s}\nscrape_configs:\n"
                          f"- {{job_name: server, static_configs: {target}}}\n"
                          f"- {{job_name: tasks, metrics_path: /api/v1/openmetrics, honor_labels: true,\n"
                          f"   static_configs: {target}}}\n", encoding="utf-8")
        for _ in range(20):  # another may take the port between
            with socket.socket() as s:
                s.bind(("127.0.0.1", 0))
                self.port = s.getsockname()[1]
            with open(self.log_file, "ab") as log:
                self.process = subprocess.Popen(
                    ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
                     f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log)
            if self.ready():
                return
        raise RuntimeError("prometheus did not start:\n" + self.log_file.read_text(encoding="utf-8"))

    def ready(self):
        end = time.monotonic() + LIMIT_S
        while self.process.poll() is None and time.monotonic() < end:
            try:
                if self.get("/-/ready")[0] == 200:
                    return True
            except OSError:
                pass
            time.sleep(0.1)
        return False

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body

    def ask(self, query):
        """[(labels, value)]"""
        status, body = self.get("/api/v1/query?" + urllib.parse.urlencode({"query": query}))
        answer = json.loads(body)
        assert status == 200, answer
        return [(r["metric"], float(r["value"][1])) for r in answer["data"]["result"]]

    def wait(self, query, done):
        end = time.monotonic() + LIMIT_S
        while True:
            got = self.ask(query)
            if done(got):
                return got
            if time.monotonic() > end:
                targets = self.get("/api/v1/targets")[1].decode()
                raise AssertionError(f"{query} is {got}\n{targets}\n" + self.log_file.read_text(encoding="utf-8"))
            time.sleep(0.2)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(LIMIT_S)


class WithServer(ServerCase):
    def task(self, service="web", process="nginx", **more):
        agent = self.agent(f"agent-{len(self.agents)}")
        self.assertEqual(agent.report_processes((service, process, 42)).status, 0)
        return agent, self.server.create({"service": service}, **more)["id"]

    def one(self, path, name, accept=None):
        """The value of the only sample that begins so."""
        body = text(self.server, path, accept)[2]
        found = [line for line in body.splitlines() if line.startswith(name + " ") or line.startswith(name + "{")]
        self.assertEqual(len(found), 1, body)
        return float(found[0].rpartition(" ")[2])


class Formats(WithServer):
    def test_who_asks_for_a_format_gets_it(self):
        _, task = self.task()
        plain, openmetrics = "text/plain; version=0.0.4", OPEN
        for accept, own, tasks in (
                (None, plain, openmetrics), ("*/*", plain, openmetrics), ("text/plain", plain, plain),
                ("application/openmetrics-text", openmetrics, openmetrics),
                ("application/openmetrics-text;q=0.5, text/plain", plain, plain),
                ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                 "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", openmetrics, openmetrics),
                ("text/plain;q=0.2,*/*;q=0.1", plain, plain), ("text/html, */*;q=0.8", plain, openmetrics),
                ("application/json", None, None), ("text/plain;q=0, text/html", None, None)):
            for path, want in (("/metrics", own), ("/api/v1/openmetrics", tasks),
                               (f"/api/v1/tasks/{task}/openmetrics", tasks)):
                status, kind, body = text(self.server, path, accept)
                self.assertEqual(status, 200 if want else 406, (path, accept))
                if want:
                    self.assertTrue(kind.startswith(want), (path, accept, kind))
                    self.assertEqual(body.endswith("# EOF\n"), want == openmetrics, (path, accept))
                else:
                    self.assertEqual(kind, "application/problem+json")

    def test_promtool_finds_nothing_to_say(self):
        agent, task = self.task()
        agent.query()
        agent.report(task, 1, states=["running"])
        agent.collect(f"{task}/1/h", collection(single("sonde_net_sent_bytes_total", 7, **edge()),
                                                histogram("sonde_net_rtt_microseconds", {10: 1}, **edge())))
        for path in ("/metrics", f"/api/v1/tasks/{task}/openmetrics"):
            body = text(self.server, path, "text/plain")[2]
            got = subprocess.run(["promtool", "check", "metrics"], input=body, encoding="utf-8", check=False,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            # Its rules on style, such as base units, are not those of the format.
            words = [line for line in got.stdout.splitlines() if "error" in line.lower()]
            self.assertEqual((words, got.returncode in (0, 3)), ([], True), got.stdout)
            if path == "/metrics":
                self.assertEqual(got.stdout, "")

    def test_counters_count(self):
        for _ in range(3):
            text(self.server, "/healthz")
        text(self.server, "/nothing")
        text(self.server, "/api/v1/tasks/none/topology")
        body = text(self.server, "/metrics")[2]
        for line in ('{route="/healthz",method="GET",status="200"} 3', '{route="",method="GET",status="404"} 1',
                     '{route="/api/v1/tasks/{id}/topology",method="GET",status="404"} 1'):
            self.assertIn("sonde_server_http_requests_total" + line + "\n", body)
        self.assertIn('sonde_server_http_request_duration_seconds_bucket{route="/healthz",le="+Inf"} 3\n', body)
        self.assertIn('sonde_server_http_request_duration_seconds_count{route="/healthz"} 3\n', body)
        self.assertIn('sonde_server_tasks{state="running"} 0\n', body)
        size = (self.server.path / "state" / "sonde.db").stat().st_size
        self.assertIn(f'sonde_server_store_bytes{{file="database"}} {size}\n', body)
        status = self.server.request("POST", "/api/v1/tasks", raw="x" * (300 << 10))[0]
        self.assertEqual(status, 413)
        body = text(self.server, "/metrics")[2]
        self.assertIn('sonde_server_refused_total{bound="http_body"} 1\n', body)
        self.assertIn('sonde_server_refused_total{bound="http_answers"} 0\n', body)


class Token(WithServer):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="api-token-")
        config = pathlib.Path(self.folder.name) / "server.yaml"
        config.write_text("token: secret\n", encoding="utf-8")
        config.chmod(0o600)
        self.flags = ("--config", str(config))
        super().setUp()

    def tearDown(self):
        super().tearDown()
        self.folder.cleanup()

    def test_metrics_need_the_token_too(self):
        for path in ("/metrics", "/api/v1/openmetrics"):
            self.assertEqual(text(self.server, path)[0], 401)
            self.assertEqual(text(self.server, path, token="Bearer secret")[0], 200)
        self.assertNotIn("secret", text(self.server, "/metrics", token="Bearer secret")[2])


class Scraped(WithServer):
    """A real Prometheus, PromQL, and the same numbers by REST."""
    # below: 3 under 20, 5 under 100, 9 under 1,000, 10 in all
    RTT = {10: 3, 40: 2, 500: 4, 25000: 1}

    def setUp(self):
        super().setUp()
        self.folder = tempfile.TemporaryDirectory(prefix="api-prometheus-")
        self.prometheus = Prometheus(self.server, pathlib.Path(self.folder.name))

    def tearDown(self):
        self.prometheus.close()
        self.folder.cleanup()
        super().tearDown()

    def rest(self, task, metric, side, **labels):
        rows = self.server.get(f"/tasks/{task}/metrics?metric={metric}")["metrics"]
        found = [r for r in rows if r["side"] == side and labels.items() <= r["labels"].items()]
        self.assertEqual(len(found), 1, rows)
        return found[0]

    def test_promql_answers_with_what_was_sent(self):
        agent, task = self.task(name=HOSTILE, duration_ms=600000)
        other, second = self.task("db", "redis", duration_ms=600000)
        for a, t in ((agent, task), (other, second)):
            a.query()
            self.assertEqual(a.report(t, 1, states=["running"], ledger=[("cell_full", 7, True)]).status, 0)
        for n in (1, 2):
            self.assertEqual(agent.collect(f"{task}/{n}/h", collection(
                single("sonde_net_sent_bytes_total", 1000 * n, **edge()),
                single("sonde_net_sent_bytes_total", 5, **edge("client", "443")),
                single("sonde_net_retransmits_total", n, **edge(kind="fast")),
                single("sonde_net_retransmits_total", 1, **edge(kind='"\\\n')),
                single("sonde_net_connections_open", 10 - n, **edge()),
                histogram("sonde_net_rtt_microseconds", self.RTT, **edge()))).status, 0)
        self.assertEqual(agent.collect(f"{task}/2/h", collection(
            single("sonde_net_sent_bytes_total", 2000, **edge()))).status, 0)  # sent again: not counted
        self.assertEqual(other.collect(f"{second}/1/h", collection(
            single("sonde_net_sent_bytes_total", 77, **edge()))).status, 0)
        ask, wait = self.prometheus.ask, self.prometheus.wait

        wait(f'sonde_net_sent_bytes_total{{task="{task}",server_port="80"}}', lambda got: got and got[0][1] == 3000)
        wait(f'sonde_net_sent_bytes_total{{task="{second}"}}', lambda got: got and got[0][1] == 77)
        wait('sonde_server_reports_total{result="duplicate"}', lambda got: got and got[0][1] == 1)
        wait('sonde_server_reports_total{result="received"}', lambda got: got and got[0][1] == 3)
        self.assertEqual([v for _, v in ask("up")], [1, 1])
        self.assertEqual({m["task"]: v for m, v in ask("sum by (task) (sonde_net_sent_bytes_total)")},
                         {task: 3010.0, second: 77.0})
        self.assertEqual(ask(f'sum(sonde_net_sent_bytes_total{{task="{task}"}})'), [({}, 3010.0)])

        # each counter and gauge, against REST
        for metric in ("sonde_net_sent_bytes_total", "sonde_net_retransmits_total", "sonde_net_connections_open",
                       "sonde_net_rtt_microseconds_percentile"):
            rest = self.server.get(f"/tasks/{task}/metrics?metric={metric.removesuffix('_percentile')}")["metrics"]
            got = ask(f'{metric}{{task="{task}"}}')
            self.assertGreater(len(rest), 0)
            self.assertEqual(sorted((r["edge"], r["side"], r["labels"].get("kind", ""), r["labels"].get("p", ""),
                                     float(r["value"])) for r in rest),
                             sorted((m["edge"], m["side"], m.get("kind", ""), m.get("p", ""), v) for m, v in got))
            self.assertEqual({m["server"] for m, _ in got}, {rest[0]["server"]})
        self.assertEqual(ask(f'sonde_net_retransmits_total{{task="{task}",kind="\\"\\\\\\n"}}')[0][1], 2.0)

        # a histogram, against what was sent
        for le, n in (("20.0", 3), ("50.0", 5), ("100.0", 5), ("500.0", 5), ("1000.0", 9), ("20000.0", 9), ("50000.0", 10),
                      ("+Inf", 10)):
            got = ask(f'sonde_net_rtt_microseconds_bucket{{task="{task}",le="{le}"}}')
            self.assertEqual([v for _, v in got], [2.0 * n], le)
        self.assertEqual(ask(f'sonde_net_rtt_microseconds_count{{task="{task}"}}')[0][1], 20.0)
        quantile = ask(f'histogram_quantile(0.5, sonde_net_rtt_microseconds_bucket{{task="{task}"}})')[0][1]
        self.assertTrue(20 < quantile <= 50, quantile)
        p50 = self.rest(task, "sonde_net_rtt_microseconds", "client", p="50")["value"]
        self.assertEqual(p50, 40)

        # the task and its loss
        info, = ask(f'sonde_task_info{{task="{task}"}}')
        self.assertEqual((info[0]["state"], info[0]["name"]), ("running", HOSTILE))
        self.assertEqual(ask(f'sonde_task_ledger{{task="{task}",site="cell_full"}}')[0][1], 7.0)
        self.assertEqual(ask(f'sonde_task_complete{{task="{task}"}}')[0][1], 0.0)
        self.assertEqual(ask("sonde_task_series_refused")[0][1], 0.0)

        # the server
        for query, value in (('sonde_server_tasks{state="running"}', 2), ('sonde_server_agents{connected="true"}', 2),
                             ('sonde_server_reports_total{result="received"}', 3),
                             ('sonde_server_reports_total{result="refused"}', 0)):
            self.assertEqual([v for _, v in ask(query)], [value], query)
        stats = self.server.get("/server")["ingest"]
        self.assertEqual(ask("sonde_server_samples_total")[0][1], stats["samples"])
        self.assertEqual(ask('sonde_server_reports_total{result="received"}')[0][1], stats["reports"])
        types = json.loads(self.prometheus.get("/api/v1/metadata")[1])["data"]
        for name, kind in (("sonde_net_sent_bytes_total", "counter"), ("sonde_net_connections_open", "gauge"),
                           ("sonde_net_rtt_microseconds", "histogram"), ("sonde_server_reports_total", "counter"),
                           ("sonde_server_http_request_duration_seconds", "histogram")):
            found = types.get(name) or types.get(re.sub("_total$", "", name))
            self.assertEqual([m["type"] for m in found], [kind], name)


if __name__ == "__main__":
    if not shutil.which("prometheus") or not shutil.which("promtool"):
        print("prometheus is missing")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=2)
