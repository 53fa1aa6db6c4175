"""The state directory: labs that live are found, what dead ones left is removed."""

from __future__ import annotations

import fcntl
import json
import os
import stat

import pytest

from undaunted.lab import LabError
from undaunted.lab.home import home, locked, running, write_record


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDAUNTED_LAB_HOME", str(tmp_path / "labs"))
    return home()


def test_only_its_user_may_read_the_home(place):
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    place.chmod(0o755)
    assert stat.S_IMODE(home().stat().st_mode) == 0o700


def test_a_home_that_is_a_link_is_refused(place, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(place)
    monkeypatch.setenv("UNDAUNTED_LAB_HOME", str(link))
    with pytest.raises(LabError, match="belongs to another user or is a link"):
        home()


def test_a_home_that_cannot_be_made_names_the_setting(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("UNDAUNTED_LAB_HOME", str(tmp_path / "file" / "labs"))
    with pytest.raises(LabError, match="set UNDAUNTED_LAB_HOME to one that can"):
        home()


def test_a_lab_lives_as_long_as_its_lock_is_held(place):
    lab = place / "shop"
    lab.mkdir()
    write_record(lab, {"backend": "mongodb", "nodes": []})
    handle = os.open(lab / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with locked(place):
        assert running(place) == {"shop": {"backend": "mongodb", "nodes": []}}
    os.close(handle)
    with locked(place):
        assert running(place) == {}
    assert not lab.exists()


def test_what_a_dead_lab_left_on_a_ram_disk_goes_with_it(place, tmp_path):
    data = tmp_path / "ram"
    data.mkdir()
    (place / "shop").mkdir()
    (place / "shop" / "ram").symlink_to(data)
    with locked(place):
        assert running(place) == {}
    assert not data.exists()
    assert not (place / "shop").exists()


def test_a_lab_without_a_lock_file_is_stale(place):
    (place / "half").mkdir()
    with locked(place):
        assert running(place) == {}
    assert not (place / "half").exists()


def test_a_record_is_private_and_replaced_whole(place):
    lab = place / "shop"
    lab.mkdir()
    write_record(lab, {"a": 1})
    write_record(lab, {"a": 2})
    assert json.loads((lab / "lab.json").read_text()) == {"a": 2}
    assert stat.S_IMODE((lab / "lab.json").stat().st_mode) == 0o600
    assert [path.name for path in lab.iterdir()] == ["lab.json"]
