"""Reads plainly on one connection to one node, until its input ends; then prints when its reads came back."""

from __future__ import annotations

import json
import select
import sys
import time

import psycopg

LONGEST_S = 120.0
THINK_S = 0.005


def main() -> None:
    ended_s: list[float] = []
    with psycopg.connect(sys.argv[1], autocommit=True) as connection:
        print("ready", flush=True)
        ends_s = time.monotonic() + LONGEST_S
        while not select.select([sys.stdin], [], [], THINK_S)[0] and time.monotonic() < ends_s:
            connection.execute("SELECT text FROM fixed_row WHERE k = %s", [len(ended_s) % 100])
            ended_s.append(time.monotonic())
    print(json.dumps(ended_s))


main()
