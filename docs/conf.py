"""How the documentation is built: Sphinx, Furo and MyST, offline, every warning an error (`make docs`)."""

from __future__ import annotations

import re
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "undaunted"
author = "The undaunted developers"
project_copyright = "The undaunted developers; Apache License 2.0"
release = version = installed("undaunted")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_generated"]  # _generated holds what pages include: measurements, the settings table

suppress_warnings = ["ref.python"]  # a backend's errors are namesakes of ours, which is meant

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist", "smartquotes"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_type_aliases = {}
autoclass_content = "class"
napoleon_use_ivar = True  # attributes of a dataclass are documented once, in its docstring
python_use_unqualified_type_names = True

# References are checked (-n). Not those to other projects, whose inventories would have to be fetched, and not what
# stands in a signature for a type checker: names without a path, and modules that no page shows.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(bson|cassandra|click|collections|contextlib|enum|gridfs|mongoengine|os|pathlib)(\..*)?"),
    (r"py:.*", r"(psycopg|pymongo|sa|sqlalchemy|tenacity|types)(\..*)?"),
    (r"py:(class|obj|exc)", r"[A-Z]\w*(\.args|\.kwargs)?"),
    (r"py:class", r"undaunted\.mongodb\.(database|transactions)\..*"),
    (r"py:(class|obj)", r"undaunted\.sqlalchemy\.(errors|session)\.(_\w+|[A-Z])"),
    (r"py:class", r"undaunted\.sqlalchemy\.(bound|rereading)\..*"),
    (r"py:class", r"undaunted\.lab\.(cassandra_servers|cql|failpoints|lab|postgres_standbys|primaries|verbs)\..*"),
    (r"py:class", r"(cql|socket|undaunted\.(cassandra|testing)|undaunted\.engine\.call)\..*"),
    (r"py:class", r"(Mapping\[str|Callable\[\[\])"),
]

html_theme = "furo"
html_title = "undaunted"
html_copy_source = False

# `make screenshots` takes the pictures, by the tests in a real browser. They are no part of the source, so a page is
# built without those that are not there.
PICTURE = re.compile(r"^!\[[^\]]*\]\((?:\.\./)*(_generated/screens/[^)]+)\)\n", re.MULTILINE)


def leave_out_missing_pictures(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Take pictures that were not made out of a page before it is read."""
    here = Path(__file__).parent
    source[0] = PICTURE.sub(lambda found: found[0] if (here / found[1]).exists() else "", source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", leave_out_missing_pictures)
