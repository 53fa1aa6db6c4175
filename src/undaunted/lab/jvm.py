"""Options of the JVM that every Java program of Cassandra needs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["ENVIRONMENT", "SMALL", "class_path", "opens"]

SMALL = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss256k", "-Xlog:disable", "-Xlog:all=error:stderr")
"""One thread for garbage, quick compilation only, small stacks, and no word but of errors."""

ENVIRONMENT: dict[str, str | None] = dict.fromkeys(
    ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")
)
"""What of the user's environment must not reach a server of the lab."""

# What Cassandra reaches into, as its own start scripts grant it (``jvm17-server.options``).
_EXPORTS = """
java.base/jdk.internal.misc java.base/jdk.internal.ref java.base/sun.nio.ch java.base/java.lang.ref
java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.registry java.rmi/sun.rmi.server java.sql/java.sql
jdk.unsupported/sun.misc
"""
_OPENS = """
java.base/java.lang.module java.base/jdk.internal.loader java.base/jdk.internal.ref java.base/jdk.internal.reflect
java.base/jdk.internal.math java.base/jdk.internal.module java.base/jdk.internal.util.jar
jdk.management/com.sun.management.internal java.base/sun.nio.ch java.base/java.io java.base/java.lang
java.base/java.lang.reflect java.base/java.util java.base/java.util.concurrent java.base/java.util.concurrent.atomic
java.base/java.nio java.rmi/sun.rmi.transport.tcp
"""


def opens() -> Iterator[str]:
    """The options that open Java's own modules to Cassandra."""
    for option, names in (("--add-exports", _EXPORTS), ("--add-opens", _OPENS)):
        for name in names.split():
            yield f"{option}={name}=ALL-UNNAMED"


def class_path(jars: Sequence[Path]) -> str:
    """The jars as one argument."""
    return os.pathsep.join(str(jar) for jar in jars)
