"""Fetching Cassandra: once, whole or not at all, and a sentence where it cannot be had."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import textwrap
import zipfile

import pytest

from undaunted.lab import LabError, jars
from undaunted.lab.cache import cache, exclusive


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDAUNTED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def packed(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("a", "a")
    return path


@pytest.fixture
def fetched(monkeypatch):
    """A repository with two jars; what comes out is the steps and how often it was asked."""
    asked = []

    def resolve(repository):
        asked.append(repository)
        return [packed(repository / "org" / name / f"{name}.jar") for name in ("b", "a")]

    monkeypatch.setattr(jars, "_resolve", resolve)
    return asked


def test_they_are_fetched_once(fetched, place):
    steps = []
    found = jars.jars(progress=steps.append)
    assert [jar.name for jar in found] == ["a.jar", "b.jar"]
    assert jars.jars(progress=steps.append) == found
    assert len(fetched) == 1
    assert steps == ["fetching Cassandra 5.0.8, once"]
    assert sorted(path.name for path in place.iterdir()) == ["cassandra-5.0.8", "cassandra-5.0.8.lock"]


def test_a_fetch_that_was_cut_off_leaves_nothing(fetched, place, monkeypatch):
    whole = jars._resolve

    def cut_off(repository):
        whole(repository)
        raise ConnectionError("the line is dead")

    monkeypatch.setattr(jars, "_resolve", cut_off)
    with pytest.raises(
        LabError, match=r"^Cassandra 5\.0\.8 is not in the cache .* cannot be fetched \(Connect.*dead\)"
    ):
        jars.jars(progress=print)
    assert [path.name for path in place.iterdir()] == ["cassandra-5.0.8.lock"]
    monkeypatch.setattr(jars, "_resolve", whole)
    assert len(jars.jars(progress=print)) == 2


def test_what_a_killed_process_left_is_cleared(fetched, place):
    packed(place / "cassandra-5.0.8.part" / "jars" / "old.jar")
    assert [jar.name for jar in jars.jars(progress=print)] == ["a.jar", "b.jar"]
    assert not (place / "cassandra-5.0.8.part").exists()


def test_without_a_network_it_is_one_sentence(monkeypatch):
    """The real client, sent to a port of this machine where nobody listens."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LabError, match=r"cannot be fetched .*; the first lab needs a network, or a cache") as caught:
        jars.jars(progress=print)
    assert "\n" not in str(caught.value)


def test_without_jgo_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(LabError, match=r"needs jgo to fetch Cassandra: pip install 'undaunted\[lab\]'"):
        jars.jars(progress=print)


class Repository:
    """What `jgo` gives, as far as it is used."""

    def __init__(self, path, *, scope="compile", complaint=None):
        self.path, self.scope, self.complaint = path, scope, complaint
        self.artifact = self

    def resolve(self):
        if self.complaint is not None:
            logging.getLogger("jgo.maven._resolver").warning(self.complaint)
        return self.path


@pytest.fixture
def answers(monkeypatch):
    def answer(*found):
        class Context:
            def __init__(self, *, repo_cache):
                self.resolver = self

            def create_dependency(self, name):
                return name

            def resolve(self, names):
                assert names == ["org.apache.cassandra:cassandra-all:5.0.8"]
                return list(found[:1]), list(found[1:])

        monkeypatch.setattr("jgo.maven.MavenContext", Context)

    return answer


def test_what_runs_it_is_taken_and_nothing_else(answers, tmp_path):
    first, second, third = (packed(tmp_path / f"{name}.jar") for name in "abc")
    answers(Repository(first), Repository(second, scope="runtime"), Repository(third, scope="provided"))
    assert jars._resolve(tmp_path / "repository") == [first, second]


def test_a_wrong_checksum_is_an_error_and_no_warning(answers, tmp_path):
    answers(Repository(packed(tmp_path / "a.jar"), complaint="Checksum mismatch for a.jar: expected 1, got 2"))
    with pytest.raises(LabError, match=r"cannot be fetched \(OSError: Checksum mismatch for a\.jar"):
        jars.jars(progress=print)


def test_a_jar_that_came_incomplete_is_an_error(answers, tmp_path):
    whole = packed(tmp_path / "a.jar").read_bytes()
    (tmp_path / "a.jar").write_bytes(whole[:-30])
    answers(Repository(tmp_path / "a.jar"))
    with pytest.raises(LabError, match=r"cannot be fetched \(OSError: a\.jar came incomplete"):
        jars.jars(progress=print)


# ---------------------------------------------------------------------- cache


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("UNDAUNTED_CACHE")
    assert cache() == tmp_path / "xdg" / "undaunted"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache() == tmp_path / ".cache" / "undaunted"


def test_a_cache_that_cannot_be_made_names_the_setting(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNDAUNTED_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(LabError, match=r"cannot be made .* set UNDAUNTED_CACHE to one that can"):
        cache()
    with (
        pytest.raises(LabError, match=r"cannot be written to .* set UNDAUNTED_CACHE"),
        exclusive(tmp_path / "no" / "x"),
    ):
        pytest.fail("a lock that cannot be written was held")


def test_processes_make_a_thing_once(tmp_path):
    """Each looks, finds nothing, and makes it; with the lock all but one find what the first has made."""
    code = """
        import sys
        from pathlib import Path
        from undaunted.lab.cache import exclusive
        place = Path(sys.argv[1])
        sys.stdin.readline()
        with exclusive(place / "lock"):
            if not (place / "thing").exists():
                print("made")
                sys.stdout.flush()
                (place / "thing").write_text("")
    """
    argv = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    processes = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate("go\n", timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(told) == ["", "", "made\n"]


def test_a_lock_that_is_held_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("undaunted.lab.cache._LOCK_TIMEOUT_S", 0.2)
    with (
        exclusive(tmp_path / "lock"),
        pytest.raises(LabError, match=r"has held .*lock for ten minutes; is one frozen?"),
        exclusive(tmp_path / "lock"),
    ):
        pytest.fail("a lock was held twice")
