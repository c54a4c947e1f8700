#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sonde-server's rule files while it runs: what is wrong with one touches no other, and what is changed is read again.

server-rules.py SONDE_SERVER
"""
import pathlib
import signal
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from server_rig import Agent, Server, collection, single  # noqa: E402

PROGRAM = sys.argv[1]
WAIT_S = 60  # for what comes within a second on a machine at rest
T0_MS = int(time.time()) // 60 * 60000


def rules(*named, prefix="test"):
    return (f"metricPrefix: {prefix}\nexpSuffix: service(['service'], Layer.GENERAL)\nmetricsRules:\n"
            + "".join(f"  - name: {name}\n    exp: {exp}\n" for name, exp in named))


GROWTH = ("growth", "c.sum(['service']).increase('PT1M').downsampling(SUM)")
GAUGE = ("gauge", "g.sum(['service']).downsampling(LATEST)")
WRONG = ("wrong", "g.summ(['service'])")


class RulesTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="sonde-rules-")
        self.addCleanup(self.folder.cleanup)

    def write(self, name, text):
        """As a deployment does: the whole file takes the place of the old one."""
        path = pathlib.Path(self.folder.name) / name
        new = path.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.rename(path)

    def start(self):
        self.server = Server(PROGRAM, self.folder.name)
        self.addCleanup(self.server.close)
        self.agent = Agent(self.server)
        self.addCleanup(self.agent.close)
        self.agent.report_processes(("web", "nginx", 42))
        self.task = self.server.create({"service": "web"})["id"]
        self.sequence = 0

    def send(self, seconds, **meters):
        self.sequence += 1
        answer = self.agent.collect(f"{self.task}/{self.sequence}/h",
                                    collection(*(single(n, v) for n, v in meters.items()),
                                               timestamp_ms=T0_MS + seconds * 1000))
        self.assertEqual(answer.status, 0, answer.words)

    def values(self):
        return {m["metric"]: m["value"] for m in self.server.get(f"/tasks/{self.task}/metrics")["metrics"]}

    def files(self):
        return {f["file"]: (f["rules"], f["problem"]) for f in self.server.get("/server")["rules"]}

    def wait(self, what):
        end = time.monotonic() + WAIT_S
        while not what():
            self.assertLess(time.monotonic(), end, f"{self.files()}\n{self.server.log()}")
            time.sleep(0.05)

    def test_at_start_the_good_ones_work(self):
        self.write("a.yaml", rules(GAUGE))
        self.write("b.yaml", rules(WRONG, GROWTH))
        self.write("c.yaml", "metricPrefix: [")
        self.start()
        files = self.files()
        self.assertEqual(files["a.yaml"], (1, None))
        self.assertEqual(files["b.yaml"][0], 1)
        self.assertIn("5:12: wrong: no function 'summ'", files["b.yaml"][1])
        self.assertEqual(files["c.yaml"][0], 0)
        self.assertTrue(files["c.yaml"][1])
        self.assertIn("b.yaml:5:", self.server.log())
        self.send(0, g=5, c=1)
        self.send(15, g=6, c=4)
        self.assertEqual(self.values(), {"test_gauge": 6, "test_growth": 3})

    def test_counter_windows_outlive_a_change(self):
        self.write("a.yaml", rules(GROWTH))
        self.write("b.yaml", rules(GAUGE))
        self.start()
        self.send(0, g=5, c=100)
        self.write("b.yaml", rules(("one", GAUGE[1]), ("two", GAUGE[1])))
        self.wait(lambda: self.files()["b.yaml"] == (2, None))
        self.send(15, g=6, c=107)
        self.assertEqual(self.values(), {"test_gauge": 5, "test_one": 6, "test_two": 6, "test_growth": 7})

    def test_a_file_is_taken_whole_or_not_at_all(self):
        self.write("a.yaml", rules(GROWTH, GAUGE))
        self.start()
        self.send(0, g=5, c=100)
        self.write("a.yaml", rules(("new", GAUGE[1]), WRONG))
        self.wait(lambda: self.files()["a.yaml"][1])
        self.assertEqual(self.files()["a.yaml"][0], 2)
        self.assertIn("a.yaml is not taken", self.server.log())
        self.send(15, g=6, c=107)
        self.assertEqual(self.values(), {"test_gauge": 6, "test_growth": 7})
        self.write("b.yaml", rules(("new", GAUGE[1]), WRONG))  # one that was never good
        self.wait(lambda: "b.yaml" in self.files())
        self.assertEqual(self.files()["b.yaml"][0], 0)
        self.write("a.yaml", rules(("new", GAUGE[1])))
        self.wait(lambda: self.files()["a.yaml"] == (1, None))
        self.send(30, g=7, c=110)
        self.assertEqual(self.values(), {"test_gauge": 6, "test_growth": 7, "test_new": 7})

    def test_a_removed_file_has_no_rules(self):
        self.write("a.yaml", rules(GROWTH))
        self.write("b.yaml", rules(GAUGE))
        self.start()
        (pathlib.Path(self.folder.name) / "a.yaml").unlink()
        self.wait(lambda: self.files() == {"b.yaml": (1, None)})

    def test_sighup_reads_them_again(self):
        self.write("a.yaml", rules(GROWTH))
        self.start()
        for n in (1, 2):
            self.server.process.send_signal(signal.SIGHUP)
            self.wait(lambda n=n: self.server.get("/server")["ingest"]["rule_reloads"] == n)
        self.assertEqual(self.files(), {"a.yaml": (1, None)})
        self.assertEqual(self.server.get("/server")["ingest"]["rule_reloads_failed"], 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
