"""Brings the keyspaces of a cluster to what the settings say: reads what is there, plans, and applies the plan.

`plan` is pure: wanted keyspaces and the state that was read give steps, the repairs that they need, and the sentences
that say why not. `survey` reads the state and changes nothing; `apply` takes the steps. May import `undaunted.config`,
`undaunted.core`, `undaunted.errors`, the driver's arguments from `undaunted.cassandra.driver`, and cassandra-driver.
"""

from __future__ import annotations

from undaunted.cassandra.provision.access import Access, ProvisionError
from undaunted.cassandra.provision.apply import apply
from undaunted.cassandra.provision.plan import Plan, plan
from undaunted.cassandra.provision.state import State, Wanted
from undaunted.cassandra.provision.survey import survey
from undaunted.cassandra.provision.wanted import wanted_of

__all__ = ["Access", "Plan", "ProvisionError", "State", "Wanted", "apply", "plan", "survey", "wanted_of"]
