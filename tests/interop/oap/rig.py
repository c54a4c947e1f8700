# SPDX-License-Identifier: Apache-2.0
"""The stage of the interop suite: processes that count what they do, two network namespaces, the agent, OAP's GraphQL.

  namespace a, 10.79.0.1   front   a client, of the service `shop`
  namespace b, 10.79.0.2   store   a server, of the same service and instance: a pair with both ends profiled
               10.79.0.3   ghost   no rule names it, nor does anything that is profiled have its address
A cable of DELAY_MS each way joins them (wire).
"""

import base64
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent.parent
sys.path[:0] = [str(TOP / "tests" / folder) for folder in ("tools", "e2e", "integration")]
# Their folders are known only at run time; the tests take them from here.
import e2e  # noqa: E402,F401
import listener  # noqa: E402,F401
import server_rig  # noqa: E402,F401
import stack  # noqa: E402
import tls_rig  # noqa: E402,F401

SERVICE, INSTANCE, DELAY_MS = "shop", "lab", 10
A, B, GHOST = "10.79.0.1", "10.79.0.2", "10.79.0.3"
ASKED_AT_ONCE = 40  # expressions; OAP bounds what one query may ask for
WINDOW_S = 1740
TASK_S = 150  # bounds of waits on a machine that is busy

INSTANCE_ID = f"{base64.b64encode(SERVICE.encode()).decode()}.1_{base64.b64encode(INSTANCE.encode()).decode()}"


def process_id(name):
    """As OAP makes it."""
    return hashlib.sha256(f"{name}_{INSTANCE_ID}".encode()).hexdigest()


