"""The settings file that `undaunted config init` writes: what was found, and in comments what else can be said."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from undaunted.cli import toml
from undaunted.cli.config.given import password_variable
from undaunted.config.schema import cluster_class
from undaunted.config.structure import infos

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["cluster_text", "file_text"]

_HEAD = """\
# The databases of this application, and what bounds each call to them.
# `{program} config show --origin` prints every setting that holds, `{program} check` asks the nodes.
# A password is never written here: {{ env = "NAME" }} takes it out of the environment, {{ file = "PATH" }} from a file.
"""

_TAIL = """\
# What bounds every call; a cluster, a profile or a model may say otherwise. These are the defaults.
# [retry]
# deadline = "15s"        # for the whole call, every wait included
# attempts = 3            # executions that may have reached a server, the first one counted

# [profiles.web]          # of a request of Django or Flask
# retry.deadline = "5s"
"""

_WIDTH = 100
_ALSO = {"reads": "fallback", "required": False}
_CREDENTIALS = "Who logs in; the password stands in the environment."


def file_text(clusters: Iterable[str], *, program: str) -> str:
    """The whole file.

    Args:
        clusters: The text of each cluster.
        program: How the commands are called.
    """
    return "\n".join([_HEAD.format(program=program), *clusters, _TAIL])


def cluster_text(name: str, backend: str, settings: Mapping[str, Any], remarks: Mapping[str, str]) -> str:
    """The table of one cluster: each setting below what it means, those that are not set in comments.

    Args:
        name: The cluster's name.
        backend: Its backend.
        settings: What is set.
        remarks: What was found out about a setting.
    """
    known = infos(cluster_class(backend))
    hints = {**_usual(name, backend), **_remote(remarks), **_ALSO}
    lines = [f"[clusters.{toml.key(name)}]", f"backend = {toml.value(backend)}"]
    for key, value in settings.items():
        lines += _setting(key, value, known[key].doc, remarks.get(key), mark="")
    for key, value in hints.items():
        if key not in settings:
            lines += _setting(key, value, known[key].doc, remarks.get(key), mark="# ")
    return "\n".join(lines) + "\n"


def _setting(key: str, value: object, doc: str, remark: str | None, *, mark: str) -> list[str]:
    meaning = _CREDENTIALS if key == "credentials" else doc
    comment = f"{meaning} Here: {remark}." if remark else meaning
    return [*(f"# {line}" for line in wrap(comment, _WIDTH)), f"{mark}{toml.key(key)} = {toml.value(value)}"]


def _usual(name: str, backend: str) -> dict[str, Any]:
    """What else most applications say of a cluster, with an example."""
    if backend == "sqlalchemy":
        return {}
    login = {"username": "shop", "password": {"env": password_variable(name)}}
    return {"database" if backend == "mongodb" else "keyspace": "shop", "credentials": login}


def _remote(remarks: Mapping[str, str]) -> dict[str, Any]:
    """Where a cluster has further datacenters, how to let calls go on there."""
    there = remarks.get("remote_datacenters")
    return {} if there is None else {"remote_datacenters": {name: dict[str, Any]() for name in there.split(", ")}}
