"""One side of the demo, in a process of its own: a shop and its customers, until told to stop."""

from __future__ import annotations

import functools
import json
import sys
from importlib import import_module

from serving import serve


def main() -> int:
    """Serve the customers of the backend that the spec names."""
    spec = json.loads(sys.argv[1])
    module = import_module(f"{spec['backend']}_customers")  # the other one's driver is not imported
    return serve(functools.partial(module.customers, spec))


if __name__ == "__main__":
    sys.exit(main())
