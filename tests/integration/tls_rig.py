# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, made by openssl(1) as they run, in a folder that goes with the test."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

if not shutil.which("openssl"):
    print("openssl is missing")
    sys.exit(77)

TIMEOUT_S = 180  # a test that hangs, not a measure
FOLDER = tempfile.TemporaryDirectory(prefix="sonde-tls-")
AT = pathlib.Path(FOLDER.name)


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, cwd=AT, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE, timeout=TIMEOUT_S)


def pem(name):
    return str(AT / f"{name}.pem")


def key(name):
    return str(AT / f"{name}.key")


def make_ca(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            key(name), "-out", pem(name), "-days", 30, "-subj", f"/CN={name}")


def make_certificate(name, ca="ca", san="DNS:localhost,IP:127.0.0.1", begins="200101000000Z", ends="491231000000Z",
                     subject=None, purpose=None):
    """`openssl ca`, since `openssl x509` of Debian 12 cannot say when a certificate begins."""
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key(name), "-out",
            f"{name}.csr", "-subj", f"/CN={subject or name}")
    (AT / "index.txt").write_text("", encoding="utf-8")
    (AT / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\nnew_certs_dir=.\ndatabase=index.txt\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n"
        "unique_subject=no\nx509_extensions=x\n[p]\ncommonName=supplied\n[x]\nbasicConstraints=CA:FALSE\n" +
        (f"subjectAltName={san}\n" if san else "") + (f"extendedKeyUsage={purpose}\n" if purpose else ""), encoding="utf-8")
    openssl("ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", pem(ca), "-keyfile", key(ca), "-in", f"{name}.csr",
            "-out", pem(name), "-startdate", begins, "-enddate", ends)
    os.chmod(key(name), 0o600)


def make_all():
    for name in ("ca", "other-ca"):
        make_ca(name)
    make_certificate("good")
    make_certificate("renewed")
    make_certificate("other-name", san="DNS:oap.example,DNS:*.oap.example,IP:192.0.2.1")
    make_certificate("old", ends="200601000000Z")
    make_certificate("young", begins="490101000000Z")
    make_certificate("stranger", ca="other-ca")
    make_certificate("cn-only", san=None, subject="localhost")
    make_certificate("client", san=None, purpose="clientAuth")
    make_certificate("server-only", purpose="serverAuth")
    make_certificate("hostile", subject="a\\033[31mb")
