# SPDX-License-Identifier: Apache-2.0
"""Our dashboards in an OAP: `sonde skywalking`, and what each widget of them asks, with an entity of the rig."""

import json
import re
import subprocess
import time

import rig as stage
from rig import e2e

FOLDER = stage.TOP / "deploy/skywalking"
METRIC = re.compile(r"\b((?:sonde_net|process_relation)_\w+)(?:{([^}]*)})?")
SUMMED = re.compile(r"aggregate_labels\((\w+){role='(\w+)'},sum(?:\([\w,]+\))?\)(?:/(\d+))?")
NAMES = ["Sonde-Connection", "Sonde-Instance", "Sonde-Service", "Sonde-Services"]


def sonde(oap, command, *flags, port=None):
    """(exit status, what it printed as JSON or None, stderr) of `sonde skywalking COMMAND`."""
    done = subprocess.run([stage.TOP / "build/sonde", "skywalking", command, "--oap", f"http://127.0.0.1:{port or oap.rest}",
                           "-o", "json", *flags], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def states(answer):
    return {(t["layer"], t["name"]): t["state"] for t in answer["templates"]}


def actions(answer):
    return {t["name"]: t["action"] for t in answer["templates"]}


# --- install and status

def check_refused(oap, grpc):
    """By an OAP as it comes: it takes no change of a dashboard. grpc: a port where it speaks gRPC in plain text."""
    code, answer, _ = sonde(oap, "install", "--dry-run")
    e2e.equal("install --dry-run", (code, answer["oap"]["template_updates"]), (4, "off"))
    code, answer, words = sonde(oap, "install")
    e2e.equal("install", code, 4)
    assert "SW_ENABLE_UPDATE_UI_TEMPLATE=true" in words, words
    e2e.equal("what it did", set(actions(answer).values()), {"not done"})
    code, answer, _ = sonde(oap, "status")
    e2e.equal("status", (code, set(states(answer).values())), (1, {"absent"}))
    code, answer, words = sonde(oap, "status", port=grpc)
    e2e.equal("the agents' port", (code, answer), (5, None))
    assert "12800" in words and "gRPC" in words, words


def templates(oap):
    """{(layer, name): row} with the configuration parsed."""
    rows = oap.graphql("{ t: getAllTemplates { id configuration } }")["t"]
    parsed = [{"id": row["id"], "configuration": json.loads(row["configuration"])} for row in rows]
    return {(row["configuration"]["layer"], row["configuration"]["name"]): row for row in parsed}


def change(oap, row):
    got = oap.graphql("mutation($s: DashboardSetting!) { r: changeTemplate(setting: $s) { status message } }",
                      s={"id": row["id"], "configuration": json.dumps(row["configuration"])})
    assert got["r"]["status"], got


def check_install(oap):
    """As an operator has it: twice, for two layers, with a dashboard that somebody edited. It ends with all of them current."""
    e2e.equal("dry run", sonde(oap, "install", "--dry-run")[0], 0)
    e2e.equal("nothing there", templates(oap), {})
    code, answer, words = sonde(oap, "install")
    e2e.equal(f"install: {words}", (code, actions(answer)), (0, dict.fromkeys(NAMES, "added")))
    e2e.equal("there", sorted(templates(oap)), [("GENERAL", name) for name in NAMES])
    code, answer, words = sonde(oap, "status")
    e2e.equal(f"status: {words}", (code, set(states(answer).values())), (0, {"current"}))
    e2e.equal("rule files", {r["file"]: r["state"] for r in answer["rules"]}, {
        "network-profiling.yaml": "in force", "sonde-network.yaml": "in force", "sonde-network-latest.yaml": "needs a newer OAP"})
    e2e.equal("again", set(actions(sonde(oap, "install")[1]).values()), {"none"})

    code, answer, _ = sonde(oap, "install", "--layer", "GENERAL,K8S_SERVICE")
    e2e.equal("a second layer", (code, len(templates(oap))), (0, 8))

    row = templates(oap)["GENERAL", "Sonde-Service"]
    row["configuration"]["isRoot"] = True
    change(oap, row)
    code, answer, words = sonde(oap, "status")
    e2e.equal("edited", (code, states(answer)["GENERAL", "Sonde-Service"]), (1, "edited"))
    code, answer, words = sonde(oap, "install")
    e2e.equal("an edited one is left", (code, actions(answer)["Sonde-Service"]), (1, "left"))
    assert "was edited" in words, words
    assert templates(oap)["GENERAL", "Sonde-Service"]["configuration"]["isRoot"], "it was not left"
    code, answer, _ = sonde(oap, "install", "--force")
    e2e.equal("forced", (code, actions(answer)["Sonde-Service"]), (0, "replaced"))
    e2e.equal("all of them", sonde(oap, "status", "--layer", "GENERAL,K8S_SERVICE")[0], 0)


# --- widgets

def expressions():
    """Of all widgets of Booster UI and all rows of Horizon UI, each once."""
    found = []

    def walk(node):
        if isinstance(node, dict):
            found.extend(node.get("expressions", []))
            found.extend([node["expression"]] if "expression" in node else [])
            found.extend([node["mqe"]] if "mqe" in node else [])
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)
    for path in sorted(FOLDER.glob("*/*.json")):
        walk(json.loads(path.read_text(encoding="utf-8")))
    return list(dict.fromkeys(found))