class Peer:
    """A process of the script `peer`, run from a copy whose name the agent's rules can tell."""

    def __init__(self, rig, name, netns):
        self.name = name
        script = shutil.copy(HERE / "peer", rig.dir / name)
        self.process = subprocess.Popen(["ip", "netns", "exec", netns, "/usr/bin/python3", script], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.answer()
        self.pid = self.process.pid  # ip has become the script

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended")
        return json.loads(line)

    def ask(self, what, **options):
        self.process.stdin.write(json.dumps({"do": what, **options}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def end(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


class Agent:
    def __init__(self, folder, port, number=0, peers="auto", log="info", more="", **settings):
        """settings: keys of the section backend. more: further lines of agent.yaml."""
        self.dir, self.process, self.since = pathlib.Path(folder) / f"agent-{number}", None, 0
        (self.dir / "state").mkdir(parents=True)
        rules = "".join(f"    - {{ command: '{folder}/{name}$', service: {SERVICE}, instance: {INSTANCE}, process_name: {name} }}\n"
                        for name in ("front", "store"))
        backend = {"host": "127.0.0.1", "port": port, "poll": "1s", "heartbeat": "2s", **settings}
        (self.dir / "agent.yaml").write_text(
            "backend:\n" + "".join(f"  {k}: {v}\n" for k, v in backend.items()) +
            f"log:\n  level: {log}\nskywalking:\n  peers: {peers}\nprocesses:\n  scan: 1s\n  rules:\n{rules}{more}", encoding="utf-8")
        (self.dir / "agent.yaml").chmod(0o600)  # it may have a token

    def start(self):
        """Anew with its state, if it ran before."""
        with open(self.dir / "log", "ab") as log:
            self.since = log.tell()
            self.process = subprocess.Popen(
                [TOP / "build/sonde-agent", "--state-dir", self.dir / "state", "--config", self.dir / "agent.yaml"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def stop(self, how=signal.SIGTERM):
        if self.process:
            stack.end(self.process, how)
        self.process = None

    def said(self):
        """How much it has logged so far: bytes."""
        return (self.dir / "log").stat().st_size

    def log(self, since=0):
        """What it logged behind so many bytes."""
        return (self.dir / "log").read_bytes()[since:].decode("utf-8", "replace")

    def wait_log(self, *texts, since=None, seconds=TASK_S):
        """Until a line has all of them; the line. Of this start, or behind the first `since` bytes."""
        since = self.since if since is None else since

        def line():
            if self.process and self.process.poll() is not None:
                raise RuntimeError(f"the agent ended: {self.log()[-1500:]}")
            return next((one for one in self.log(since).splitlines() if all(t in one for t in texts)), None)
        try:
            return stack.wait_for(f"{texts} in the agent's log", seconds, line)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{self.log()[-1500:]}") from error


class Rig:
    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sonde-interop-"))
        self.netns = [f"sonde-interop-{os.getpid()}-{side}" for side in "ab"]
        self.wire, self.peers = None, []

    def __enter__(self):
        try:
            for name in self.netns:
                subprocess.run(["ip", "netns", "add", name], check=True)
                subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
            ends = [f"{n}={a}" for n, a in zip(self.netns, (A, B))]
            self.wire = subprocess.Popen(["/usr/bin/python3", HERE / "wire", str(DELAY_MS), *ends],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            if self.wire.stdout.readline() != "ready\n":
                raise RuntimeError("the wire did not come up")
            subprocess.run(["ip", "-n", self.netns[1], "addr", "add", f"{GHOST}/32", "dev", "wire"], check=True)
            subprocess.run(["ip", "-n", self.netns[0], "route", "add", GHOST, "dev", "wire"], check=True)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for peer in self.peers:
            peer.end()
        if self.wire:
            self.wire.kill()
            self.wire.wait()
        for name in self.netns:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def peer(self, name, side):
        self.peers.append(Peer(self, name, self.netns["ab".index(side)]))
        return self.peers[-1]

    def inside(self, side, *command, text=None):
        return subprocess.run(["ip", "netns", "exec", self.netns["ab".index(side)], *command], input=text, text=True,
                              stdout=subprocess.PIPE, check=True, timeout=60).stdout

    def nft_counter(self, side, name):
        out = self.inside(side, "nft", "-j", "list", "counter", "inet", "sonde", name)
        return next(o["counter"]["packets"] for o in json.loads(out)["nftables"] if "counter" in o)


# --- OAP's GraphQL

class Query:
    """What a person at OAP's page asks, for the instance of the rig. Duration: more than a test takes."""

    def __init__(self, oap):
        self.oap = oap

    @staticmethod
    def duration():
        now = time.time()
        return {"start": time.strftime("%Y-%m-%d %H%M", time.gmtime(now - WINDOW_S)),
                "end": time.strftime("%Y-%m-%d %H%M", time.gmtime(now + 60)), "step": "MINUTE"}

    def processes(self):
        """{name: row}"""
        got = self.oap.graphql("""query($i: ID!, $d: Duration!) { p: listProcesses(instanceId: $i, duration: $d) {
            id name serviceName instanceName agentId detectType attributes { name value } } }""",
                               i=INSTANCE_ID, d=self.duration())
        return {p["name"]: {**p, "attributes": {a["name"]: a["value"] for a in p["attributes"]}} for p in got["p"]}

    def topology(self):
        """({id: node}, [call])"""
        got = self.oap.graphql("""query($i: ID!, $d: Duration!) { t: getProcessTopology(serviceInstanceId: $i, duration: $d) {
            nodes { id name isReal } calls { source target detectPoints sourceComponents targetComponents } } }""",
                               i=INSTANCE_ID, d=self.duration())
        return {n["id"]: n for n in got["t"]["nodes"]}, got["t"]["calls"]

    def create(self):
        """A network profiling task over the instance; its id."""
        got = self.oap.graphql("""mutation($r: EBPFProfilingNetworkTaskRequest!) { t: createEBPFNetworkProfiling(request: $r) {
            status errorReason id } }""", r={"instanceId": INSTANCE_ID, "samplings": []})["t"]
        if not got["status"]:
            raise RuntimeError(got["errorReason"])
        return got["id"]

    def keep(self, task):
        return self.oap.graphql("mutation($t: ID!) { k: keepEBPFNetworkProfiling(taskId: $t) { status errorReason } }",
                                t=task)["k"]

    def tasks(self):
        """{id: row} of the instance's."""
        got = self.oap.graphql("""query($i: ID!) { t: queryEBPFProfilingTasks(serviceInstanceId: $i, targets: [NETWORK]) {
            taskId serviceName targetType triggerType fixedTriggerDuration } }""", i=INSTANCE_ID)
        return {t["taskId"]: t for t in got["t"]}

    def offers_cpu_profiling(self):
        return self.oap.graphql("""query($s: ID!) { p: queryPrepareCreateEBPFProfilingTaskData(serviceId: $s) {
            couldProfiling processLabels } }""", s=INSTANCE_ID.split("_")[0])["p"]["couldProfiling"]

    def metrics(self, source, target, names):
        """{metric: {labels: {minute ms: value}}} of one relation, only where there is a value."""
        entity = {"serviceName": SERVICE, "normal": True, "serviceInstanceName": INSTANCE, "processName": source,
                  "destServiceName": SERVICE, "destNormal": True, "destServiceInstanceName": INSTANCE,
                  "destProcessName": target}
        found = {}
        for at in range(0, len(names), ASKED_AT_ONCE):
            found.update(self._some(entity, names[at:at + ASKED_AT_ONCE]))
        return found

    def _some(self, entity, names):
        fields = "{ error results { metric { labels { key value } } values { id value } } }"
        query = "query($n: Entity!, $d: Duration!) {" + " ".join(
            f'm{i}: execExpression(expression: "{name}", entity: $n, duration: $d) {fields}'
            for i, name in enumerate(names)) + "}"
        got = self.oap.graphql(query, n=entity, d=self.duration())
        found = {}
        for i, name in enumerate(names):
            answer = got[f"m{i}"]
            if answer["error"]:
                raise RuntimeError(f"{name}: {answer['error']}")
            for result in answer["results"]:
                labels = tuple(sorted((x["key"], x["value"]) for x in result["metric"]["labels"]))
                points = {int(v["id"]): int(v["value"]) for v in result["values"] if v["value"] is not None}
                if points:
                    found.setdefault(name, {})[labels] = points
        return found
