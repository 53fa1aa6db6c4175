"""How one Cassandra node is run: small, quick to start, and on loopback alone.

Each flag was measured; those that matter most: a class archive (2 s less CPU a start), no ``mlockall`` (half the
memory), every node a seed (any order of starts works), and no waits for a ring that would still be settling.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from undaunted.lab import jvm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from undaunted.lab.java import Java
    from undaunted.lab.node import LabNode

__all__ = ["CQL_PORT", "STORAGE_PORT", "arguments", "configure", "token", "yaml"]

CQL_PORT, STORAGE_PORT = 9042, 7000
_MAIN = "org.apache.cassandra.service.CassandraDaemon"
_RING = 2**64

_LOGBACK = """<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level %d{ISO8601} [%thread] %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
</configuration>
"""


def token(place: int, count: int, datacenter: int) -> int:
    """The token of a node: the ring in equal parts within each datacenter, and no token twice."""
    return -(_RING // 2) + place * (_RING // count) + datacenter


def yaml(
    node: LabNode,
    *,
    root: Path,
    cluster: str,
    seeds: Sequence[str],
    own_token: int,
    options: Mapping[str, object],
) -> str:
    """The settings of a node. Every value is written as JSON, which YAML contains."""
    settings: dict[str, object] = {
        "cluster_name": cluster,
        "num_tokens": 1,
        "initial_token": str(own_token),
        "auto_bootstrap": False,
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "GossipingPropertyFileSnitch",
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": ",".join(seeds)}],
            }
        ],
        "listen_address": node.host,
        "rpc_address": node.host,
        "storage_port": STORAGE_PORT,
        "native_transport_port": node.port,
        "data_file_directories": [str(root / "data")],
        **{f"{what}_directory": str(root / what) for what in ("commitlog", "hints", "saved_caches", "cdc_raw")},
        "commitlog_segment_size": "16MiB",  # 4 MiB would limit a mutation to 2 MiB
        "commitlog_total_space": "128MiB",
        "auto_snapshot": False,
        "key_cache_size": "0MiB",
        "file_cache_size": "16MiB",
        "memtable_heap_space": "32MiB",
        "memtable_offheap_space": "32MiB",
        "concurrent_reads": 4,
        "concurrent_writes": 4,
        "concurrent_counter_writes": 4,
        "concurrent_compactors": 1,
        "native_transport_max_threads": 8,
        "native_transport_max_message_size": "16MiB",
        "native_transport_max_request_data_in_flight_per_ip": "32MiB",
        "native_transport_max_request_data_in_flight": "64MiB",
        "read_request_timeout": "2000ms",
        "range_request_timeout": "3000ms",
        "write_request_timeout": "2000ms",
        "counter_write_request_timeout": "2000ms",
        "cas_contention_timeout": "1000ms",
        "materialized_views_enabled": True,
        **options,
    }
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items())


def configure(root: Path, *, text: str, datacenter: str) -> None:
    """Write the files that a node reads at its start."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    (root / "cassandra.yaml").write_text(text, encoding="utf-8")
    (root / "logback.xml").write_text(_LOGBACK, encoding="utf-8")
    (root / "rackdc.properties").write_text(f"dc={datacenter}\nrack=rack1\n", encoding="utf-8")


def arguments(
    java: Java, *, root: Path, class_path: Sequence[Path], more: Sequence[str] = (), copies: int = 1
) -> list[str]:
    """The command line of a node.

    Args:
        java: The Java to run it on.
        root: Where its files are.
        class_path: The jars.
        more: More options of the JVM, such as those of a class archive.
        copies: How many nodes hold the users, where there are any.
    """
    properties = {
        "cassandra.config": (root / "cassandra.yaml").as_uri(),
        "logback.configurationFile": (root / "logback.xml").as_uri(),
        "cassandra-rackdc.properties": (root / "rackdc.properties").as_uri(),
        "cassandra.storagedir": str(root),
        "java.io.tmpdir": str(root),
        "cassandra-foreground": "yes",
        "cassandra.ring_delay_ms": "0",
        # Unsaid it is twice the ring delay. At 0 a node that was heard of a moment before it has its token passes for a
        # client that went away, and is struck off the seeds: two nodes may never find each other then.
        "cassandra.gossip_quarantine_delay_ms": "60000",
        "cassandra.skip_wait_for_gossip_to_settle": "0",
        "cassandra.superuser_setup_delay_ms": "0",
        "cassandra.system_auth.default_rf": str(copies),
        "cassandra.auth_bcrypt_gensalt_log2_rounds": "4",
        "cassandra.schema_pull_interval_ms": "5000",
        "cassandra.skip_schema_check": "true",
        "cassandra.consistent.rangemovement": "false",
        "cassandra.available_processors": "2",
        "cassandra.shutdown_announce_in_ms": "500",
        "cassandra.memtable.row_overhead_size": "180",  # what a loop of one second would find out
        "jdk.attach.allowAttachSelf": "true",
        "io.netty.tryReflectionSetAccessible": "true",
    }
    return [
        str(java.program),
        *jvm.SMALL,
        *("-Xms128M", "-Xmx320M", "-Xmn96M", "-XX:MaxDirectMemorySize=128M", "-XX:+ExitOnOutOfMemoryError"),
        *more,
        *(f"-D{name}={value}" for name, value in properties.items()),
        *jvm.opens(),
        *("-cp", jvm.class_path(class_path), _MAIN),
    ]
