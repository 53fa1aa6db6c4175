"""A site on Flask that writes and counts marks; with ``used`` in ``SITE`` it does so while it is imported, too."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from flask import Flask
from marks import IS_PLAIN, SITE, marks

app = Flask(__name__)
app.secret_key = "for tests"
if not IS_PLAIN:
    from undaunted.flask import Undaunted

    app.config["UNDAUNTED"] = SITE["settings"]
    Undaunted(app)

HOOKED: list[int] = []
"""The processes in which uWSGI has called a hook of the application's own."""

if "uwsgi" in sys.modules and sys.modules["uwsgi"].masterpid():
    from uwsgidecorators import postfork

    postfork(lambda: HOOKED.append(os.getpid()))

MARKS = marks()
if SITE.get("used"):
    MARKS.write(f"imported-{os.getpid()}")


@app.post("/<mark>")
def write(mark: str) -> dict[str, Any]:
    MARKS.write(mark)
    return {"pid": os.getpid(), "thread": threading.get_ident(), "hooked": HOOKED}


@app.get("/<mark>")
def count(mark: str) -> dict[str, Any]:
    return {"pid": os.getpid(), "count": MARKS.count(mark)}
