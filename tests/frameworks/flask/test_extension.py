"""`Undaunted(app)`: settings, factories, several applications in one process, and settings that are wrong."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

import undaunted
from undaunted.flask import Undaunted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from flask import Flask

ORDERS: dict[str, Any] = {"backend": "mongodb", "nodes": ["127.0.0.1:1"], "database": "shop"}


def test_one_line_is_all(make_app: Callable[..., Flask]) -> None:
    app = make_app({"clusters": {"orders": ORDERS}})
    Undaunted(app)
    assert list(undaunted.status()["clusters"]) == ["orders"]
    assert app.test_client().get("/undaunted/live").status_code == 200


def test_factories_make_one_application_after_another_with_one_extension(make_app: Callable[..., Flask]) -> None:
    extension = Undaunted()
    for _ in range(3):
        app = make_app({"clusters": {"orders": ORDERS}})
        extension.init_app(app)
        assert app.test_client().get("/undaunted/live").status_code == 200
    assert list(undaunted.status()["clusters"]) == ["orders"]


def test_several_applications_share_a_process_and_differ_in_what_they_tell(make_app: Callable[..., Flask]) -> None:
    shop = make_app({"clusters": {"orders": ORDERS}, "web": {"public": []}})
    till = make_app({"clusters": {"orders": ORDERS, "carts": ORDERS}, "web": {"public": ["live"]}})
    Undaunted(shop, is_staff=lambda: True)
    Undaunted(till)
    assert list(undaunted.status()["clusters"]) == ["orders", "carts"]
    assert shop.test_client().get("/undaunted/").status_code == 200
    assert till.test_client().get("/undaunted/").status_code == 403


def test_two_applications_that_contradict_each_other_are_told_and_the_first_goes_on(
    make_app: Callable[..., Flask],
) -> None:
    Undaunted(make_app({"clusters": {"orders": ORDERS}}))
    other = make_app({"clusters": {"orders": {**ORDERS, "database": "other"}}})
    with pytest.raises(undaunted.ConfigurationError, match=r"clusters\.orders: .*\(database\).*another name"):
        Undaunted(other)
    assert list(undaunted.status()["clusters"]) == ["orders"]
    assert "undaunted" not in other.extensions


def test_without_settings_of_its_own_an_application_takes_the_file(
    make_app: Callable[..., Flask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "undaunted.toml").write_text('[clusters.orders]\nbackend = "mongodb"\nnodes = ["127.0.0.1:1"]\n')
    monkeypatch.chdir(tmp_path)
    Undaunted(make_app(None))
    assert list(undaunted.status()["clusters"]) == ["orders"]


def test_the_application_goes_before_the_file_and_the_environment_before_both(
    make_app: Callable[..., Flask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "undaunted.toml").write_text('[clusters.orders]\nbackend = "mongodb"\nnodes = ["127.0.0.1:1"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNDAUNTED__CLUSTERS__ORDERS__RETRY__DEADLINE", "7s")
    Undaunted(make_app({"clusters": {"orders": {"nodes": ["127.0.0.1:2"], "retry": {"deadline": "3s"}}}}))
    from undaunted.registry import REGISTRY

    assert REGISTRY.policy("orders").deadline_s == 7
    assert undaunted.status()["clusters"]["orders"]["nodes"][0]["address"] == "127.0.0.1:2"


def test_what_could_not_be_set_in_other_extensions(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL with its database, options of the pool, where reads go, and several databases in one application.

    MongoEngine/flask-mongoengine#132, #246, #247; more of them in test_complaints.py.
    """
    monkeypatch.setenv("ORDERS", "mongodb://shop:sesame@127.0.0.1:1/shop?replicaSet=rs0")
    url = {"backend": "mongodb", "url": {"env": "ORDERS"}, "reads": "fallback", "pool": {"max": 7}, "default": True}
    Undaunted(make_app({"clusters": {"orders": url, "carts": ORDERS}}))
    from mongoengine import get_connection, get_db

    from undaunted.registry import REGISTRY

    assert (get_db("default").name, get_db("orders").name, get_db("carts").name) == ("shop", "shop", "shop")
    assert get_connection("orders") is get_connection("default") is not get_connection("carts")
    assert get_connection("orders").options.pool_options.max_pool_size == 7
    assert REGISTRY.policy("orders").reads == "fallback"
    assert "sesame" not in str(undaunted.status())


