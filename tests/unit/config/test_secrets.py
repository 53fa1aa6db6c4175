"""Secrets come from the environment or a file, and are printed nowhere."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undaunted.config import Secret, load
from undaunted.config.raw import masked
from undaunted.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def password(value: object, *, environ: dict[str, str] | None = None, start: Path | None = None) -> Secret:
    credentials = {"username": "u", "password": value}
    cluster = {"backend": "mongodb", "nodes": ["a"], "credentials": credentials}
    settings = load({"clusters": {"orders": cluster}}, environ=environ or {}, start=start).settings
    found: Any = settings.clusters["orders"]
    assert found.credentials.password.reveal() not in repr(settings)
    return found.credentials.password  # type: ignore[no-any-return]


def mistake(value: object, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        password(value, environ=environ)
    [problem] = caught.value.problems
    assert problem.path.startswith("clusters.orders.credentials.password")
    return problem.message


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret("geheim", origin="environment variable X")
    for text in (str(secret), repr(secret), f"{secret}", f"{secret}", repr([secret]), repr({"a": secret})):
        assert "geheim" not in text
    assert secret.reveal() == "geheim"
    assert secret.origin == "environment variable X"
    assert secret == Secret("geheim", origin="file y")
    assert secret != "geheim"
    assert len({secret, Secret("geheim", origin="file y")}) == 1
    assert copy.deepcopy(secret) == secret
    assert pickle.loads(pickle.dumps(secret)) == secret
    assert not hasattr(secret, "__dict__")


def test_from_a_variable_and_from_a_file(tmp_path: Path) -> None:
    assert password({"env": "P"}, environ={"P": "geheim"}).reveal() == "geheim"
    (tmp_path / "secret").write_text("geheim\n")
    secret = password({"file": str(tmp_path / "secret")})
    assert (secret.reveal(), secret.origin) == ("geheim", f"file {tmp_path / 'secret'}")


def test_a_relative_file_stands_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("geheim")
    (tmp_path / "undaunted.toml").write_text(
        '[clusters.o]\nbackend = "mongodb"\nnodes = ["a"]\n'
        'credentials = { username = "u", password = { file = "secret" } }\ntls.ca = "secret"\n'
    )
    cluster: Any = load(tmp_path / "undaunted.toml", environ={}).settings.clusters["o"]
    assert cluster.credentials.password.reveal() == "geheim"
    assert cluster.tls.ca == str(tmp_path / "secret")


def test_a_variable_may_hold_the_secret_itself_since_it_is_the_environment() -> None:
    base = {"clusters": {"o": {"backend": "mongodb", "nodes": ["a"], "credentials": {"username": "u"}}}}
    name = "UNDAUNTED__CLUSTERS__O__CREDENTIALS__PASSWORD"
    for value in ("12345", "true", "geheim"):
        cluster: Any = load(framework=base, environ={name: value}, start="/").settings.clusters["o"]
        assert cluster.credentials.password.reveal() == value
    cluster = load(framework=base, environ={f"{name}__ENV": "P", "P": "geheim"}, start="/").settings.clusters["o"]
    assert cluster.credentials.password.reveal() == "geheim"
    with pytest.raises(ConfigurationError, match="a secret is never written"):
        load(framework=base, environ={name: ""}, start="/")


def test_a_nearer_source_replaces_the_whole_reference() -> None:
    farther = {"clusters": {"o": {"backend": "mongodb", "url": {"file": "/nowhere"}}}}
    environ = {"UNDAUNTED__CLUSTERS__O__URL__ENV": "URL", "URL": "mongodb://u:geheim@a/shop"}
    loaded = load(framework=farther, environ=environ, start="/")
    cluster: Any = loaded.settings.clusters["o"]
    assert str(cluster.url) == "mongodb://***@a/shop"
    assert (cluster.nodes, cluster.database) == (("a:27017",), "shop")
    assert "geheim" not in repr(loaded)


@pytest.mark.parametrize("value", ["geheim", "", 5, True, {"env": "A", "x": "geheim"}, {}, ["geheim"]])
def test_anything_else_is_refused_and_not_shown(value: object) -> None:
    message = mistake(value)
    assert message == 'a secret is never written in the settings; give { env = "VARIABLE" } or { file = "PATH" }.'


def test_what_is_wrong_with_a_reference(tmp_path: Path) -> None:
    assert mistake({"env": "P"}) == "the environment variable P is not set; set it for this process."
    assert mistake({"env": "P"}, P="") == "the environment variable P is empty; set it for this process."
    assert mistake({"env": 7}) == "expected the name of an environment variable, found 7."
    assert mistake({"file": ""}) == "expected the path of a file, found ''."
    assert "names both" in mistake({"env": "P", "file": "x"})
    assert f"cannot read the file {tmp_path} (Is a directory)" in mistake({"file": str(tmp_path)})
    assert "(No such file or directory)" in mistake({"file": str(tmp_path / "x")})
    (tmp_path / "empty").write_text("\n")
    assert "is empty" in mistake({"file": str(tmp_path / "empty")})
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in mistake({"file": str(tmp_path / "binary")})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mongodb://u:geheim@a,b/shop?x=geheim", "mongodb://***@a,b/shop?***"),
        ("mongodb://a/shop", "mongodb://a/shop"),
        ("u:geheim@a", "***@a"),
        ("plain", "plain"),
    ],
)
def test_a_url_is_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


@given(user=st.text(min_size=1), host=st.from_regex(r"[a-z]{1,8}", fullmatch=True))
def test_no_user_or_password_survives_masking(user: str, host: str) -> None:
    assert masked(f"mongodb://{user}@{host}") in (f"mongodb://***@{host}", f"mongodb://***@{host}?***")
