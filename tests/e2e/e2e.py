# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: main() runs each function test_*, skips where BPF may not be loaded."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "tests/tools"))
import stack  # noqa: E402

SKIP = 77
BPFTOOL = shutil.which("bpftool", path=os.environ["PATH"] + ":/usr/sbin")


def refusal():
    """Why BPF can't be tested here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    if not pathlib.Path("/sys/kernel/btf/vmlinux").exists():
        return "the kernel has no BTF"
    listed = subprocess.run([BPFTOOL, "prog", "list"], capture_output=True, text=True, check=False)
    return None if listed.returncode == 0 else f"bpf(2) is refused: {listed.stderr.strip()}"


def rig(start=True):
    """A rig in a folder of its own, which goes with it."""
    class Temporary(stack.Rig):
        def __exit__(self, *exc):
            super().__exit__(*exc)
            shutil.rmtree(self.dir, ignore_errors=True)
    return Temporary(tempfile.mkdtemp(prefix="sonde-e2e-"), f"sonde-e2e-{os.getpid()}", start)


def exists(kind, number):
    """Whether a BPF object of this id is alive; kind is prog, map or link."""
    return subprocess.run([BPFTOOL, kind, "show", "id", str(number)], capture_output=True, check=False).returncode == 0


def noted_ids(folder):
    """(kind, id) of <state>/bpf-ids: what the worker says that it loaded."""
    kinds = {"p": "prog", "m": "map", "l": "link"}
    found = []
    for line in (pathlib.Path(folder) / "bpf-ids").read_text(encoding="ascii").splitlines():
        words = line.split()
        found += [(kinds[k], int(n)) for k, n in zip(words, words[1:]) if k in kinds and n.isdigit()]
    return found


def equal(what, ours, theirs):
    assert ours == theirs, f"{what}: {ours} is not {theirs}"


def sides(topology):
    """(edge, role, own node, metrics) of each target's end of each edge."""
    nodes = {n["id"]: n for n in topology["nodes"]}
    for edge in topology["edges"]:
        for role in ("client", "server"):
            if edge.get(f"{role}_side"):
                yield edge, role, nodes[edge[role]], edge[f"{role}_side"]


def total(topology, service, role, key):
    return sum(m.get(key) or 0 for _, r, n, m in sides(topology) if n.get("service") == service and r == role)


def _redis_count(rig, verb):
    return subprocess.run([TOP / "deploy/lib/redis-count", rig.dir / "redis.sock", verb], check=True,
                          capture_output=True, text=True).stdout


def redis_reset(rig):
    """Redis counts from zero."""
    _redis_count(rig, "reset")


def redis_counts(rig):
    """What redis itself counted since then."""
    return json.loads(_redis_count(rig, "read"))


def ended_behind(task, wall_ms):
    """Whether this answer's task asked for its last numbers behind that time: what was over by then is in them."""
    return any(s["state"] == "draining" and stack.milliseconds(s["at"]) > wall_ms for s in task["states"])


def redis_traffic(rig, requests):
    rig.inside("client", "redis-benchmark", "-h", "10.77.0.4", "-c", 7, "-n", requests, "-t", "set,get", "-d", 300, "-q")


def check_redis(task, *counts):
    """A task's view of redis is, to the byte, the sum of what redis counted; short of it only if its ledger says why."""
    topology = task.topology()
    for ours, theirs in (("accepts", "connections"), ("received_bytes", "received_bytes"), ("sent_bytes", "sent_bytes")):
        seen, truth = total(topology, "redis", "server", ours), sum(c[theirs] for c in counts)
        if seen == truth:
            continue
        ledger = [(e["site"], e["count"]) for e in task.ledger()["entries"]]
        print(f"task {task.id}: {ours}: {seen} of {truth}, ledger {ledger}", flush=True)
        lost = [site for site, count in ledger if site in ("end_unseen", "skipped_runs") and count]
        assert lost and seen < truth, f"task {task.id}: {ours}: {seen} is not {truth}, ledger {ledger}"


def main(namespace):
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what each `with` began goes
    why = refusal()
    if why:
        print(why)
        return SKIP
    failed = 0
    for name, test in namespace.items():
        if not name.startswith("test_"):
            continue
        try:
            test()
            print(f"ok   {name}", flush=True)
        except Exception: # each test is told by name, the next one still runs
            failed += 1
            traceback.print_exc()
            print(f"FAIL {name}", flush=True)
    return 1 if failed else 0
