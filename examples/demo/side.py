"""One side of the demo, in a process of its own: a shop and its customers, until told to stop."""

from __future__ import annotations

import functools
import json
import sys

from backends import stage_of
from serving import serve


def main() -> int:
    """Serve the customers of the backend that the spec names."""
    spec = json.loads(sys.argv[1])
    return serve(functools.partial(stage_of(spec["backend"]).customers, spec))


if __name__ == "__main__":
    sys.exit(main())