def ask(query, pair, asked):
    """{expression: its answer}"""
    entity = {"serviceName": stage.SERVICE, "normal": True, "serviceInstanceName": stage.INSTANCE, "processName": pair[0],
              "destServiceName": stage.SERVICE, "destNormal": True, "destServiceInstanceName": stage.INSTANCE,
              "destProcessName": pair[1]}
    found = {}
    for at in range(0, len(asked), 12):  # Booster UI asks for less
        part = asked[at:at + 12]
        text = "query($n: Entity!, $d: Duration!) {" + " ".join(
            f"m{i}: execExpression(expression: {json.dumps(e)}, entity: $n, duration: $d) "
            "{ type error results { metric { labels { key value } } values { id value } } }" for i, e in enumerate(part)) + "}"
        got = query.oap.graphql(text, n=entity, d=query.duration())
        found.update({e: got[f"m{i}"] for i, e in enumerate(part)})
    return found


def points(answer):
    """{minute: value}, of all labels together."""
    found = {}
    for result in answer["results"]:
        for v in result["values"]:
            if v["value"] is not None and v["id"] is not None:
                found[int(v["id"])] = found.get(int(v["id"]), 0) + float(v["value"])
    return found


def cut(series, first):
    """{labels: {minute: value}} from the minute first on, without labels that then have nothing."""
    late = {labels: {minute: value for minute, value in values.items() if minute >= first} for labels, values in series.items()}
    return {labels: values for labels, values in late.items() if values}


def has_values(expression, given):
    """Whether the metrics of it have a value in given, of the role that is asked for."""
    def one(metric, selector):
        role = re.search(r"role='(\w+)'", selector or "")
        return any(not role or ("role", role[1]) in labels for labels in given.get(metric, {}))
    return all(one(*m) for m in METRIC.findall(expression))


def summed(match, given):
    """The truth of aggregate_labels(METRIC{role='ROLE'},sum)/SCALE, out of the metric's own series."""
    metric, role, scale = match.groups()
    found = {}
    for labels, series in given.get(metric, {}).items():
        if ("role", role) in labels:
            for minute, value in series.items():
                found[minute] = found.get(minute, 0) + value / int(scale or 1)
    return found


def check_widgets(query, pair, given):
    """Each gives no error, has values where its metrics have, and sums are those of the series. Returns how many had values."""
    faults, shown = [], 0
    answers = ask(query, pair, expressions())
    # What was read some minutes ago may begin earlier than the window that was asked for now.
    first = (int(time.time() - stage.WINDOW_S) // 60 + 1) * 60000
    given = {metric: cut(series, first) for metric, series in given.items()}
    if given.get("sonde_net_sent_bytes_total"):  # the condition of a tab: any of its metrics has a value
        present = ask(query, pair, ["is_present(sonde_net_udp_sent_datagrams_total,sonde_net_sent_bytes_total)"])
        e2e.equal("is_present", [r["values"][0]["value"] for a in present.values() for r in a["results"]], ["1"])
    for expression, answer in answers.items():
        if answer["error"]:
            newer = "sonde-network-latest.yaml"
            latest = re.findall(r"- name: (\w+)", (stage.TOP / "mal" / newer).read_text(encoding="utf-8"))
            if not any(f"sonde_net_{name}" in expression for name in latest):
                faults.append(f"{expression}: {answer['error']}")
            continue
        if expression.startswith("is_present") or not has_values(expression, given):
            continue
        got = {minute: value for minute, value in points(answer).items() if minute >= first}
        shown += 1
        match = SUMMED.fullmatch(expression)
        if not got:
            faults.append(f"{expression}: no value, but its metric has some: {answer}")
        elif match:
            want = summed(match, given)
            # OAP cuts what it divides to six digits or less
            if want.keys() != got.keys() or any(abs(got[m] - v) > max(0.01, v / 1000) for m, v in want.items()):
                faults.append(f"{expression}: {got}, but the series are {want}")
    assert not faults, f"{' -> '.join(pair)}:\n" + "\n".join(faults)
    return shown
