"""Reads plainly at LOCAL_QUORUM from those nodes alone that are named, until its input ends; then prints when it read.

``witness.py KEYSPACE HOST [HOST ...]``
"""

from __future__ import annotations

import json
import select
import sys
import time

from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.policies import WhiteListRoundRobinPolicy

LONGEST_S = 120.0
THINK_S = 0.005


def main() -> None:
    keyspace, *hosts = sys.argv[1:]
    profile = ExecutionProfile(
        load_balancing_policy=WhiteListRoundRobinPolicy(hosts),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        request_timeout=30.0,
    )
    ended_s: list[float] = []
    with Cluster(hosts, execution_profiles={EXEC_PROFILE_DEFAULT: profile}, protocol_version=5) as cluster:
        session = cluster.connect(keyspace)
        one = session.prepare("SELECT text FROM row WHERE part = ? AND k = ?")
        print("ready", flush=True)
        ends_s = time.monotonic() + LONGEST_S
        while not select.select([sys.stdin], [], [], THINK_S)[0] and time.monotonic() < ends_s:
            session.execute(one, [len(ended_s) % 200, len(ended_s) % 200 * 100])
            ended_s.append(time.monotonic())
    print(json.dumps(ended_s))


main()
