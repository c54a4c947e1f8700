#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""sonde against a real sonde-server and an agent that is not ours: following tasks, what -o makes, and each exit status.

cli-server.py SONDE_SERVER RULES_FOLDER SONDE MAN_PAGE
"""
import csv
import datetime
import fcntl
import io
import json
import os
import pathlib
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from server_rig import Agent, Server, entity, message, wait_for  # noqa: E402

PROGRAM, RULES, SONDE, MAN = sys.argv[1:5]
SECONDS = 60  # a test that hangs, not a measure


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(PROGRAM, RULES)
        cls.agent = Agent(cls.server)

    def setUp(self):  # they live, however long the other tests took
        self.assertEqual(self.agent.report_processes(("web", "nginx", 42), ("web", "nginx", 43), ("db", "redis", 44)).status, 0)

    @classmethod
    def tearDownClass(cls):
        cls.agent.close()
        status = cls.server.close()
        assert status == 0, status

    def environment(self, **extra):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SONDE_") and k != "NO_COLOR"}
        return {**kept, "HOME": "/nonexistent", "TZ": "UTC", "SONDE_SERVER": f"http://127.0.0.1:{self.server.http}",
                **extra}

    def sonde(self, *args, status=0, **extra):
        done = subprocess.run([SONDE, *args], env=self.environment(**extra), capture_output=True, text=True,
                              timeout=SECONDS, check=False)
        self.assertEqual(done.returncode, status, f"sonde {' '.join(args)}: {done.stdout}{done.stderr}")
        return done

    def start(self, *args):
        return subprocess.Popen([SONDE, *args], env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True)

    def ended(self, process, status=0):
        out, err = process.communicate(timeout=SECONDS)
        self.assertEqual(process.returncode, status, out + err)
        return out, err

    def create(self, **more):
        return self.server.create({"service": "web"}, **more)["id"]

    def run_task(self, task, **more):
        self.agent.query()
        self.assertEqual(self.agent.report(task, 1, states=["planned", "attaching", "running"], **more).status, 0)

    def end_task(self, task, end="done", **more):
        self.assertEqual(self.agent.report(task, 2, states=["draining"], end=end, **more).status, 0)


class Following(Case):
    def test_watch_streams_each_change_to_the_end(self):
        task = self.create()
        watch = self.start("task", "watch", task, "-o", "jsonl")
        first = json.loads(watch.stdout.readline())
        self.assertEqual((first["event"], first["task"]["id"], first["task"]["state"]), ("task", task, "accepted"))
        self.run_task(task)
        while True:
            event = json.loads(watch.stdout.readline())
            if event["task"]["state"] == "running":
                break
        self.end_task(task)
        out, _ = self.ended(watch)
        events = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(events[-1], {"event": "end", "state": "done"})
        self.assertTrue(all(set(e) == {"event", "task"} for e in events[:-1]))

    def test_watch_goes_on_where_it_was_when_the_server_starts_anew(self):
        server = Server(PROGRAM, RULES)
        self.addCleanup(server.close)
        agent = Agent(server)
        agent.report_processes(("web", "nginx", 42))
        task = server.create({"service": "web"})["id"]
        env = self.environment(SONDE_SERVER=f"http://127.0.0.1:{server.http}")
        watch = subprocess.Popen([SONDE, "task", "watch", task, "-o", "jsonl"], env=env, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        self.assertEqual(json.loads(watch.stdout.readline())["event"], "task")
        agent.close()
        server.flags = ("--http-listen", f"127.0.0.1:{server.http}")
        server.restart(signal.SIGTERM)
        self.assertIn(server.request("POST", f"/api/v1/tasks/{task}/stop", {})[0], (200, 202))
        agent = Agent(server)
        agent.query()
        agent.report(task, 1, states=["stopped"], end="stopped")
        out, err = self.ended(watch)
        self.assertEqual(json.loads(out.splitlines()[-1])["event"], "end", err)
        agent.close()

    def test_logs_follow_to_the_end_and_tell_nothing_twice(self):
        task = self.create()
        logs = self.start("task", "logs", "-f", task)
        self.assertIn("accepted", logs.stdout.readline())
        self.run_task(task)
        self.end_task(task)
        out, _ = self.ended(logs)
        lines = out.splitlines()
        self.assertEqual(len(lines), len(set(lines)))
        self.assertEqual([re.search(r"UTC  (\w+)", line).group(1) for line in lines][-1], "done")
        rows = [json.loads(line) for line in self.sonde("task", "logs", task, "-o", "jsonl").stdout.splitlines()]
        self.assertEqual([r["state"] for r in rows][-1], "done")
        self.assertEqual([r["state"] for r in rows], [s["state"] for s in self.server.get(f"/tasks/{task}")["states"]])

    def flows(self, *rows):
        """(id, open, bytes): rows of `flow.proto` as an agent tells them; an id is a fixed64."""
        now = int(time.time() * 1000)
        told = [b"\x09" + i.to_bytes(8, "little") +
                message(f2=1, f4=9, f5=b"\x0a\0\0\2", f6=b"\x0a\0\0\x09", f7=40000 + i, f8=80, f9=6, f10=1, f11=1, f14=now - 500,
                        f16=1000, f17=sent, **({} if still else {"f15": now})) for i, still, sent in rows]
        return message(f1=[message(f1=42, f2="p" * 64, f3="nginx")], f2=told)

    def test_flows_follow_prints_each_once_when_it_has_ended(self):
        task = self.create()
        self.run_task(task, f20=self.flows((1, False, 10), (2, True, 20)))
        follow = self.start("flows", "-f", "--every", "500ms", "-o", "jsonl", task)
        first = json.loads(follow.stdout.readline())
        self.assertEqual(first["id"], "1")
        self.assertEqual(self.agent.report(task, 2, f20=self.flows((2, False, 21), (3, True, 5))).status, 0)
        self.assertEqual(json.loads(follow.stdout.readline())["id"], "2")
        self.assertEqual(self.agent.report(task, 3, states=["draining"], end="done",
                                           f20=self.flows((3, True, 6))).status, 0)
        out, _ = self.ended(follow)
        self.assertEqual([json.loads(line)["id"] for line in out.splitlines()], ["3"])

    def test_flows_follow_ends_without_a_report_that_was_lost(self):
        task = self.create()
        self.run_task(task, f20=self.flows((1, False, 10)))
        follow = self.start("flows", "-f", "--every", "500ms", "-o", "jsonl", task)
        self.assertEqual(json.loads(follow.stdout.readline())["id"], "1")
        # the second never comes
        self.assertEqual(self.agent.report(task, 3, states=["draining"], end="done",
                                           f20=self.flows((3, True, 6))).status, 0)
        self.assertEqual(self.server.get(f"/tasks/{task}")["reports"]["missing"], 1)
        out, err = self.ended(follow)
        self.assertEqual([json.loads(line)["id"] for line in out.splitlines()], ["3"])
        self.assertIn("1 report is missing", err)

    def test_attach_prints_the_summary_of_a_task_that_somebody_else_began(self):
        task = self.create()
        self.run_task(task)
        attach = self.start("task", "attach", task)
        self.end_task(task)
        out, err = self.ended(attach)
        self.assertTrue(out.startswith(f"Task {task}\n"), out)
        self.assertIn("Time line", out)
        self.assertNotIn("\033", out + err)

    def test_run_as_json_lines_ends_with_its_summary(self):
        run = self.start("run", "service:web", "-o", "jsonl", "--tasks-dir", str(pathlib.Path(MAN).parents[2] / "tasks"))
        task = json.loads(run.stdout.readline())["task"]["id"]
        self.run_task(task)
        self.end_task(task)
        out, _ = self.ended(run)
        last = json.loads(out.splitlines()[-1])
        self.assertEqual(list(last), ["event", "task", "topology", "ledger"])
        self.assertEqual((last["event"], last["task"]["state"]), ("summary", "done"))

    def test_wait_for_the_first_report_and_for_a_failure(self):
        task = self.create()
        wait = self.start("task", "wait", "--for=first-data", task)
        self.run_task(task)
        self.ended(wait)
        self.sonde("task", "wait", "--for", "failed", "--timeout", "200ms", task, status=6)
        self.end_task(task, "failed", f19="bpf_refused")
        self.sonde("task", "wait", "--for", "failed", task)
        self.assertIn("failed", self.sonde("task", "wait", task, status=8).stderr)

    def test_clone_asks_for_the_same_with_what_is_given_instead(self):
        first = self.create(duration_ms=7000, name="first", preset="network", limits={"maxPeers": 9})
        second = self.sonde("task", "clone", first, "--duration", "9s").stdout.strip()
        third = self.sonde("task", "clone", first, "service:db", "--name", "third", "-o", "name").stdout.strip()
        specs = [self.server.get(f"/tasks/{t}")["spec"] for t in (first, second, third)]
        for spec in specs:
            spec.pop("id")
            spec.pop("createdBy", None)
        self.assertEqual(specs[1], {**specs[0], "durationMs": 9000})
        self.assertEqual(specs[2]["name"], "third")
        self.assertEqual(specs[2]["targets"][0]["service"], "db")
        self.assertEqual({**specs[2], "name": "first", "targets": specs[0]["targets"]}, specs[0])

    def test_delete_is_for_tasks_that_have_ended_and_outlasts_a_restart(self):
        going, over = self.create(), self.create()
        self.run_task(over)
        self.end_task(over)
        done = self.sonde("task", "delete", going, over, status=4)
        self.assertEqual(done.stderr, f"sonde: the task goes on (accepted): stop it first\ntask {over} is deleted\n")
        self.sonde("task", "get", over, status=3)
        self.assertNotIn(over, self.sonde("task", "list", "-o", "name").stdout.split())
        self.assertIn(going, self.sonde("task", "list", "-o", "name").stdout.split())


class Output(Case):
    def test_every_form_says_the_same(self):
        first, second = self.create(name="a"), self.create(name="b,c")
        got = {f: self.sonde("task", "list", "-o", f).stdout for f in ("json", "jsonl", "name", "csv", "yaml")}
        tasks = json.loads(got["json"])["tasks"]
        self.assertEqual([t["id"] for t in tasks][:2], [second, first])
        self.assertEqual([json.loads(line) for line in got["jsonl"].splitlines()], tasks)
        self.assertEqual(got["name"].split(), [t["id"] for t in tasks])
        rows = list(csv.DictReader(io.StringIO(got["csv"])))
        self.assertEqual([r["task"] for r in rows], [t["id"] for t in tasks])
        self.assertEqual((rows[0]["name"], rows[0]["duration_ms"], rows[0]["created"]),
                         ("b,c", "60000", tasks[0]["created"]))
        path = self.sonde("task", "list", "-o", "jsonpath={.items[*].id}").stdout
        self.assertEqual(path.split(), [t["id"] for t in tasks])
        self.assertEqual(self.sonde("task", "list", "-o", "jsonpath={.tasks[0]['name']}").stdout, "b,c\n")
        try:
            import yaml
        except ImportError:
            self.skipTest("python3-yaml is missing: YAML was not read back")
        self.assertEqual(yaml.safe_load(got["yaml"])["tasks"], tasks)
        self.assertEqual(yaml.safe_load(self.sonde("task", "get", first, "-o", "yaml").stdout),
                         self.server.get(f"/tasks/{first}"))

    def test_columns(self):
        task = self.create()
        line = self.sonde("task", "list", "--columns", "task,state", "--no-headers").stdout.splitlines()[0]
        self.assertEqual(line.split(), [task, "accepted"])
        self.assertIn("no column 'nope'; there are: task, name, ",
                      self.sonde("task", "list", "--columns", "nope", status=2).stderr)
        self.assertEqual(self.sonde("task", "list", "--columns", "task", "-o", "csv").stdout.splitlines()[:2], ["task", task])
        for form in ("json", "jsonl", "yaml", "name", "jsonpath={.items}"):
            done = self.sonde("task", "list", "--columns", "task,state", "-o", form, status=2)
            self.assertIn("--columns is for -o table, wide and csv; ", done.stderr)
            self.assertEqual(done.stdout, "")
        self.assertIn("not 'export'", self.sonde("export", task, "-o", "csv", "--columns", "metric", status=2).stderr)

    def test_targets_are_listed_by_kind_and_got_by_name(self):
        hosts = json.loads(self.sonde("targets", "list", "hosts", "-o", "json").stdout)["targets"]
        self.assertEqual([(h["kind"], h["processes"], h["services"]) for h in hosts], [("host", 3, ["web", "db"])])
        services = self.sonde("targets", "list", "services", "-o", "name").stdout.split()
        self.assertEqual(services, ["web", "db"])
        self.assertEqual(len(self.sonde("targets", "list", "-o", "jsonl").stdout.splitlines()), 3)
        self.assertEqual(self.sonde("targets", "list", "--node", "nowhere", "-o", "jsonl").stdout, "")
        got = self.sonde("targets", "get", "pid:44", "-o", "jsonpath={.items[*].service}").stdout
        self.assertEqual(got, "db\n")
        self.assertRegex(self.sonde("targets", "get", "redis").stdout, r"(?m)^pid +44$")
        self.sonde("targets", "get", "nobody", status=3)
        self.assertIn("pods need Kubernetes", self.sonde("targets", "list", "pods", status=8).stderr)

    def test_audit_tells_who_changed_what(self):
        before = datetime.datetime.now(datetime.timezone.utc)
        task = self.create()
        self.sonde("task", "stop", task)
        wait_for("its stop in the log, which is written behind the answer", lambda: any(
            (e["action"], e["subject"]) == ("task.stop", task) for e in self.server.get("/audit?limit=1")["entries"]))
        entries = json.loads(self.sonde("audit", "--since", before.isoformat(), "-o", "json").stdout)["entries"]
        self.assertEqual([(e["action"], e["subject"], e["status"]) for e in entries],
                         [("task.stop", task, 202), ("task.create", task, 201)])
        rows = list(csv.DictReader(io.StringIO(self.sonde("audit", "--since", "1m", "--limit", "2", "-o", "csv").stdout)))
        self.assertEqual([(r["at"], r["who"], r["role"], r["action"], r["status"], r["address"]) for r in rows],
                         [(e["at"], e["who"], e["role"], e["action"], str(e["status"]), e["address"]) for e in entries])
        done = self.sonde("audit", "--limit", "1")
        self.assertRegex(done.stdout, rf"(?m)^AT +WHO +ROLE +ACTION +SUBJECT .*\n.* task\.stop +{task} +202 ")
        cursor = re.fullmatch(r"more: --cursor '(\d+)'\n", done.stderr).group(1)
        page = json.loads(self.sonde("audit", "--limit", "1", "--cursor", cursor, "-o", "json").stdout)["entries"]
        self.assertEqual(page, entries[1:])
        self.assertEqual(self.sonde("audit", "--since", "0s").stderr, "nothing was changed, and nobody refused\n")

    def test_a_config_that_cannot_be_replaced_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            link, pipe = os.path.join(folder, "link"), os.path.join(folder, "pipe")
            os.symlink("nowhere", link)
            os.mkfifo(pipe)
            for path, words in ((link, "it is a link to a file that is not there"), (pipe, "it is no regular file")):
                for command in (("set", "server", "http://127.0.0.1:1"), ("use-context", "a")):
                    done = self.sonde("config", *command, "--config", path, status=2)
                    self.assertEqual((done.stdout, done.stderr), ("", f"sonde: {path}: {words}\n"))
            self.assertEqual((sorted(os.listdir(folder)), os.readlink(link)), (["link", "pipe"], "nowhere"))

    def test_a_machine_has_one_name_in_all_lists(self):
        server = Server(PROGRAM, RULES)
        self.addCleanup(server.close)
        agent = Agent(server)
        self.addCleanup(agent.close)
        pairs = [message(f1="host_ip", f2="192.0.2.2"), message(f1="command_line", f2="/bin/cron")]
        process = message(f1=message(f1=entity("jobs", "cron"), f2=77, f3=pairs))
        for path, body in (("EBPFProcessService/reportProcesses", message(f1=[process], f2="agent-1")),
                           ("ManagementService/reportInstanceProperties",
                            message(f1="agents", f2="agent-1", f3=[message(f1="agent_id", f2="agent-1"),
                                                                   message(f1="host", f2="node-1")]))):
            self.assertEqual(agent.call(f"/skywalking.v3.{path}", body).status, 0)
        env = {"SONDE_SERVER": f"http://127.0.0.1:{server.http}"}
        host = self.sonde("agents", "list", "-o", "jsonpath={.items[*].host}", **env).stdout
        self.assertEqual(host, "node-1\n")
        self.assertEqual(self.sonde("targets", "list", "hosts", "-o", "name", **env).stdout, host)
        rows = self.sonde("targets", "list", "--node", "node-1", "-o", "jsonpath={.items[*].process}", **env).stdout
        self.assertEqual(rows, "cron\n")
        for kind in ("processes", "hosts"):
            self.assertEqual(self.sonde("targets", "list", kind, "--node", "nowhere", **env).stderr,
                             "no process of host 'nowhere' is reported; sonde targets list hosts has their names\n")
        self.assertEqual(self.sonde("targets", "list", "--search", "nothing", **env).stderr,
                         "no process that is reported matches\n")

    def test_agents_are_got_and_told_by_what_they_take(self):
        self.assertRegex(self.sonde("agents", "get", "agent").stdout, r"(?m)^agent +agent-1$")
        self.sonde("agents", "get", "nobody", status=3)
        idle = json.loads(self.sonde("agents", "top", "-o", "json").stdout)["agents"]
        self.assertEqual([(a["agent_id"], a["cpu_percent"]) for a in idle], [("agent-1", None)])
        task = self.create()
        self.run_task(task)
        cost = message(f2=200_000_000, f3=300_000_000, f4=100_000_000, f5=1 << 20, f6=1 << 20, f7=5 << 20)
        time.sleep(0.05)  # so that a share of the time is not one of nothing
        self.assertEqual(self.agent.report(task, 2, f12=cost).status, 0)
        row = json.loads(self.sonde("agents", "top", "-o", "json").stdout)["agents"][0]
        agent = self.server.get(f"/tasks/{task}")["agents"][0]
        self.assertEqual((row["tasks"], row["memory_bytes"], row["map_bytes"], row["at"]),
                         (1, 2 << 20, 5 << 20, agent["last_report"]))
        self.assertEqual(agent["cost"]["agent_cpu_ns"], 300_000_000)
        began, last = (datetime.datetime.fromisoformat(agent[k]) for k in ("started", "last_report"))
        elapsed_ns = (last - began) / datetime.timedelta(microseconds=1) * 1000
        self.assertAlmostEqual(row["cpu_percent"], 100 * (300_000_000 + 100_000_000) / elapsed_ns, delta=0.02)
        self.assertAlmostEqual(row["kernel_percent"], 100 * 200_000_000 / elapsed_ns, delta=0.02)
        self.end_task(task)

    def test_watch_prints_again_what_has_changed_and_only_that(self):
        watch = self.start("targets", "list", "services", "-w", "--every", "500ms", "-o", "name")
        self.assertEqual([watch.stdout.readline() for _ in range(2)], ["web\n", "db\n"])
        self.agent.report_processes(("web", "nginx", 42), ("web", "nginx", 43), ("db", "redis", 44), ("new", "x", 45))
        self.assertEqual([watch.stdout.readline() for _ in range(3)], ["web\n", "db\n", "new\n"])
        watch.send_signal(signal.SIGINT)
        self.ended(watch, -signal.SIGINT)
        self.sonde("task", "list", "-w", "--every", "1ms", status=2)

    def test_watch_counts_the_rows_of_lines_that_wrap(self):
        rows, columns = 10, 30
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        watch = subprocess.Popen([SONDE, "targets", "list", "-o", "wide", "-w"], env=self.environment(NO_COLOR="1"),
                                 stdout=theirs, stderr=subprocess.DEVNULL)
        os.close(theirs)
        picture = b""
        while b"\x1b[J" not in picture:
            picture += os.read(ours, 65536)
        watch.send_signal(signal.SIGINT)
        watch.wait(SECONDS)
        os.close(ours)
        lines = re.sub(rb"\x1b\[[0-9]*[A-Z]", b"", picture).decode().split("\r\n")
        self.assertIn("PROCESS", lines[0])
        self.assertTrue(any("lines more" in line for line in lines), lines)
        self.assertLessEqual(sum(max(1, -(-len(line) // columns)) for line in lines[:-1]), rows - 1, lines)

    def test_watch_says_once_that_the_server_is_away(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            watch = subprocess.Popen([SONDE, "targets", "list", "-w", "--every", "500ms"], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True,
                                     env=self.environment(SONDE_SERVER=f"http://127.0.0.1:{port}"))
            listener.settimeout(SECONDS)
            connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n"
                               b"Connection: close\r\n\r\n{\"targets\":[]}")
        self.assertIn("cannot reach", watch.stderr.readline())
        time.sleep(1.2)  # two looks more
        watch.send_signal(signal.SIGINT)
        self.assertEqual(self.ended(watch, -signal.SIGINT)[1], "")

    def test_watch_with_csv_has_one_heading(self):
        watch = self.start("targets", "list", "services", "-w", "--every", "500ms", "-o", "csv", "--columns", "service",
                           "--search", "late")
        self.assertEqual(watch.stdout.readline(), "service\n")
        self.agent.report_processes(("later", "x", 46))
        self.assertEqual(watch.stdout.readline(), "later\n")
        watch.send_signal(signal.SIGINT)
        self.ended(watch, -signal.SIGINT)


class Exits(Case):
    """Each exit status of the man page, given by a real command that a real server answers."""

    def tasks(self):
        done, lossy, failed, going = (self.create() for _ in range(4))
        for task in (done, lossy, failed, going):
            self.run_task(task)
        self.end_task(done)
        self.end_task(lossy, ledger=[("cell_full", 7, True)])
        self.end_task(failed, "failed", f19="bpf_refused")
        return {"DONE": done, "LOSSY": lossy, "FAILED": failed, "GOING": going, "SERVER": self.environment()["SONDE_SERVER"]}

    def documented(self):
        table = pathlib.Path(MAN).read_text(encoding="utf-8").partition("# EXIT STATUS")[2].partition("\n# ")[0]
        return {int(n) for row in re.findall(r"(?m)^\|\s+([\d, ]+)$", table) for n in row.split(",")}

    COMMANDS = (
        (0, "sonde task get $DONE"),
        (0, "sonde loss $LOSSY --max-loss 7"),
        (0, "sonde audit --since 1h"),
        (1, "sonde task wait --for running $DONE"),
        (2, "sonde task list --nope"),
        (2, "sonde task list --columns nope"),
        (2, "sonde audit --since nope"),
        (2, "sonde audit --since 1000000h"),  # before 1970
        (2, "sonde audit --limit 0"),
        (2, "sonde task list -o 'jsonpath={range .items}'"),
        (3, "sonde task get nope"),
        (3, "sonde targets get nobody"),
        (4, "sonde task delete $GOING"),
        (4, "sonde task extend $DONE 5s"),
        (5, "sonde task list --server http://127.0.0.1:1"),
        (6, "sonde task wait $GOING --timeout 300ms"),
        (6, "sonde task watch $GOING --timeout 300ms"),
        (7, "sonde loss $LOSSY --max-loss 6"),
        (7, "sonde task wait $LOSSY --max-loss 0"),
        (8, "sonde task wait $FAILED"),
        (8, "sonde targets list pods"),
        (9, "sonde task list >/dev/full"),
    )

    def interrupted(self, number, *args):
        process = self.start(*args)
        process.stdout.readline()  # it follows
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)
        return process.returncode, out + err

    def test_each_exit_status_has_a_command_that_gives_it(self):
        tasks, given = self.tasks(), set()
        env = {**self.environment(), **tasks, "PATH": f"{os.path.dirname(os.path.abspath(SONDE))}:{os.environ['PATH']}"}
        print()
        for status, line in self.COMMANDS:
            done = subprocess.run(["bash", "--norc", "-c", line], env=env, capture_output=True, text=True, timeout=SECONDS,
                                  check=False)
            self.assertEqual(done.returncode, status, f"{line}: {done.stdout}{done.stderr}")
            self.assertEqual(bool(re.search(r"(?m)^sonde: ", done.stderr)), status != 0, f"{line}: {done.stderr}")
            print(f"exit {status}: {line}")
            given.add(status)
        for status, name, number in ((130, "SIGINT", signal.SIGINT), (143, "SIGTERM", signal.SIGTERM)):
            for args in (("task", "watch", tasks["GOING"]), ("task", "logs", "-f", tasks["GOING"])):
                got, words = self.interrupted(number, *args)
                self.assertEqual(got, status, words)
            print(f"exit {status}: sonde task watch $GOING, ended by {name}")
            given.add(status)
        self.assertEqual(given, self.documented())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
