#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Topology by what processes belong to, drops and RTT, held against the sums of random input (seeded).

server-views.py SONDE_SERVER RULES_FOLDER SONDE
"""
import collections
import csv
import datetime
import io
import os
import pathlib
import random
import re
import subprocess
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
# The folder of this file is known only at run time.
from server_rig import Agent, Server, ServerCase, collection, entity, histogram, message, single, wait_for  # noqa: E402

PROGRAM, RULES, SONDE = sys.argv[1:4]
SEED = int(os.environ.get("SONDE_TEST_SEED", "23"))
BOUNDS = (10, 42, 120, 400, 950, 1300, 12000, 250000)
# reason, class, of which direction, the function that dropped, where the packet's connection was found
DROPS = (("NETFILTER_DROP", "loss", "receive", "nf_hook_slow", "both_ends"),
         ("NETFILTER_DROP", "loss", "transmit", "nf_hook_slow", "both_ends"),
         ("TCP_OLD_DATA", "duplicate", "receive", "tcp_rcv_established", "socket"),
         ("QDISC_DROP", "loss", "transmit", "__dev_queue_xmit", "socket"),
         ("NETFILTER_DROP", "loss", "transmit", "ip_forward", "elsewhere"),
         ("NO_SOCKET", "refused", "receive", "tcp_v4_rcv", "listener"),
         ("SOME_NEW_REASON", "unclassified", "receive", "tcp_v4_rcv", "socket"),
         ("NO_SOCKET", "loss", "receive", "cookie_v4_check", "listener"))
# agent -> (host, [(service, instance, name, pid, systemd unit)])
AGENTS = {"agent-1": ("n1", [("web", "n1", "nginx", 11, "nginx.service"), ("web", "n1", "php", 12, "php.service"),
                             ("web", "n1", "php2", 13, "php.service"), ("db", "n1", "redis", 14, None)]),
          "agent-2": ("n2", [("db", "n2", "postgres", 21, None), ("web", "n2", "nginx", 22, "nginx.service")])}


def stamp(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03d}Z"


def nearest_rank(hist, percent):
    """Independent of the server: the ceiling of the share, from below."""
    n, seen = sum(hist.values()), 0
    for bound, count in sorted(hist.items()):
        seen += count
        if seen * 100 >= percent * n:
            return bound
    return None


class Side:
    def __init__(self, r, udp):
        self.sent, self.received = r.randint(1, 10**6), r.randint(1, 10**6)
        self.retransmitted = 0 if udp else r.choice((0, 0, r.randint(1, 99)))
        self.rtt = {} if udp else {b: r.randint(1, 50) for b in r.sample(BOUNDS, r.randint(0, 5))}
        self.rtt_sum = sum(b * n for b, n in self.rtt.items())
        self.drops = {} if udp else {d: r.randint(1, 9) for d in r.sample(DROPS, r.choice((0, 0, 1, 2)))}
        self.full = r.choice((0, r.randint(1, 9))) if udp else 0
        self.listen_drops = 0 if udp else self.sent % 5  # by a listener
        # the packets that the receiver's side has, too, are in no sum over ends
        self.own_drops = {d: n for d, n in self.drops.items() if (d[2], d[4]) != ("transmit", "both_ends")}

    def meters(self, udp, **labels):
        if udp:
            made = [single("sonde_net_udp_sent_bytes_total", self.sent, **labels),
                    single("sonde_net_udp_received_bytes_total", self.received, **labels)]
            if self.full:
                made.append(single("sonde_net_udp_buffer_dropped_datagrams_total", self.full, **labels))
            return made
        made = [single("sonde_net_sent_bytes_total", self.sent, **labels),
                single("sonde_net_received_bytes_total", self.received, **labels)]
        if self.retransmitted:
            made.append(single("sonde_net_retransmitted_segments_total", self.retransmitted, **labels))
        if self.rtt:
            made += [histogram("sonde_net_rtt_microseconds", self.rtt, **labels),
                     single("sonde_net_rtt_sum_microseconds_total", self.rtt_sum, **labels),
                     single("sonde_net_rtt_max_microseconds", max(self.rtt), **labels),
                     single("sonde_net_rtt_jitter_microseconds", 7, **labels)]
        if self.listen_drops and labels["side"] == "server":
            made.append(single("sonde_net_listen_drops_total", self.listen_drops, **labels))
        for (reason, kind, direction, site, where), n in self.drops.items():
            more = {**labels, "reason": reason, "kind": kind, "where": where, "site": site}
            made += [single(f"sonde_net_{direction}_dropped_{unit}_total", n * by, **more)
                     for unit, by in (("segments", 1), ("skbs", 1), ("bytes", 60))]
        return made


class CommandLine(unittest.TestCase):
    def sonde(self, *args, status=0):
        environment = {**os.environ, "HOME": "/nonexistent", "SONDE_SERVER": f"http://127.0.0.1:{self.server.http}"}
        done = subprocess.run([SONDE, *args], capture_output=True, text=True, timeout=60, env=environment, check=False)
        self.assertEqual(done.returncode, status, (args, done.stderr))
        return done


class Views(CommandLine):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(PROGRAM, RULES)
        cls.random = random.Random(SEED)
        cls.agents = [cls.with_agent(name, host, processes) for name, (host, processes) in AGENTS.items()]
        cls.task = cls.server.create({"service": "web"}, {"service": "db"}, duration_ms=600000)["id"]
        for agent in cls.agents:
            agent.query()
        assert cls.agents[0].report(cls.task, 1, states=["running"]).status == 0
        cls.first = int(time.time() * 1000) // 60000 * 60000 - 60000
        cls.pid = {t["pid"]: t["process_id"] for t in cls.server.get("/targets")["targets"]}
        cls.process = {cls.pid[p]: (host, service, instance, name, unit) for host, processes in AGENTS.values()
                       for service, instance, name, p, unit in processes}
        cls.edges = cls.random_edges()
        cls.sides = {}  # (batch, edge, side) -> Side
        for batch in range(2):
            for e in cls.edges:
                for side in cls.edges[e]:
                    cls.sides[batch, e, side] = Side(cls.random, e[3])
            cls.send(batch)

    @classmethod
    def tearDownClass(cls):
        for agent in cls.agents:
            agent.close()
        status = cls.server.close()
        assert status == 0, status

    @classmethod
    def with_agent(cls, name, host, processes):
        agent = Agent(cls.server, name)
        rows = []
        for service, instance, process, pid, unit in processes:
            pairs = [message(f1="command_line", f2="/bin/" + process)]
            pairs += [message(f1="systemd_unit", f2=unit)] if unit else []
            rows.append(message(f1=message(f1=entity(service, process, instance), f2=pid, f3=pairs)))
        assert agent.call("/skywalking.v3.EBPFProcessService/reportProcesses", message(f1=rows, f2=name)).status == 0
        assert agent.call("/skywalking.v3.ManagementService/reportInstanceProperties", message(
            f1="agents", f2=name, f3=[message(f1="agent_id", f2=name), message(f1="host", f2=host)])).status == 0
        return agent

    @classmethod
    def random_edges(cls):
        """{(client, server, port, udp): sides that report it}; an end is a process id, or an address."""
        r, found = cls.random, {}
        ends = [*cls.process, "10.0.0.7", "10.0.0.8", "2001:db8::1"]
        while len(found) < 40:
            client, server = r.choice(ends), r.choice(ends)
            known = [side for side, end in (("client", client), ("server", server)) if end in cls.process]
            if known and client != server:
                found[client, server, r.choice((80, 443, 6379)), r.random() < 0.2] = r.sample(known, r.randint(1, len(known)))
        return found

    @classmethod
    def labels(cls, edge, side):
        client, server, port, udp = edge
        of = lambda role, end: (f"{role}_process_id" if end in cls.process else f"{role}_address", end)
        return {"side": side, "server_port": str(port), **dict([of("client", client), of("server", server)]),
                **({"protocol": "udp"} if udp else {})}

    @classmethod
    def send(cls, batch):
        meters = [m for (b, e, side), s in cls.sides.items() if b == batch
                  for m in s.meters(e[3], **cls.labels(e, side))]
        for n, at in enumerate(range(0, len(meters), 50)):
            got = cls.agents[0].collect(f"{cls.task}/{batch * 100 + n + 1}/h", collection(
                *meters[at:at + 50], timestamp_ms=cls.first + batch * 10000 + 1000))
            assert got.status == 0, got.words

    def topology(self, query=""):
        return self.server.get(f"/tasks/{self.task}/topology?{query}")

    def node(self, end, by):
        if end not in self.process:
            return f"address:{end}"
        host, service, instance, _, unit = self.process[end]
        return {"process": end, "service": f"service:{service}", "instance": f"instance:{service}/{instance}",
                "workload": f"workload:{service}/{unit or instance}", "node": f"node:{host}", "ip": end}[by]

    def truth(self, by, batches=(0, 1)):
        """{(client node, server node, port, protocol): {side: sums}}, of what was sent."""
        found = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))
        hists = collections.defaultdict(collections.Counter)
        for (batch, e, side), s in self.sides.items():
            if batch not in batches:
                continue
            key = (self.node(e[0], by), self.node(e[1], by), e[2], "udp" if e[3] else "tcp")
            sums = found[key][side]
            sums["sent_bytes"] += s.sent
            sums["received_bytes"] += s.received
            sums["retransmitted_segments"] += s.retransmitted
            sums["drops"] += sum(s.drops.values())
            sums["full"] += s.full
            hists[key, side].update(s.rtt)
        return found, hists

    def members(self, by):
        """{edge: how many edges between processes}"""
        return collections.Counter((self.node(e[0], by), self.node(e[1], by), e[2], "udp" if e[3] else "tcp")
                                   for e in self.edges)

    def hold(self, got, by, batches=(0, 1)):
        truth, hists = self.truth(by, batches)
        edges = {(e["client"], e["server"], e["port"], e["protocol"]): e for e in got["edges"]}
        self.assertEqual(set(edges), set(truth))
        self.assertEqual({n["id"] for n in got["nodes"]}, {end for e in edges for end in e[:2]})
        for key, e in edges.items():
            self.assertEqual(e["members"], self.members(by)[key], key)
            for side in ("client", "server"):
                shown, sums = e[side + "_side"], truth[key].get(side)
                self.assertEqual(shown is None, sums is None, (key, side))
                if sums is None:
                    continue
                self.assertEqual((shown["sent_bytes"], shown["received_bytes"]),
                                 (sums["sent_bytes"], sums["received_bytes"]), (key, side))
                if e["protocol"] == "udp":
                    self.assertEqual(shown["buffer_dropped_datagrams"], sums["full"])
                    continue
                self.assertEqual(shown["retransmitted_segments"], sums["retransmitted_segments"])
                self.assertEqual(sum(d["segments"] for d in shown["drops"]), sums["drops"])
                hist = hists[key, side]
                self.assertEqual(shown["rtt_us"]["count"], sum(hist.values()))
                self.assertEqual([shown["rtt_us"][f"p{p}"] for p in (50, 90, 99)],
                                 [nearest_rank(hist, p) for p in (50, 90, 99)], (by, key, side))
        return edges

    def test_sums_are_the_same_by_whatever_is_put_together(self):
        whole = self.topology()
        self.assertEqual(whole["by"], "process")
        for by in ("process", "service", "instance", "workload", "node"):
            got = self.topology(f"by={by}")
            self.hold(got, by)
            self.assertEqual(sum(e["members"] for e in got["edges"]), len(self.edges))
            self.assertEqual(got["totals"], whole["totals"], by)
            self.assertEqual(got["ranking"], whole["ranking"], by)
            self.assertEqual(sum(e["value"] for e in got["edges"]), got["ranking"]["sum"])
            self.assertAlmostEqual(sum(e["share"] for e in got["edges"]), 1)
            self.assertEqual(got["more"], {"edges": 0, "nodes": 0, "value": 0, "share": 0.0})
            for n in got["nodes"]:
                ends = {end for e in self.edges for end in e[:2] if self.node(end, by) == n["id"]}
                self.assertEqual(n["members"], len(ends), n)
        units = {n["workload"]: n["workload_by"] for n in self.topology("by=workload")["nodes"] if n["workload"]}
        self.assertEqual({units.get(n) for n in ("nginx.service", "php.service")}, {"systemd_unit"})
        self.assertEqual({units.get(n) for n in ("n1", "n2")}, {"instance"})

    def test_totals_are_of_one_side(self):
        client = server = retransmitted = dropped = 0
        rtt = collections.Counter()
        for e, sides in self.edges.items():
            one = "client" if "client" in sides else "server"
            hist = {side: collections.Counter() for side in ("client", "server")}
            for (_, of, side), s in self.sides.items():
                if of != e:
                    continue
                retransmitted += s.retransmitted
                dropped += s.full + sum(n for d, n in s.own_drops.items() if d[1] == "loss")
                hist[side].update(s.rtt)
                if side == one:
                    client += s.sent if side == "client" else s.received
                    server += s.received if side == "client" else s.sent
            rtt.update(hist["client"] or hist["server"])
        totals = self.topology("by=node")["totals"]
        self.assertEqual((totals["client_sent_bytes"], totals["server_sent_bytes"]), (client, server))
        self.assertEqual((totals["retransmitted_segments"], totals["dropped_segments"]), (retransmitted, dropped))
        self.assertEqual([totals["rtt_us"][f"p{p}"] for p in (50, 90, 99)], [nearest_rank(rtt, p) for p in (50, 90, 99)])
        self.assertEqual(totals["rtt_us"]["count"], sum(rtt.values()))

    def test_the_largest_and_what_is_left_out(self):
        for metric in ("bytes", "retransmitted_segments", "dropped_segments", "rtt_p99"):
            for by in ("process", "workload"):
                whole = self.topology(f"by={by}&metric={metric}")
                values = [e["value"] for e in whole["edges"]]
                known = [v for v in values if v is not None]
                self.assertEqual(values, sorted(known, reverse=True) + [None] * (len(values) - len(known)))
                for top in (1, 3, len(values)):
                    got = self.topology(f"by={by}&metric={metric}&top={top}")
                    self.assertEqual(got["edges"], whole["edges"][:top])
                    self.assertEqual(got["more"]["edges"], len(values) - top)
                    shown = {end for e in got["edges"] for end in (e["client"], e["server"])}
                    self.assertEqual({n["id"] for n in got["nodes"]}, shown)
                    self.assertEqual(got["more"]["nodes"], len(whole["nodes"]) - len(shown))
                    self.assertEqual((got["totals"], got["ranking"]), (whole["totals"], whole["ranking"]))
                    if metric == "rtt_p99":
                        self.assertEqual((got["more"]["value"], got["more"]["share"]), (None, None))
                        continue
                    self.assertEqual(got["more"]["value"] + sum(v for v in values[:top] if v), sum(known))
                if metric == "rtt_p99":
                    continue
                got = self.topology(f"by={by}&metric={metric}&hide_below=5")
                self.assertEqual([e["value"] for e in got["edges"]],
                                 [v for v in values if v is None or v >= sum(known) * 0.05])
        self.refused("topology?metric=rtt_p99&hide_below=1", "hide_below")
        self.refused("topology?top=0", "top")
        self.refused("topology?metric=moon", "metric")

    def refused(self, path, field):
        status, _, body = self.server.request("GET", f"/api/v1/tasks/{self.task}/{path}")
        self.assertEqual((status, body.get("field")), (400, field), path)

    def test_a_window_is_of_whole_buckets_and_says_so(self):
        second, step = self.first + 10000, 10000
        for query, batches, start, end in ((f"since={self.first}&until={second}", (0,), self.first, second),
                                           (f"until={second}", (0,), self.first, second),
                                           (f"since={self.first + 1}", (1,), second, second + step),
                                           (f"since={stamp(self.first)}", (0, 1), self.first, second + step),
                                           (f"since={self.first}&step=1m", (0, 1), self.first, self.first + 60000)):
            got = self.topology(query + "&by=service")
            self.assertEqual((got["window"]["start"], got["window"]["end"]), (stamp(start), stamp(end)), query)
            self.assertEqual(got["window"]["step_ms"], 60000 if "step" in query else 10000)
            self.hold_sides(got, batches)
        for name in ("sonde_net_sent_bytes_total", "sonde_net_rtt_microseconds"):
            for query, batches in ((f"since={self.first}&until={second}", (0,)), (f"since={second}", (1,)), ("", (0, 1))):
                rows = self.server.get(f"/tasks/{self.task}/metrics?metric={name}&{query}")["metrics"]
                if name == "sonde_net_sent_bytes_total":
                    self.assertEqual(sum(r["value"] for r in rows), sum(
                        s.sent for (batch, e, _), s in self.sides.items() if batch in batches and not e[3]))
        got = self.topology(f"since={second + step}")
        self.assertEqual((got["edges"], got["window"]["start"]), ([], None))
        self.assertIsNone(got["totals"]["client_sent_bytes"])
        self.refused("topology?since=x", "since")
        for path in ("topology?", "drops?", "rtt?", "metrics?", "flows?", "series?metric=sonde_net_sent_bytes_total&"):
            self.refused(f"{path}since={second}&until={self.first}", "until")
        self.refused("drops?step=7s", "step")

    def hold_sides(self, got, batches):
        """By service, an edge may have no side of which something came in these batches only."""
        truth, _ = self.truth("service", batches)
        for e in got["edges"]:
            key = (e["client"], e["server"], e["port"], e["protocol"])
            for side in ("client", "server"):
                if e[side + "_side"]:
                    self.assertEqual(e[side + "_side"]["sent_bytes"], truth[key][side]["sent_bytes"])
        self.assertEqual({(e["client"], e["server"], e["port"], e["protocol"]) for e in got["edges"]}, set(truth))

    def hold_listen_drops(self):
        ids = {(e["client"], e["server"], e["port"], e["protocol"]): e["id"] for e in self.topology()["edges"]}
        sums = collections.Counter()  # whole task, the second batch, and by edge
        for (batch, e, side), s in self.sides.items():
            if side == "server" and s.listen_drops:
                edge = ids[self.node(e[0], "process"), self.node(e[1], "process"), e[2], "udp" if e[3] else "tcp"]
                sums.update({"": s.listen_drops, "side=server": s.listen_drops, f"edge={edge}": s.listen_drops,
                             f"since={self.first + 10000}": s.listen_drops * batch})
        self.assertGreater(len(sums), 4)
        for query, n in [*sums.items(), ("side=client", 0)]:
            got = self.server.get(f"/tasks/{self.task}/drops?{query}")
            self.assertEqual(got["total"]["listen_drops"], n, query)
        self.assertFalse(any("listen" in str(r["reasons"]).lower() for r in got["drops"]))

    def dropped(self, key):
        """{key(...): [segments, bytes, first batch, last batch]}"""
        found = {}
        for (batch, e, side), s in self.sides.items():
            rows = [(d, n, 60 * n) for d, n in s.own_drops.items()]
            if s.full:
                rows.append((("UDP_RCVBUF_ERRORS", "loss", "receive", None, "socket"), s.full, 0))
            for d, n, n_bytes in rows:
                row = found.setdefault(key(d, e), [0, 0, batch, batch])
                row[0] += n
                row[1] += n_bytes
                row[3] = batch
        return found

    def test_drops_by_what_one_asks(self):
        ids = {e["id"]: (e["client"], e["server"], e["port"], e["protocol"] == "udp") for e in self.topology()["edges"]}
        end = lambda e: (self.node(e[0], "process"), self.node(e[1], "process"), e[2], e[3])
        total = sum(n for n, *_ in self.dropped(lambda d, e: 0).values())
        lost = sum(n for k, (n, *_) in self.dropped(lambda d, e: d[1]).items() if k == "loss")
        for by, key, name in (("reason", lambda d, e: d[:2], lambda r: (r["reason"], r["meaning"]["class"])),
                              ("class", lambda d, e: d[1], lambda r: r["class"]),
                              ("direction", lambda d, e: d[2], lambda r: r["direction"]),
                              ("location", lambda d, e: d[2:], lambda r: (r["direction"], r["site"], r["where"])),
                              ("edge", lambda d, e: end(e), lambda r: ids[r["edge"]])):
            got = self.server.get(f"/tasks/{self.task}/drops?by={by}")
            truth = self.dropped(key)
            self.assertEqual({name(r): [r["segments"], r["bytes"]] for r in got["drops"]},
                             {k: v[:2] for k, v in truth.items()}, by)
            self.assertEqual((got["total"]["segments"], got["total"]["loss_segments"]), (total, lost))
            self.assertEqual([r["segments"] for r in got["drops"]],
                             sorted((r["segments"] for r in got["drops"]), reverse=True))
            for r in got["drops"]:
                _, _, first, last = truth[name(r)]
                self.assertEqual((r["first_seen"], r["last_seen"]),
                                 (stamp(self.first + first * 10000), stamp(self.first + last * 10000 + 10000)))
                self.assertEqual(sum(n for _, n in r["points"]), r["segments"])
                self.assertEqual(sum(r["reasons"].values()), r["segments"])
            pages, cursor = [], ""
            while cursor is not None:
                page = self.server.get(f"/tasks/{self.task}/drops?by={by}&limit=2&cursor={cursor}")
                pages += page["drops"]
                self.assertLessEqual(len(page["drops"]), 2)
                cursor = page["next"]
            self.assertEqual(pages, got["drops"], by)
        for r in self.server.get(f"/tasks/{self.task}/drops")["drops"]:
            self.assertTrue(r["meaning"]["means"] and r["meaning"]["likely_cause"], r)
            if r["reason"] == "NO_SOCKET":  # the place tells a full accept queue from a port that nobody listens at
                self.assertIn({"loss": "accept queue was full", "refused": "nobody listens"}[r["meaning"]["class"]],
                              r["meaning"]["means"])
        second = self.server.get(f"/tasks/{self.task}/drops?since={self.first + 10000}")
        self.assertEqual(second["total"]["segments"], sum(
            s.full + sum(s.own_drops.values()) for (batch, *_), s in self.sides.items() if batch == 1))
        for side in ("client", "server"):  # one side alone has what it has
            got = self.server.get(f"/tasks/{self.task}/drops?side={side}")
            self.assertEqual(got["total"]["segments"], sum(
                s.full + sum(s.drops.values()) for (*_, of), s in self.sides.items() if of == side))
        self.hold_listen_drops()
        self.refused("drops?by=moon", "by")
        self.refused("drops?limit=0", "limit")
        self.refused("drops?cursor=moon", "cursor")

    def test_rtt_has_every_sample_in_its_bucket(self):
        whole, ends = collections.Counter(), {}
        for (_, e, side), s in self.sides.items():
            whole.update(s.rtt)
            if s.rtt:
                ends.setdefault((e, side), collections.Counter()).update(s.rtt)
        got = self.server.get(f"/tasks/{self.task}/rtt")
        rtt = got["rtt_us"]
        self.assertEqual({b[0]: b[2] for b in rtt["buckets"]}, whole)
        for lower, upper, _ in rtt["buckets"]:
            self.assertTrue(1.04 <= upper / lower <= 1.1, (lower, upper))
        self.assertEqual((rtt["count"], rtt["min"], rtt["max"]), (sum(whole.values()), min(whole), max(whole)))
        self.assertEqual([rtt[f"p{p}"] for p in (50, 90, 99)], [nearest_rank(whole, p) for p in (50, 90, 99)])
        self.assertAlmostEqual(rtt["mean"], sum(b * n for b, n in whole.items()) / sum(whole.values()))
        self.assertEqual((rtt["jitter"], got["absent"]), (None, {"jitter": "not of several put together"}))
        ids = {e["id"]: (e["client"].removeprefix("address:"), e["server"].removeprefix("address:"), e["port"],
                         e["protocol"] == "udp") for e in self.topology()["edges"]}
        self.assertEqual({(ids[r["edge"]], r["side"]): r["rtt_us"]["count"] for r in got["ends"]},
                         {k: sum(h.values()) for k, h in ends.items()})
        one = next(r for r in got["ends"])
        hist = ends[ids[one["edge"]], one["side"]]
        alone = self.server.get(f"/tasks/{self.task}/rtt?edge={one['edge']}&side={one['side']}")
        self.assertEqual({b[0]: b[2] for b in alone["rtt_us"]["buckets"]}, hist)
        self.assertEqual((alone["rtt_us"]["jitter"], alone["rtt_us"]["max"], alone["absent"]), (7, max(hist), {}))
        self.assertEqual({k: v for k, v in alone["rtt_us"].items() if k != "buckets"}, one["rtt_us"])
        nobody = self.server.get(f"/tasks/{self.task}/rtt?edge=nobody")
        self.assertEqual((nobody["rtt_us"]["count"], nobody["rtt_us"]["p99"], nobody["absent"]["count"]), (0, None, "no sample"))
        self.refused("rtt?side=middle", "side")

    def test_the_jitter_of_one_end_is_not_that_of_two(self):
        task = self.server.create({"service": "web"})["id"]
        agent = self.agents[0]
        agent.query()
        meters = []
        for server, samples, jitter in (("10.0.0.7", 9, None), ("10.0.0.8", 5, 7)):  # the most samples come first
            edge = {"side": "client", "server_port": "80", "client_process_id": self.pid[11], "server_address": server}
            meters.append(histogram("sonde_net_rtt_microseconds", {120: samples}, **edge))
            if jitter:
                meters.append(single("sonde_net_rtt_jitter_microseconds", jitter, **edge))
        self.assertEqual(agent.collect(f"{task}/1/h", collection(*meters)).status, 0)
        got = self.server.get(f"/tasks/{task}/rtt")
        self.assertEqual([r["rtt_us"]["jitter"] for r in got["ends"]], [None, 7])
        self.assertEqual((got["rtt_us"]["count"], got["rtt_us"]["jitter"], got["absent"]["jitter"]),
                         (14, None, "not of several put together"))

    def test_no_drop_was_before_its_task(self):
        agent = self.agents[0]
        task = self.server.create({"service": "web"})["id"]
        agent.query()
        self.assertEqual(agent.report(task, 1, states=["running"]).status, 0)
        began = self.server.get(f"/tasks/{task}/drops")["window"]["start"]
        ms = int(datetime.datetime.fromisoformat(began.replace("Z", "+00:00")).timestamp() * 1000)
        side = {"side": "client", "server_port": "80", "client_process_id": self.pid[11], "server_address": "10.0.0.7",
                "reason": "NETFILTER_DROP", "kind": "loss", "where": "socket", "site": "nf_hook_slow"}
        dropped = collection(single("sonde_net_receive_dropped_segments_total", 3, **side), timestamp_ms=ms)
        self.assertEqual(agent.collect(f"{task}/1/h", dropped).status, 0)
        (row,) = self.server.get(f"/tasks/{task}/drops")["drops"]
        self.assertEqual((row["segments"], row["first_seen"], row["last_seen"]), (3, began, stamp(ms // 10000 * 10000 + 10000)))
        (point,) = row["points"]
        self.assertEqual(point, [stamp(ms // 10000 * 10000), 3])

    def test_listen_drops_that_nobody_counts_are_not_0(self):
        task = self.server.create({"service": "web"})["id"]
        absent = message(f1="sonde_net_listen_drops_total", f2="not requested")
        agent = self.agents[0]
        agent.query()
        for sequence, more, n in ((1, {}, 0), (2, {"f13": absent}, None)):
            self.assertEqual(agent.report(task, sequence, states=["running"], **more).status, 0)
            self.assertEqual(self.server.get(f"/tasks/{task}/drops")["total"]["listen_drops"], n)
        self.assertIn("not measured: sonde_net_listen_drops_total: not requested", self.sonde("drops", task).stderr)

    def test_what_was_not_measured_of_the_targets_is_not_0(self):
        task = self.server.create({"service": "web"})["id"]
        agent = self.agents[0]
        agent.query()
        counters = [message(f1=name, f2=n, f3=n) for name, n in (("TcpRetransSegs", 97), ("TcpInSegs", 500))]
        namespace = message(f1=True, f2=11, f3=1, f4=counters)
        absent = message(f1="sonde_net_retransmitted_segments_total", f2="not requested")
        self.assertEqual(agent.report(task, 1, states=["running"], f13=absent, f21=namespace).status, 0)
        for edges in (False, True):  # without one only the agent's words tell that it is no 0
            if edges:
                edge = {"side": "client", "server_port": "80", "client_process_id": self.pid[11], "server_address": "10.0.0.7"}
                meters = collection(single("sonde_net_received_segments_total", 300, **edge))
                self.assertEqual(agent.collect(f"{task}/1/h", meters).status, 0)
            rows = {e["counter"]: e for e in self.server.get(f"/tasks/{task}/host")["explained"]}
            self.assertEqual(rows["TcpRetransSegs"], {"counter": "TcpRetransSegs", "namespaces": 97, "targets": None,
                                                      "absent": "not requested"})
            self.assertEqual(rows["TcpInSegs"], {"counter": "TcpInSegs", "namespaces": 500, "targets": 300 * edges,
                                                 "absent": None})
        done = self.sonde("host", task)
        self.assertRegex(done.stdout, r"(?m)^TcpRetransSegs +97 +-$")
        self.assertIn("not measured of the targets: TcpRetransSegs: not requested\n", done.stderr)

    def test_what_one_of_two_agents_measured_is_a_lower_bound(self):
        task = self.server.create({"service": "web"})["id"]
        edge = {"side": "client", "server_port": "80", "client_process_id": self.pid[11], "server_address": "10.0.0.7"}
        absent = message(f1="sonde_net_retransmitted_segments_total", f2="BPF is refused")
        namespace = message(f1=True, f2=11, f3=1, f4=message(f1="TcpRetransSegs", f2=97, f3=97))
        for agent, more in zip(self.agents, ({"f21": namespace}, {"f13": absent})):
            agent.query()
            self.assertEqual(agent.report(task, 1, states=["running"], **more).status, 0)
        meters = collection(single("sonde_net_retransmitted_segments_total", 40, **edge))
        self.assertEqual(self.agents[0].collect(f"{task}/1/h", meters).status, 0)
        rows = {e["counter"]: e for e in self.server.get(f"/tasks/{task}/host")["explained"]}
        self.assertEqual(rows["TcpRetransSegs"], {"counter": "TcpRetransSegs", "namespaces": 97, "targets": 40,
                                                  "absent": "BPF is refused"})
        done = self.sonde("host", task)
        self.assertRegex(done.stdout, r"(?m)^TcpRetransSegs +97 +40$")
        self.assertIn("not measured of all targets: TcpRetransSegs: BPF is refused\n", done.stderr)

    def test_the_command_line_has_the_same_numbers(self):
        for by in ("reason", "class", "direction", "edge", "location"):
            rows = self.server.get(f"/tasks/{self.task}/drops?by={by}")["drops"]
            table = list(csv.DictReader(io.StringIO(self.sonde("drops", self.task, "--by", by, "-o", "csv").stdout)))
            self.assertEqual([(int(t["segments"]), int(t["lost"]), int(t["bytes"])) for t in table],
                             [(r["segments"], r["loss_segments"], r["bytes"]) for r in rows], by)
        table = self.sonde("drops", self.task).stdout
        self.assertIn("a netfilter rule dropped it", table)
        self.sonde("drops", self.task, "--by", "moon", status=2)
        for command, flag, words in (("topology", "by", "process, instance"), ("flows", "state", "open, ended"),
                                     ("flows", "sort", "bytes, retransmits"), ("rtt", "side", "client or server")):
            done = self.sonde(command, self.task, f"--{flag}", "moon", status=2)
            self.assertRegex(done.stderr, f"^sonde: {flag}: {words}")
        rtt = self.server.get(f"/tasks/{self.task}/rtt")
        table = list(csv.DictReader(io.StringIO(self.sonde("rtt", self.task, "-o", "csv").stdout)))
        self.assertEqual([(t["edge"], t["side"], int(t["n"]), int(t["p99_us"])) for t in table],
                         [(r["edge"], r["side"], r["rtt_us"]["count"], r["rtt_us"]["p99"]) for r in rtt["ends"]])
        done = self.sonde("rtt", self.task, "--hist")
        lines = done.stdout.splitlines()
        self.assertLessEqual(max(map(len, lines)), 80)
        self.assertLessEqual(len(lines), 41)
        table = list(csv.DictReader(io.StringIO(self.sonde("rtt", self.task, "--hist", "-o", "csv").stdout)))
        truth = collections.Counter()
        for lower, _, n in rtt["rtt_us"]["buckets"]:
            truth[next(i for i, t in enumerate(table) if not t["below_us"] or lower < int(t["below_us"]))] += n
        self.assertEqual([int(t["count"]) for t in table], [truth[i] for i in range(len(table))])
        self.assertAlmostEqual(sum(float(t["share_percent"]) for t in table), 100)
        self.assertFalse([t for t in table if "#" in t["rtt"]], table)
        for a, b in zip(table, table[1:]):
            self.assertEqual(a["below_us"], b["from_us"])
        self.assertIn(f"n {rtt['rtt_us']['count']:,}", done.stderr)
        for form in ("table", "json"):
            done = self.sonde("rtt", self.task, "nobody", "-o", form, status=3)
            self.assertEqual((done.stdout, done.stderr), ("", f"sonde: no edge 'nobody' in the topology of task {self.task}; "
                                                              "-o wide has their ids\n"))
        part = self.sonde("topology", self.task, "--by", "workload", "--metric", "bytes", "--top", "2")
        more = self.topology("by=workload&metric=bytes&top=2")["more"]
        self.assertIn(f"+ {more['edges']} more edges ({100 * more['share']:.1f} % of bytes)\n", part.stdout)
        self.assertIn("web/php.service", self.sonde("topology", self.task, "--by", "workload", "-o", "wide").stdout)
        for form, words in (("dot", r'more \[shape=plaintext, label="\+ 39 more'), ("mermaid", r'more\["\+ 39 more')):
            out = self.sonde("topology", self.task, "--top", "1", "-o", form).stdout
            self.assertEqual(len(re.findall(r"->|-->", out)), 1, out)
            self.assertRegex(out, words)
        shown = lambda ms: stamp(ms).replace("T", " ").replace("Z", " UTC")
        for words, none in (("topology", "no edge: no report has anything in that window"),
                            ("drops", "nothing was dropped"), ("rtt", "no RTT: ")):
            part = self.sonde(words, self.task, "--since", str(self.first - 1), "--until", str(self.first + 1), "--utc").stderr
            self.assertIn(f"window: {shown(self.first)} to {shown(self.first + 10000)}, in whole steps of 10 s", part)
            empty = self.sonde(words, self.task, "--since", str(self.first + 20000)).stderr
            self.assertIn(none, empty)
            self.assertIn("window: no report has anything in it", empty)
            self.assertNotIn("window: ", self.sonde(words, self.task).stderr)
            self.assertIn("until: is before since", self.sonde(words, self.task, "--since", str(self.first), "--until",
                                                               str(self.first - 1), status=2).stderr)
        late = self.sonde("drops", self.task, "--since", stamp(self.first + 10000).replace("Z", "+00:00"), "-o", "json")
        self.assertIn(stamp(self.first + 10000), late.stdout)
        self.assertNotIn(stamp(self.first), late.stdout)


def flow(ident, role, local, remote, peer=None):
    address = lambda text: bytes(int(part) for part in text.split("."))
    return b"\x09" + ident.to_bytes(8, "little") + message(
        f2=1, f4=9, f5=address(local), f6=address(remote), f7=80 if role == 2 else 40000 + ident,
        f8=40000 if role == 2 else 80, f9=6, f10=role, f11=1, f14=int(time.time() * 1000) - 500, f16=1000, f17=100,
        **({"f3": peer} if peer else {}))


class Addresses(ServerCase):
    def test_a_target_names_its_last_task_and_what_hinders_it(self):
        agent = self.agent()
        agent.report_processes(("web", "nginx", 42), ("db", "redis", 43))

        def targets():
            return {t["process"]: t for t in self.server.get("/targets")["targets"]}
        before = targets()
        self.assertEqual({(t["profilable"], t["why_not"], t["last_task"]) for t in before.values()}, {(True, None, None)})
        for n in (1, 2):
            task = self.server.create({"service": "web"}, name=f"n{n}")["id"]
            agent.query()
            found = message(f1=42, f2=before["nginx"]["process_id"], f3="nginx", f4="found")
            self.assertEqual(agent.report(task, 1, states=["running"], f9=found).status, 0)
            last = targets()["nginx"]["last_task"]
            self.assertEqual((last["id"], last["name"], last["state"], last["ended"]), (task, f"n{n}", "running", None))
        self.assertIsNone(targets()["redis"]["last_task"])
        self.assertEqual(agent.call("/skywalking.v3.ManagementService/reportInstanceProperties", message(
            f1="agents", f2="agent-1", f3=[message(f1="agent_id", f2="agent-1"), message(f1="problem", f2="no BPF")])).status, 0)
        self.assertEqual((targets()["redis"]["profilable"], targets()["redis"]["why_not"]), (False, "no BPF"))
        watch = agent.start("/sonde.v1.TaskControlService/watch", [message(f1="agent-1")])
        while not watch.messages:
            agent.step()
        agent.close()
        wait_for("the end of its connection", lambda: not targets()["redis"]["agent_connected"])
        self.assertEqual(targets()["redis"]["why_not"], "its agent is not connected")

    def test_by_ip_an_end_is_what_its_flows_say(self):
        agent = self.agent()
        agent.report_processes(("web", "nginx", 42), ("db", "redis", 43))
        pid = {t["process"]: t["process_id"] for t in self.server.get("/targets")["targets"]}
        task = self.server.create({"service": "web"})["id"]
        agent.query()
        process = [message(f1=42, f2=pid["nginx"], f3="nginx"), message(f1=43, f2=pid["redis"], f3="redis")]
        flows = message(f1=process, f2=[flow(1, 1, "10.0.0.1", "10.0.0.2", peer=2), flow(2, 1, "10.0.0.1", "10.0.0.9"),
                                        flow(3, 1, "10.0.0.3", "10.0.0.8"), flow(4, 1, "10.0.0.4", "10.0.0.8")])
        self.assertEqual(agent.report(task, 1, states=["running"], f20=flows).status, 0)
        own = {"side": "client", "client_process_id": pid["nginx"], "server_port": "80"}
        self.assertEqual(agent.collect(f"{task}/1/h", collection(
            single("sonde_net_sent_bytes_total", 5, server_process_id=pid["redis"], **own),
            single("sonde_net_sent_bytes_total", 6, server_address="10.0.0.9", **own),
            single("sonde_net_sent_bytes_total", 7, server_address="10.0.0.8", **own),
            single("sonde_net_sent_bytes_total", 8, server_address="10.0.0.7", **own))).status, 0)
        now = int(time.time() * 1000)  # the flows began 0.5 s before they were told, and are open
        for query, n in (("", 4), (f"since={now + 60000}", 4), (f"until={now - 60000}", 0), (f"until={now + 1}", 4)):
            self.assertEqual(len(self.server.get(f"/tasks/{task}/flows?{query}")["flows"]), n, query)
        got = self.server.get(f"/tasks/{task}/topology?by=ip")
        # Two addresses to 10.0.0.8, and no flow to 10.0.0.7: there the process stays what it is.
        self.assertEqual({(e["client"], e["server"]): e["client_side"]["sent_bytes"] for e in got["edges"]},
                         {("address:10.0.0.1", "address:10.0.0.2"): 5, ("address:10.0.0.1", "address:10.0.0.9"): 6,
                          (pid["nginx"], "address:10.0.0.8"): 7, (pid["nginx"], "address:10.0.0.7"): 8})
        kinds = {n["id"]: (n["kind"], n["target"]) for n in got["nodes"]}
        self.assertEqual((kinds["address:10.0.0.1"], kinds["address:10.0.0.9"], kinds[pid["nginx"]]),
                         (("address", True), ("address", False), ("process", True)))
        self.assertEqual(got["totals"], self.server.get(f"/tasks/{task}/topology")["totals"])


class Losses(CommandLine, ServerCase):
    def report(self, task, sequence, start, ledger, **more):
        entries = [message(f1=site, f2=n, f3=weakens, f4="words") for site, n, weakens in ledger]
        self.assertEqual(self.agents[0].call("/sonde.v1.TaskReportService/report", message(
            f1="agent-1", f2=task, f3=sequence, f6=start, f7=start + 2000, f8=[message(f1="running", f2=start, f3="w")],
            f11=entries, **more)).status, 0)

    def test_each_agents_losses_and_when(self):
        agent = self.agent()
        agent.report_processes(("web", "nginx", 42))
        task = self.server.create({"service": "web"})["id"]
        agent.query()
        start = int(time.time() * 1000) - 20000
        runs = message(f1=[message(f1="a", f2=40), message(f1="b", f2=2)])
        self.report(task, 1, start, [("drop_full", 5, True), ("cell_full", 7, False)], f12=runs)
        self.report(task, 2, start + 2000, [("drop_full", 5, True), ("cell_full", 7, False)])
        self.report(task, 4, start + 6000, [("drop_full", 9, True), ("cell_full", 7, False), ("busy", 1, True)])
        self.report(task, 4, start + 6000, [("drop_full", 9, True), ("cell_full", 7, False), ("busy", 1, True)])
        ledger = self.server.get(f"/tasks/{task}/ledger")
        times = {e["site"]: (e["count"], e["first_seen"], e["last_seen"]) for e in ledger["entries"]}
        self.assertEqual(times, {"drop_full": (9, stamp(start), stamp(start + 8000)),
                                 "cell_full": (7, stamp(start), stamp(start + 2000)),
                                 "busy": (1, stamp(start + 6000), stamp(start + 8000)),
                                 "report_missing": (1, None, None)})
        row, = ledger["agents"]
        self.assertEqual(row | {"late_ms": 0}, {
            "agent_id": "agent-1", "hook_runs": 42, "lost": 10, "noted": 7, "sampled_one_in": 1, "connections_summed": None,
            "reports_received": 3, "reports_missing": 1, "reports_duplicate": 1, "reports_refused": 0, "late_ms": 0,
            "first_lost": stamp(start), "last_lost": stamp(start + 8000)})
        for allowed, status in ((10, 7), (11, 0)):
            self.sonde("loss", task, "--max-loss", str(allowed), status=status)
        table = self.sonde("loss", task, "-o", "wide", "--utc").stdout
        self.assertRegex(table, r"agent-1 +42 +10 +7 +1/1 +- +3 +1 +1 +0 ")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
