from __future__ import annotations

import pytest

from undaunted.core.durations import seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("50ms", 0.05), ("5s", 5.0), ("2m", 120.0), ("1h", 3600.0), ("1.5s", 1.5), ("0.5m", 30.0),
        (" 5 s ", 5.0), ("5S", 5.0), ("250MS", 0.25), ("7", 7.0), ("0s", 0.0), (0, 0.0), (3, 3.0), (0.25, 0.25),
    ],
)  # fmt: skip
def test_durations_are_read_as_seconds(value: object, expected: float) -> None:
    assert seconds(value) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (True, "True is not a duration"),
        (False, "False is not a duration"),
        (None, "None is not a duration"),
        ([], "a list is not a duration"),
        ({"password": "secret"}, "a dict is not a duration"),
        ("", "an empty string"),
        ("   ", "an empty string"),
        (-1, "-1 is negative"),
        (-0.5, "-0.5 is negative"),
        ("-5s", "'-5s' is negative"),
        ("- 5 s", "is negative"),
        (float("nan"), "not a finite"),
        (float("inf"), "not a finite"),
        ("9" * 400 + "s", "not a finite"),
        (10**400, "not a finite"),
        ("nan", "'nan' is not a duration"),
        ("inf", "'inf' is not a duration"),
        ("5 parsecs", "'parsecs' in '5 parsecs' is not a unit"),
        ("5d", "'d' in '5d' is not a unit"),
        ("s", "'s' is not a duration"),
        ("5s5s", "is not a duration"),
        ("1e3s", "is not a duration"),
        ("\u0665s", "is not a duration"),
        ("--5s", "is not a duration"),
    ],
)
def test_what_is_no_duration_is_refused_with_what_was_found(value: object, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        seconds(value)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_the_error_names_the_units() -> None:
    with pytest.raises(ValueError, match="ms, s, m, h"):
        seconds("5 days")
