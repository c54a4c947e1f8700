# SPDX-License-Identifier: Apache-2.0
"""What the checks of this folder share: the tree's files, and C without its comments and strings."""

import pathlib
import re
import subprocess

GENERATED = re.compile(r"(^|/)vmlinux\.h$")
C_TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def files(root):
    """Paths below root, relative: what git tracks or would track; without git, all but build folders."""
    root = pathlib.Path(root)
    git = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, check=False)
    if git.returncode == 0 and (root / ".git").exists():
        names = [n for n in git.stdout.decode().split("\0") if n]
    else:
        names = [str(p.relative_to(root)) for p in root.rglob("*")
                 if not re.match(r"(build[^/]*|\.git)(/|$)", str(p.relative_to(root)))]
    return sorted(n for n in names if (root / n).is_file() and not (root / n).is_symlink())


def c_files(root):
    return [f for f in files(root) if f.endswith((".c", ".h")) and not GENERATED.search(f)]


def code_only(text):
    """Comments and strings blanked; lines keep their numbers."""
    return C_TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)
