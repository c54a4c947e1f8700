#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An unmodified SkyWalking OAP 10.1.0 for tests: its jars, our configuration, ports and a folder of its own.

  oap.py [--storage h2|postgresql]     runs one until Ctrl-C; tells where it listens

The jars come by Debian's Maven, with its own default repository, into $SONDE_OAP_CACHE (/var/cache/sonde-oap; users:
~/.cache/sonde-oap): 41 s and 190 MB once. Later starts take about 12 s, and ask no network.
"""

import argparse
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent.parent
sys.path.insert(0, str(TOP / "tests/tools"))
import stack  # noqa: E402

VERSION = "10.1.0"
RULES = ("network-profiling", "sonde-network")  # of mal/, unchanged; the others need a newer OAP
OURS = tuple(TOP / f"mal/{name}.yaml" for name in RULES)
JAVA_ROOTS = pathlib.Path("/etc/ssl/certs/java/cacerts")
ADDED_ROOTS_MAX = 64
START_S = 300  # a bound for a machine that is busy, not a measure
# The quick compiler alone and the serial collector halve start and memory.
JAVA = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Duser.timezone=UTC"]


def cache():
    base = "/var/cache/sonde-oap" if os.geteuid() == 0 else os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "sonde-oap")
    return pathlib.Path(os.environ.get("SONDE_OAP_CACHE") or base)


def missing():
    """Why there is no OAP to be had, or None."""
    absent = [tool for tool in ("java", "mvn") if not shutil.which(tool)]
    if absent:
        return f"{' and '.join(absent)} not installed (deploy/setup)"
    try:
        jars()
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return " ".join(str(error).split())[:600]
    return None


def certificates(text):
    """Of a file of PEM blocks: the base64 of each, without its line breaks."""
    return ["".join(body.split()) for body in re.findall("-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", text, re.S)]


def keytool(*args):
    return subprocess.run(["keytool", *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=True).stdout


def trust(home):
    """Java's options for the roots of this machine: what was added to the system's bundle alone, Java's own file lacks."""
    bundle, java = pathlib.Path(os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"), home / "cacerts"
    if not bundle.is_file() or not JAVA_ROOTS.is_file():
        return ""
    known = set(certificates(keytool("-list", "-rfc", "-keystore", JAVA_ROOTS, "-storepass", "changeit")))
    added = [one for one in certificates(bundle.read_text(encoding="ascii", errors="replace")) if one not in known]
    shutil.copy(JAVA_ROOTS, java)
    for number, one in enumerate(added[:ADDED_ROOTS_MAX]):
        root = home / "root.pem"
        root.write_text(f"-----BEGIN CERTIFICATE-----\n{one}\n-----END CERTIFICATE-----\n", encoding="ascii")
        keytool("-importcert", "-noprompt", "-alias", f"sonde-{number}", "-keystore", java, "-storepass", "changeit", "-file", root)
        root.unlink()
    return f"-Djavax.net.ssl.trustStore={java} -Djavax.net.ssl.trustStorePassword=changeit"


def jars(pom=HERE / "pom.xml"):
    """The folder of a pom's jars, fetched if this very pom never was."""
    home = cache()
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"{pom.parent.name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    with open(home / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        part = home / f"{folder.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        got = subprocess.run(
            ["mvn", "-B", "-q", "-ntp", f"-Dmaven.repo.local={home / 'maven'}", "-f", pom, "dependency:copy-dependencies",
             "-DincludeScope=runtime", f"-DoutputDirectory={part}"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280, check=False,
            env={**os.environ, "MAVEN_OPTS": f"{os.environ.get('MAVEN_OPTS', '')} {trust(home)}"})
        if got.returncode:
            raise RuntimeError(f"Maven could not get the jars:\n{got.stdout[-2000:]}{got.stderr[-500:]}")
        part.rename(folder)
    return folder


class H2:
    """OAP's H2 in memory, in a process of its own: it outlives an OAP, and a test may look into it and change it."""

    def __init__(self, folder):
        self.log, self.port, self.process = pathlib.Path(folder) / "h2.log", stack.free_ports(1)[0], None
        self.jar = next(jars().glob("h2-*.jar"))
        self.url = f"jdbc:h2:tcp://127.0.0.1:{self.port}/mem:oap;DB_CLOSE_DELAY=-1;DATABASE_TO_UPPER=FALSE"
        self.settings = {"SW_STORAGE": "h2", "SW_STORAGE_H2_URL": self.url}

    def __enter__(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*JAVA, "-Dh2.bindAddress=127.0.0.1", "-cp", self.jar, "org.h2.tools.Server", "-tcp", "-tcpPort",
                 str(self.port), "-ifNotExists"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            stack.wait_for("H2 listens", START_S, lambda: "running" in self.log.read_text(encoding="utf-8"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def _sql(self, statement):
        """What H2's own shell prints for it."""
        done = subprocess.run([*JAVA, "-cp", self.jar, "org.h2.tools.Shell", "-url", self.url, "-user", "sa", "-sql", statement],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode or "Exception" in done.stdout + done.stderr:
            raise RuntimeError(f"{statement}: {done.stdout}{done.stderr}")
        return done.stdout

    def tables(self):
        return [line.split()[0] for line in self._sql("SHOW TABLES").splitlines() if "|" in line]

    def change(self, statement):
        """How many rows it changed."""
        return int(re.search(r"Update count: (\d+)", self._sql(statement))[1])

    def forget(self):
        self._sql("DROP ALL OBJECTS")


class PostgreSQL:
    """A cluster of its own in the folder, by the programs that Debian installs."""

    def __init__(self, folder):
        self.dir, self.port = pathlib.Path(folder) / "postgresql", stack.free_ports(1)[0]
        self.bin = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
        self.settings = {"SW_STORAGE": "postgresql", "SW_JDBC_URL": f"jdbc:postgresql://127.0.0.1:{self.port}/skywalking"}

    def _run(self, program, *arguments):
        """As the user postgres: none of it runs as root."""
        done = subprocess.run(["runuser", "-u", "postgres", "--", self.bin / program, *arguments], cwd=self.dir,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stdout}")
        return done.stdout

    def __enter__(self):
        self.dir.parent.chmod(0o711)
        self.dir.mkdir()
        shutil.chown(self.dir, "postgres")
        data = self.dir / "data"
        self._run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync")
        self._run("pg_ctl", "-D", data, "-l", self.dir / "log", "-w", "start", "-o",
                  f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.dir} -c fsync=off")
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "skywalking")
        return self

    def __exit__(self, *_):
        self._run("pg_ctl", "-D", self.dir / "data", "-m", "immediate", "-w", "stop")

    def _sql(self, statement):
        return self._run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-tA",
                         "-c", statement, "skywalking")

    def tables(self):
        return self._sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split()

    def change(self, statement):
        """How many rows it changed."""
        return int(re.search(r"UPDATE (\d+)", self._sql(statement))[1])

    def forget(self):
        self._sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def databases():
    """Those that a run of the tests is about."""
    return (H2, PostgreSQL) if os.environ.get("SONDE_TEST_LONG") == "1" else (H2,)


class Refused(RuntimeError):
    """GraphQL answered with errors."""


class Oap:
    """Files and logs are in folder. tls: (key, certificate, CA), files. more_jars: folders. settings: OAP's own environment
    variables."""

    def __init__(self, folder, rules=OURS, tls=None, more_jars=(), **settings):
        self.dir, self.process, self.more_jars = pathlib.Path(folder), None, more_jars
        core, self.rest, receiver = stack.free_ports(3)
        self.grpc = receiver if tls else core
        self.settings = {"SW_CORE_GRPC_PORT": core, "SW_CORE_REST_PORT": self.rest, **settings}
        if tls:  # the receivers then have a port of their own, which asks for a certificate
            key, certificate, ca = tls
            self.settings.update({
                "SW_RECEIVER_GRPC_PORT": receiver, "SW_RECEIVER_GRPC_SSL_ENABLED": "true", "SW_RECEIVER_GRPC_SSL_KEY_PATH": key,
                "SW_RECEIVER_GRPC_SSL_CERT_CHAIN_PATH": certificate, "SW_RECEIVER_GRPC_SSL_TRUSTED_CAS_PATH": ca})
        self.dir.mkdir(parents=True, exist_ok=True)
        config = self.dir / "config"
        shutil.copytree(HERE / "config", config, dirs_exist_ok=True)
        # Must be there, and have nothing to do.
        (config / "oal").mkdir(exist_ok=True)
        for name in ("core", "disable", "ebpf"):
            (config / "oal" / f"{name}.oal").write_text("// nothing\n", encoding="ascii")
        self.rules = rules
        shutil.rmtree(config / "meter-analyzer-config", ignore_errors=True)
        (config / "meter-analyzer-config").mkdir()
        for rule in self.rules:
            shutil.copy(rule, config / "meter-analyzer-config")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Until it answers."""
        names = ",".join(r.stem for r in self.rules)
        path = [self.dir / "config", *(f"{folder}/*" for folder in (jars(), *self.more_jars))]
        environment = {**os.environ, "SW_METER_ANALYZER_ACTIVE_FILES": names,
                       **{k: str(v) for k, v in self.settings.items()}}
        with open(self.dir / "oap.log", "ab") as log:
            self.process = subprocess.Popen(
                [*JAVA, f"-Djava.io.tmpdir={self.dir}", "-cp", ":".join(map(str, path)),
                 "org.apache.skywalking.oap.server.starter.OAPServerStartUp"],
                cwd=self.dir, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            stack.wait_for("OAP is healthy", START_S, self.healthy, 0.2)
        except BaseException:
            self.stop()
            print(self.log()[-3000:], file=sys.stderr)
            raise

    def healthy(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"OAP ended with {self.process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.rest}/healthcheck", timeout=30) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self, how=signal.SIGTERM):
        if self.process:
            stack.end(self.process, how)
        self.process = None

    def freeze(self):
        """It takes connections and bytes, as the kernel does that for it, and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def log(self):
        return (self.dir / "oap.log").read_text(encoding="utf-8", errors="replace")

    def graphql(self, query, **variables):
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.rest}/graphql", body,
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            got = json.load(answer)
        if got.get("errors"):
            raise Refused(got["errors"][0]["message"])
        return got["data"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--storage", choices=("h2", "postgresql"), default="h2")
    a = p.parse_args()
    folder = tempfile.mkdtemp(prefix="sonde-oap-")
    began = time.monotonic()
    try:
        with {"h2": H2, "postgresql": PostgreSQL}[a.storage](folder) as database:
            with Oap(pathlib.Path(folder) / "oap", **database.settings) as oap:
                print(f"OAP {VERSION}, pid {oap.process.pid}, after {time.monotonic() - began:.0f} s: gRPC 127.0.0.1:{oap.grpc}, "
                      f"GraphQL http://127.0.0.1:{oap.rest}/graphql, log {oap.dir}/oap.log", flush=True)
                oap.process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
