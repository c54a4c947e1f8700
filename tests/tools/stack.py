# SPDX-License-Identifier: Apache-2.0
"""The whole of Sonde over the quickstart's traffic, for tests/e2e and tests/bench.

Rig makes the namespaces, nginx, redis (deploy/lib/rig.bash) and a Stack: server and agent (deploy/lib/stack.bash).
Everything runs from one folder and ends with the `with`.
"""

import datetime
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
FINAL = ("done", "failed", "refused", "expired", "stopped")
BUSY_S = 90  # what a machine may take that has much else to do


def wait_for(what, seconds, predicate, step=0.1):
    """The first true value of predicate(), or RuntimeError naming what was waited for. seconds: of a machine at rest; it only
    ends a hang."""
    seconds = max(seconds, BUSY_S)
    end = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise RuntimeError(f"not within {seconds} s: {what}")
        time.sleep(step)


def milliseconds(text):
    """Of a time as the REST interface writes it."""
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def free_ports(n):
    """Ports of 127.0.0.1 that nobody has at the moment, and that the kernel gives nobody else while they are unused, where it
    keeps any back."""
    low = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    held = []
    while len(held) < n:
        try:
            held.append(socket.create_server(("127.0.0.1", random.randrange(10000, low) if low > 11000 else 0)))
        except OSError:
            pass  # somebody has it
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def status(pid):
    """/proc/PID/status as a dict of strings; {} if the process is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def memory(pid):
    """kB."""
    fields = status(pid)
    return {name: int(fields[name].split()[0]) for name in ("RssAnon", "VmRSS")}


def alive(pid):
    return status(pid).get("State", "Z")[0] not in "ZX"


def end(process, how=signal.SIGTERM, seconds=BUSY_S):
    """Of a Popen, however it is; it is killed if it does not end by itself."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.send_signal(how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def children(pid):
    try:
        return [int(c) for c in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except FileNotFoundError:
        return []


class Task:
    def __init__(self, stack, task_id):
        self.stack, self.id = stack, task_id

    def get(self):
        return self.stack.request("GET", f"/tasks/{self.id}")

    def topology(self):
        return self.stack.request("GET", f"/tasks/{self.id}/topology")

    def ledger(self):
        return self.stack.request("GET", f"/tasks/{self.id}/ledger")

    def wait(self, *states, seconds=30):
        """Until it is in one of these states, or in a final one."""
        wanted = states or FINAL
        got = wait_for(f"task {self.id} in {'/'.join(wanted)}", seconds,
                       lambda: (lambda t: t if t["state"] in wanted + FINAL else None)(self.get()))
        if got["state"] not in wanted:
            raise RuntimeError(f"task {self.id} is {got['state']}: {got.get('reason')}")
        return got

    def stop(self):
        if self.get()["state"] not in FINAL:
            self.stack.request("POST", f"/tasks/{self.id}/stop", {"reason": "measured"})


class Stack:
    """Server and agent; their pids, ports and logs are files of the rig's folder."""

    def __init__(self, rig):
        self.rig = rig

    def start(self):
        self.rig.bash("stack_start_server && stack_start_agent")

    def stop(self):
        self.rig.bash("stack_stop")

    def restart(self):
        before = {a["agent_id"] for a in self.request("GET", "/agents")["agents"]}
        self.stop()
        self.start()
        self.wait_targets(but=before)

    def wait_targets(self, *services, but=()):
        """but: agents of before, which the server knows from its store."""
        wanted = set(services or ("nginx-proxy", "nginx-backend", "redis"))
        wait_for(f"targets {wanted}", 30, lambda: wanted <= {
            t["service"] for t in self.request("GET", "/targets")["targets"] if t["live"] and t["agent_id"] not in but})

    def request(self, method, path, body=None):
        port = self.rig.read("http.port")
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=BUSY_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def create(self, targets, seconds, **spec):
        """A task over these targets: services by name, pids by number."""
        targets = [{"pid": t} if isinstance(t, int) else {"service": t} for t in targets]
        return Task(self, self.request("POST", "/tasks", {
            "name": "test", "preset": "network", "targets": targets, "durationMs": seconds * 1000, **spec})["id"])

    def processes(self):
        """server, agent, keeper, worker: pids."""
        agent = int(self.rig.read("agent.pid"))
        keeper = wait_for("the keeper", 5, lambda: children(agent))[0]
        worker = wait_for("the worker", 5, lambda: children(keeper))[0]
        return {"server": int(self.rig.read("server.pid")), "agent": agent, "keeper": keeper, "worker": worker}

    def wakes(self):
        """How often each process gave up its CPU to wait, so far."""
        return {name: int(status(pid)["voluntary_ctxt_switches"]) for name, pid in self.processes().items()}

    def cpu_seconds(self):
        result = {}
        for name, pid in self.processes().items():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            result[name] = (int(fields[11]) + int(fields[12])) / 100
        return result


class Rig:
    proxy_url, backend_url = "http://10.77.0.2:8080", "http://10.77.0.3:9090"

    def __init__(self, folder, prefix, start=True):
        self.dir, self.prefix, self.stack, self.started = pathlib.Path(folder), prefix, Stack(self), start

    def __enter__(self):
        self.dir.chmod(0o711)
        try:
            self.bash("rig_network && rig_servers && stack_config")
            if self.started:
                self.stack.start()
                self.stack.wait_targets()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.bash("stack_stop; rig_down")

    def bash(self, script):
        """A line of bash with the functions of deploy/lib; what it starts in the background lives on."""
        log = self.dir / "bash.log"
        with open(log, "ab") as out:
            done = subprocess.run(
                ["bash", "-euc", f"cd '{TOP}'; . deploy/lib/rig.bash; . deploy/lib/stack.bash; "
                 f"rig_dir='{self.dir}' rig_prefix='{self.prefix}'; {script}"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=2 * BUSY_S, check=False)
        if done.returncode:
            raise RuntimeError(f"{script}: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")

    def read(self, name):
        return (self.dir / name).read_text(encoding="utf-8").strip()

    def pid_of(self, service):
        """The first process of a service (nginx's master)."""
        exe = str(self.dir / service)
        found = sorted(int(p.name) for p in pathlib.Path("/proc").iterdir() if p.name.isdigit() and _exe(p) == exe)
        return found[0]

    def inside(self, host, *command, seconds=BUSY_S):
        return subprocess.run(["ip", "netns", "exec", f"{self.prefix}-{host}", *map(str, command)], check=True,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=seconds).stdout

    def wrk(self, url, connections=16, seconds=4):
        out = self.inside("client", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", url, seconds=seconds + BUSY_S)
        requests = int(re.search(r"(\d+) requests in", out)[1])
        return {"requests": requests, "requests_per_second": float(re.search(r"Requests/sec:\s*([\d.]+)", out)[1])}

    def close_upstream(self):
        """No connection from the proxy to the backend is left: its old workers end with theirs."""
        os.kill(self.pid_of("nginx-proxy"), signal.SIGHUP)
        wait_for("the proxy's connections closed", 15, lambda: not self.inside(
            "backend", "ss", "-Htn", "state", "established", "sport", "=", "9090"))

    def redis_benchmark(self, seconds=5):
        end, runs = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            self.inside("client", "redis-benchmark", "-h", "10.77.0.4", "-c", 10, "-n", 20000, "-t", "get,set", "-q")
            runs += 1
        return runs

    def task(self, targets, seconds=600):
        """It is stopped at the end of the `with`: seconds is a bound for what happens in it."""
        return _Running(self, targets, seconds)


class _Running:
    """A task that runs within the `with`, and has ended behind it."""

    def __init__(self, rig, targets, seconds):
        self.rig, self.targets, self.seconds, self.task = rig, targets, seconds, None

    def __enter__(self):
        self.task = self.rig.stack.create(self.targets, self.seconds)
        self.task.wait("running")
        return self.task

    def __exit__(self, *_):
        self.task.stop()
        self.task.wait(*FINAL)


def _exe(process):
    try:
        return str((process / "exe").readlink())
    except OSError:
        return None