def test_twice_on_one_application_is_told(make_app: Callable[..., Flask]) -> None:
    app = make_app({"clusters": {"orders": ORDERS}})
    Undaunted(app)
    with pytest.raises(RuntimeError, match="undaunted already"):
        Undaunted(app)


def test_no_addresses_where_none_are_wanted(make_app: Callable[..., Flask]) -> None:
    app = make_app({"clusters": {"orders": ORDERS}})
    Undaunted(app, url_prefix=None)
    assert app.test_client().get("/undaunted/live").status_code == 404
    assert app.test_client().get("/live").status_code == 404


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, r"no cluster is configured. Set app.config\[\"UNDAUNTED\"\] before init_app"),
        ({}, "no cluster is configured"),
        ("mongodb://somewhere", r"app.config\[\"UNDAUNTED\"\]: expected a mapping .* not str"),
        ({"clusters": {"orders": {"backend": "mongo"}}}, r"clusters\.orders\.backend: .*did you mean 'mongodb'"),
        ({"clusters": {"orders": ORDERS}, "web": {"profile": "wbe"}}, r"web\.profile: .*did you mean 'web'"),
    ],
)
def test_missing_and_wrong_settings_are_told_with_the_remedy(
    make_app: Callable[..., Flask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    app = make_app(given)
    with pytest.raises(undaunted.ConfigurationError, match=said):
        Undaunted(app)
    assert undaunted.status()["clusters"] == {}


def test_all_mistakes_come_at_once(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(undaunted.ConfigurationError) as caught:
        Undaunted(make_app({"clusters": {"orders": {"backend": "mongo"}}, "web": {"retry_after": -1}, "retri": {}}))
    assert {problem.path for problem in caught.value.problems} >= {
        "clusters.orders.backend",
        "web.retry_after",
        "retri",
    }


def test_importing_it_imports_no_driver(tmp_path: Path) -> None:
    program = (
        "import sys, flask, undaunted.flask\n"
        "print([name for name in ('pymongo', 'cassandra', 'sqlalchemy', 'rich') if name in sys.modules])\n"
    )
    said = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


APPLICATION = """
import json, os
from flask import Flask
from undaunted.flask import Undaunted
app = Flask(__name__)
app.config["UNDAUNTED"] = json.loads(os.environ["SETTINGS"])
Undaunted(app)
"""


def flask_says(folder: Path, settings: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "app.py").write_text(APPLICATION)
    return subprocess.run(
        [sys.executable, "-m", "flask", *arguments],
        cwd=folder,
        env={**os.environ, "SETTINGS": json.dumps(settings), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_commands_have_the_settings_of_the_application(tmp_path: Path) -> None:
    said = flask_says(tmp_path, {"clusters": {"orders": ORDERS}}, "undaunted", "config", "show", "--origin")
    assert said.returncode == 0, said.stderr
    assert "127.0.0.1:1" in said.stdout
    assert 'app.config["UNDAUNTED"]' in said.stdout


def test_wrong_settings_are_a_sentence_of_the_command_and_no_traceback(tmp_path: Path) -> None:
    said = flask_says(tmp_path, {"clusters": {"orders": {"backend": "mongo"}}}, "undaunted", "check")
    assert said.returncode == 3, said.stderr
    assert "clusters.orders.backend" in said.stderr
    assert "Traceback" not in said.stderr


MODELS = """
import os
from undaunted.sqlalchemy import DeclarativeBase
from sqlalchemy.orm import Mapped, mapped_column

class Base(DeclarativeBase):
    __undaunted__ = {"cluster": "ledger"}

class Entry(Base):
    __tablename__ = "entry"
    id: Mapped[int] = mapped_column(primary_key=True)
"""


def test_sync_makes_what_the_models_of_the_application_need(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "wsgi.py").write_text(APPLICATION + "import models\n")
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    settings = {"clusters": {"ledger": {"backend": "sqlalchemy", "url": url}}}
    said = flask_says(tmp_path, settings, "--app", "wsgi", "undaunted", "sync")
    assert said.returncode == 0, said.stderr
    assert "entry" in said.stdout
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        assert ("entry",) in database.execute("SELECT name FROM sqlite_master").fetchall()


def test_the_commands_are_the_applications_own_too(make_app: Callable[..., Flask]) -> None:
    app = make_app({"clusters": {"orders": ORDERS}})
    Undaunted(app)
    said = app.test_cli_runner().invoke(args=["undaunted", "config", "show"])
    assert said.exit_code == 0, said.output
    assert "127.0.0.1:1" in said.output
