"""What the contract of the engines is tested with: one `Bench` for both, with virtual time and scripted errors."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from undaunted import errors
from undaunted.core.attempt import Failure
from undaunted.core.budget import Budget
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind, Operation
from undaunted.core.outage import Outage
from undaunted.core.policy import BudgetPolicy, Policy
from undaunted.engine import aio, sync
from undaunted.engine.aiosteps import AsyncSteps
from undaunted.engine.guard import ErrorClasses, Guard
from undaunted.engine.steps import Steps
from undaunted.testing.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from undaunted.engine.call import Call
    from undaunted.events import Event

pytest.register_assert_rewrite("tests.contract.backends.suite")


class DriverError(Exception):
    """An error of a driver that says what it means."""

    def __init__(self, fault: Fault, code: int | None = None, *, counted: bool = True, cost: float = 1.0) -> None:
        super().__init__(f"the value of a user: secret-{fault.value}")
        self.fault = fault
        self.code = code
        self.counted = counted
        self.cost = cost


CLASSES = ErrorClasses(
    outcome_unknown=errors.OutcomeUnknown,
    deadline_exceeded=errors.DeadlineExceeded,
    no_node_available=errors.NoNodeAvailable,
    budget_exhausted=errors.BudgetExhausted,
    exhausted=errors.Exhausted,
)


def classify(error: Exception, call: Call) -> Failure:
    if isinstance(error, DriverError):
        return Failure(fault=error.fault, node=call.node, counted=error.counted, cost=error.cost)
    return Failure(fault=Fault.PERMANENT, node=call.node)


class Bench:
    """A cluster whose operations fail as a script says. `run` hides which engine it is."""

    read = Operation(name="find", kind=Kind.READ)
    write = Operation(name="insert", kind=Kind.WRITE)
    idempotent = Operation(name="update", kind=Kind.WRITE, idempotent=True)
    patient = Operation(name="insert", kind=Kind.WRITE, idempotent=True, patient=True)
    settleable = Operation(name="commit", kind=Kind.UNIT_OF_WORK, settleable=True)
    unit = Operation(name="transaction", kind=Kind.UNIT_OF_WORK)

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.is_async = engine.startswith("aio")
        self.clock = VirtualClock(1000.0)
        self.events: list[Event] = []
        self.waits: list[float] = []
        self.random = random.Random(7)
        self.guard = Guard(
            cluster="orders",
            backend="scripted",
            policy=Policy(),
            budget=Budget(BudgetPolicy(), self.clock),
            outage=Outage(self.clock),
            classify=classify,
            errors=CLASSES,
            clock=self.clock,
            chance=self.random.random,
            sleep=self.sleep,
            async_sleep=self.async_sleep,
            publish=self.events.append,
        )

    def sleep(self, for_s: float) -> None:
        self.waits.append(for_s)
        self.clock.advance(for_s)

    async def async_sleep(self, for_s: float) -> None:
        self.sleep(for_s)
        await asyncio.sleep(0)

    def run(
        self,
        operation: Operation,
        body: Callable[[Call], Any],
        *,
        policy: Policy | None = None,
        guard: Guard | None = None,
    ) -> Any:
        """Run a sync body on whichever engine this is."""
        if not self.is_async:
            return self.run_here(guard or self.guard, operation, body, policy=policy)

        async def awaited(call: Call) -> Any:
            await asyncio.sleep(0)
            return body(call)

        return asyncio.run(self.run_awaited(guard or self.guard, operation, awaited, policy=policy))

    def run_here(
        self, guard: Guard, operation: Operation, body: Callable[[Call], Any], *, policy: Policy | None = None
    ) -> Any:
        """Run a sync body on the sync engine that this is."""
        if self.engine == "sync":
            return sync.run(guard, operation, body, policy=policy)
        value = None
        steps = Steps(guard, operation, nullcontext, policy=policy)
        for step in steps:
            with step as call:
                value = body(call)
        return value if steps.answer is None else steps.answer

    async def run_awaited(
        self, guard: Guard, operation: Operation, body: Callable[[Call], Any], *, policy: Policy | None = None
    ) -> Any:
        """Run an async body on the async engine that this is."""
        if self.engine == "aio":
            return await aio.run(guard, operation, body, policy=policy)
        value = None
        steps = AsyncSteps(guard, operation, awaited_context, policy=policy)
        async for step in steps:
            async with step as call:
                value = await body(call)
        return value if steps.answer is None else steps.answer

    def script(self, *steps: Any, takes_s: float = 0.0) -> Script:
        return Script(self, steps, takes_s)

    def named(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


class Script:
    """A body whose attempts fail or return in turn; the last step repeats."""

    def __init__(self, bench: Bench, steps: tuple[Any, ...], takes_s: float) -> None:
        self.bench = bench
        self.steps = steps
        self.takes_s = takes_s
        self.ran = 0
        self.started_s: list[float] = []

    def __call__(self, call: Call) -> Any:
        assert (call.node, call.sent) == (None, False)
        step = self.steps[min(self.ran, len(self.steps) - 1)]
        self.ran += 1
        self.started_s.append(self.bench.clock.monotonic())
        call.node = f"n{self.ran}:1"
        call.sent = True
        self.bench.clock.advance(self.takes_s)
        if isinstance(step, Fault):
            raise DriverError(step)
        if isinstance(step, BaseException):
            raise step
        return step


@asynccontextmanager
async def awaited_context(call: Call) -> AsyncIterator[Call]:
    await asyncio.sleep(0)
    yield call


@pytest.fixture(params=["sync", "aio", "steps", "aiosteps"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(request.param)


@pytest.fixture
def driver_error() -> type[DriverError]:
    return DriverError
