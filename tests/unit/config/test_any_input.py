"""Whatever stands in the settings: they load, or one ConfigurationError says why."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from undaunted.config import load
from undaunted.config.schema import BACKENDS, Settings, cluster_class
from undaunted.config.structure import infos
from undaunted.errors import ConfigurationError, Problem

WORDS = sorted(
    {*infos(Settings), *BACKENDS, *(key for backend in BACKENDS for key in infos(cluster_class(backend)))}
    | {"env", "file", "a.b", "orders", "", "members", "directConnection", "username", "password", "5s", "mongodb://a,b"}
)
WORD = st.sampled_from(WORDS)
SCALAR = st.one_of(
    WORD, st.text(max_size=5), st.integers(), st.floats(), st.booleans(), st.none(), st.binary(max_size=2)
)
TREE = st.recursive(
    SCALAR,
    lambda below: st.one_of(st.dictionaries(WORD, below, max_size=5), st.lists(below, max_size=3)),
    max_leaves=25,
)
CLUSTER = st.fixed_dictionaries(
    {"backend": st.sampled_from(sorted(BACKENDS)), "nodes": st.one_of(TREE, st.lists(WORD))},
    optional={key: TREE for key in WORDS if key not in ("backend", "nodes")},
)


@settings(deadline=None, max_examples=50)
@given(st.one_of(st.dictionaries(WORD, TREE), st.fixed_dictionaries({"clusters": st.dictionaries(WORD, CLUSTER)})))
def test_anything_loads_or_is_a_configuration_error(source: dict[str, Any]) -> None:
    problems: tuple[Problem, ...] = ()
    loaded = None
    try:
        loaded = load(source, environ={"a": "b"})
    except ConfigurationError as error:
        problems = error.problems
    assert (loaded is None) == bool(problems)
    assert all(problem.message for problem in problems)
    for name in loaded.settings.clusters if loaded else ():
        assert loaded is not None
        assert loaded.settings.policy_for(name).deadline_s > 0
