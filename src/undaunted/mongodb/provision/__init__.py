"""Brings a replica set to what the settings say: reads its state, plans steps, and takes them when told to.

`plan` is pure: wanted members and the state that was read give a list of steps, or the sentences that say why not.
`survey` reads the state and changes nothing; `apply` takes the steps. May import `undaunted.config`, `undaunted.core`,
`undaunted.errors`, the connection's arguments from `undaunted.mongodb.connection`, and pymongo.
"""

from __future__ import annotations

from undaunted.mongodb.provision.access import Access, ProvisionError
from undaunted.mongodb.provision.apply import apply
from undaunted.mongodb.provision.plan import Plan, plan
from undaunted.mongodb.provision.state import State, Wanted
from undaunted.mongodb.provision.survey import survey
from undaunted.mongodb.provision.wanted import wanted_of

__all__ = ["Access", "Plan", "ProvisionError", "State", "Wanted", "apply", "plan", "survey", "wanted_of"]
