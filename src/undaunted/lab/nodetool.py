"""Cassandra's own tool for operators, run from its jars.

It speaks JMX. Whoever may speak JMX to a server may run code in it, so a node begins to listen for it when it is first
needed, on its own loopback address, and asks for a password that only the lab's user can read.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from typing import TYPE_CHECKING

from undaunted.lab import jvm
from undaunted.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from undaunted.lab.java import Java
    from undaunted.lab.node import LabNode

__all__ = ["JMX_PORT", "listen_command", "run", "write_secrets"]

JMX_PORT = 7199
_MAIN = "org.apache.cassandra.tools.NodeTool"
_USER = "lab"
_SILENT = '<configuration><root level="OFF"/></configuration>\n'


def write_secrets(place: Path) -> None:
    """Write the files that servers and the tool read, once a lab."""
    agent = {
        "ssl": "false",
        "authenticate": "true",
        "password.file": place / "jmx.password",
        "password.toHashes": "false",  # every node and the tool read this one file
        "access.file": place / "jmx.access",
    }
    for name, text in (
        ("jmx.properties", "".join(f"com.sun.management.jmxremote.{key}={value}\n" for key, value in agent.items())),
        ("jmx.password", f"{_USER} {secrets.token_hex(24)}\n"),
        ("jmx.access", f"{_USER} readwrite\n"),
        ("nodetool.xml", _SILENT),
    ):
        handle = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)


def listen_command(node: LabNode, place: Path) -> str:
    """The command for a node's JVM that makes it listen for the tool.

    Not its command line: Java would open a second port then, for the local user, on every address of the machine.
    """
    where = {"port": JMX_PORT, "rmi.port": JMX_PORT, "host": node.host}
    words = [f"jmxremote.{name}={value}" for name, value in where.items()]
    return " ".join(["ManagementAgent.start", f'config.file="{place / "jmx.properties"}"', *words])


def run(
    java: Java,
    node: LabNode,
    words: Sequence[str],
    *,
    place: Path,
    more: Sequence[str],
    class_path: Sequence[Path],
    timeout_s: float,
) -> str:
    """What the tool printed.

    Raises:
        LabError: It failed, or did not come back in time.
    """
    argv = [
        *(str(java.program), "-Xmx96M", *jvm.SMALL, *more),
        f"-Dlogback.configurationFile={(place / 'nodetool.xml').as_uri()}",
        *(f"-Dcassandra.storagedir={place}", f"-Duser.home={place}"),
        *(*jvm.opens(), "-cp", jvm.class_path(class_path), _MAIN),
        *("-h", node.host, "-p", str(JMX_PORT), "-u", _USER, "-pwf", str(place / "jmx.password"), *words),
    ]
    what = f"nodetool {' '.join(words)}"
    try:
        done = subprocess.run(  # noqa: S603
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={name: value for name, value in os.environ.items() if name not in jvm.ENVIRONMENT},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{what} gave no answer from {node.name} within {timeout_s:g} s.") from None
    except OSError as error:
        raise LabError(f"{what} could not be run ({error}).") from error
    if done.returncode != 0:
        said = " ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[:2])
        raise LabError(f"{node.name} did not do {what}: {said[:300]}")
    return done.stdout
