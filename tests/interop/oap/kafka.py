# SPDX-License-Identifier: Apache-2.0
"""A Kafka broker in KRaft mode for tests, one node, out of Maven Central's jars, and what is in its log, read by hand.

It listens in plain text (.plain: OAP's fetcher) and by mutual TLS with SASL (.secure: the agent), as USER with PASSWORD.
"""

import pathlib
import re
import signal
import socket
import struct
import subprocess

import oap
from rig import tls_rig as tls
from rig import stack

USER, PASSWORD = "sonde", "hush-hush"
METERS, MANAGEMENTS = "skywalking-meters", "skywalking-managements"
CLUSTER = "AAAAAAAAAAAAAAAAAAAAAQ"  # any UUID in Kafka's writing
PARTITIONS = 3
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
PLAIN_JAAS = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'

SCRAM_JAAS = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


def missing():
    """Why there is no broker to be had, or None."""
    try:
        jars("broker"), jars("fetcher")
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return " ".join(str(error).split())[:600]
    done = subprocess.run([oap.TOP / "build/sonde-agent", "--check-config", "--config", "/dev/null", "--export=kafka",
                           "--kafka-brokers=127.0.0.1:1"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    return done.stdout.strip() if "built without Kafka" in done.stdout else None


def jars(which):
    return oap.jars(oap.HERE / f"kafka-{which}/pom.xml")


def make_certificates():
    tls.make_ca("ca")
    for name in ("good", "client"):
        tls.make_certificate(name)


class Broker:
    """Its log outlives a kill. tls_rig's certificates `ca`, `good` and `client` must be there."""

    def __init__(self, folder):
        self.dir, self.process = pathlib.Path(folder) / "kafka", None
        self.plain, self.secure, controller = stack.free_ports(3)
        (self.dir / "log").mkdir(parents=True)
        pem = self.dir / "broker.pem"
        pem.write_text("".join(pathlib.Path(part).read_text(encoding="ascii") for part in (tls.key("good"), tls.pem("good"))),
                       encoding="ascii")
        listeners = {"PLAINTEXT": self.plain, "SASL_SSL": self.secure, "CONTROLLER": controller}
        (self.dir / "properties").write_text("\n".join((
            "process.roles=broker,controller", "node.id=1", f"controller.quorum.voters=1@127.0.0.1:{controller}",
            "listeners=" + ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items()),
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.plain},SASL_SSL://localhost:{self.secure}",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
            "controller.listener.names=CONTROLLER", "inter.broker.listener.name=PLAINTEXT",
            "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512", f"listener.name.sasl_ssl.plain.sasl.jaas.config={PLAIN_JAAS}",
            f"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={SCRAM_JAAS}",
            "ssl.keystore.type=PEM", f"ssl.keystore.location={pem}", "ssl.truststore.type=PEM",
            f"ssl.truststore.location={tls.pem('ca')}", "listener.name.sasl_ssl.ssl.client.auth=required",
            f"log.dirs={self.dir / 'log'}",
            "auto.create.topics.enable=false",  # OAP's fetcher makes them
            "offsets.topic.num.partitions=1", "offsets.topic.replication.factor=1",
            "transaction.state.log.num.partitions=1", "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1", "group.initial.rebalance.delay.ms=0", "")), encoding="utf-8")
        # What OAP needs for its fetcher.
        self.oap_settings = {"SW_KAFKA_FETCHER": "default", "SW_KAFKA_FETCHER_SERVERS": f"127.0.0.1:{self.plain}",
                             "SW_KAFKA_FETCHER_PARTITIONS": PARTITIONS, "SW_KAFKA_FETCHER_PARTITIONS_FACTOR": 1,
                             "SW_LOG_ANALYZER": "default"}

    def _java(self, *arguments):
        return [*oap.JAVA, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars('broker')}/*", *map(str, arguments)]

    def __enter__(self):
        done = subprocess.run(self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", self.dir / "properties",
                                         "--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=oap.START_S, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:])
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Until it takes records."""
        with open(self.dir / "broker.log", "ab") as log:
            self.process = subprocess.Popen(self._java("kafka.Kafka", self.dir / "properties"), cwd=self.dir,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def listens():
            if self.process.poll() is not None:
                raise RuntimeError(f"the broker ended: {self.log()[-2000:]}")
            for port in (self.plain, self.secure):
                try:
                    socket.create_connection(("127.0.0.1", port), 5).close()
                except OSError:
                    return False
            return True
        stack.wait_for("the broker listens", oap.START_S, listens, 0.2)

    def stop(self, how=signal.SIGKILL):
        if self.process:
            self.process.send_signal(how)
            self.process.wait()
        self.process = None

    def log(self):
        return (self.dir / "broker.log").read_text(encoding="utf-8", errors="replace")

    def agent_config(self, password=PASSWORD, mechanism="plain", certificate=True, more=""):
        """Of agent.yaml. more: further keys of kafka."""
        secret = self.dir / f"password-{password}"
        secret.write_text(password + "\n", encoding="ascii")
        secret.chmod(0o600)
        own = f", cert_file: {tls.pem('client')}, key_file: {tls.key('client')}" if certificate else ""
        return (f"export: kafka\nkafka:\n  brokers: ['localhost:{self.secure}']\n"
                f"  tls: {{ enabled: true, ca_file: {tls.pem('ca')}{own} }}\n"
                f"  sasl: {{ mechanism: {mechanism}, username: {USER}, password_file: {secret} }}\n{more}")

    def records(self, topic):
        """[Record] of all partitions, each in its order, as they lie on disk."""
        found = []
        for folder in sorted((self.dir / "log").glob(f"{topic}-[0-9]*")):
            if re.fullmatch(re.escape(topic) + r"-\d+", folder.name):
                for segment in sorted(folder.glob("*.log")):
                    found += _batches(segment.read_bytes())
        return found

    def committed(self, topic):
        """Up to where OAP's fetcher says it is done: offsets of all partitions together."""
        found = {}
        for record in self.records("__consumer_offsets"):
            version, size = struct.unpack_from(">hh", record.key)
            if version > 1 or not record.value:
                continue  # about the group itself, or forgotten
            at = 4 + size
            size, = struct.unpack_from(">h", record.key, at)
            if record.key[at + 2:at + 2 + size].decode() == topic:
                found[record.key[at + 2 + size:]], = struct.unpack_from(">q", record.value, 2)
        return sum(found.values())

    def reports(self):
        """{report id: [collection]} in the order of their first records."""
        found = {}
        for record in self.records(METERS):
            found.setdefault(record.headers["sonde-report-id"].decode(), []).append(record.value)
        return found


class Record:
    def __init__(self, codec, producer, sequence, key, value, headers):
        self.codec, self.producer, self.sequence = codec, producer, sequence
        self.key, self.value, self.headers = key, value, headers


def _varint(data, at):
    shift = value = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if not byte & 0x80:
            return (value >> 1) ^ -(value & 1), at


def _bytes(data, at):
    size, at = _varint(data, at)
    return (None, at) if size < 0 else (bytes(data[at:at + size]), at + size)


def _batches(data):
    """Of a segment: record batches of format 2 (KIP-98)."""
    at, found = 0, []
    while at + 61 <= len(data):
        size, = struct.unpack_from(">i", data, at + 8)
        if size <= 0 or at + 12 + size > len(data):
            break
        attributes, = struct.unpack_from(">h", data, at + 21)
        producer, _, sequence, count = struct.unpack_from(">qhii", data, at + 43)
        codec, body = CODECS[attributes & 7], data[at + 61:at + 12 + size]
        if codec == "zstd":
            body = subprocess.run(["zstd", "-dcq"], input=body, stdout=subprocess.PIPE, check=True, timeout=60).stdout
        elif codec != "none":
            raise ValueError(f"a batch in {codec}")
        if not attributes & 0x20:  # no control batch
            found += _records(body, count, codec, producer, sequence)
        at += 12 + size
    return found


def _records(body, count, codec, producer, sequence):
    at, found = 0, []
    for i in range(count):
        size, at = _varint(body, at)
        end, at = at + size, at + 1  # attributes
        _, at = _varint(body, at)  # time
        _, at = _varint(body, at)  # offset
        key, at = _bytes(body, at)
        value, at = _bytes(body, at)
        n, at = _varint(body, at)
        headers = {}
        for _ in range(n):
            name, at = _bytes(body, at)
            headers[name.decode()], at = _bytes(body, at)
        found.append(Record(codec, producer, sequence + i, key, value, headers))
        if at != end:
            raise ValueError("a record that is no record")
    return found
