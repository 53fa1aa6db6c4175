"""Tokens: written and read, joined, and what a thread or task remembers of its commits."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import threading
import time

import pytest

from undaunted.sqlalchemy.tokens import LAST, Commit, Token, note_commit, reading_own_writes


def test_a_token_is_read_back_as_it_was_written() -> None:
    token = Token(3, (0x16 << 32) + 0xB374D848)
    assert str(token) == "3-16B374D848"
    assert Token.parse(str(token)) == token
    assert pickle.loads(pickle.dumps(token)) == token


@pytest.mark.parametrize("text", ["", "3", "x-10", "1-", "-10", "1-10 ", "1-G0", "1-16/B374D848", "9" * 40])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no token; pass on what str\(session.token\(\)\) gave"):
        Token.parse(text)


def test_tokens_are_in_the_order_of_the_log() -> None:
    assert sorted([Token(2, 10), Token(1, 90), Token(1, 20)]) == [Token(1, 20), Token(1, 90), Token(2, 10)]


def test_joined_is_behind_neither() -> None:
    assert Token(1, 90).joined(Token(2, 50)) == Token(2, 90)
    assert Token(1, 90).joined(None) == Token(1, 90)


class Moving:
    """A primary whose log grows with each look."""

    def __init__(self, first_s: float) -> None:
        self.first_s = first_s
        self.lsn = 100

    def token_since(self, committed_s: float) -> Token | None:
        self.lsn += 100
        return Token(1, self.lsn) if committed_s <= self.first_s else None


def test_the_first_position_behind_a_commit_is_kept() -> None:
    """A later one is farther ahead, and under load a replica would never be there."""
    cluster = Moving(first_s=10.0)
    commit = Commit(9.0)
    assert commit.position(cluster) == Token(1, 200)  # type: ignore[arg-type]
    assert commit.position(cluster) == Token(1, 200)  # type: ignore[arg-type]
    assert Commit(11.0).position(cluster) is None  # type: ignore[arg-type]


def test_each_thread_and_task_remembers_its_own_commits() -> None:
    def commits() -> None:
        before_s = time.monotonic()
        note_commit("ledger")
        assert before_s <= LAST.get()["ledger"].at_s <= time.monotonic()

    async def commits_too() -> None:
        commits()

    async def tasks() -> None:
        await asyncio.create_task(commits_too())
        assert LAST.get() == {}
        await commits_too()
        note_commit("other")
        assert set(LAST.get()) == {"ledger", "other"}

    def test() -> None:
        contextvars.copy_context().run(commits)
        thread = threading.Thread(target=commits)
        thread.start()
        thread.join()
        assert LAST.get() == {}
        asyncio.run(tasks())
        assert LAST.get() == {}

    contextvars.Context().run(test)


def test_a_request_shares_what_its_tasks_and_threads_commit() -> None:
    async def commits(cluster: str) -> None:
        note_commit(cluster)

    async def request() -> None:
        note_commit("before")
        with reading_own_writes():
            await asyncio.gather(commits("one"), commits("two"))
            await asyncio.to_thread(note_commit, "thread")
            assert set(LAST.get()) == {"before", "one", "two", "thread"}
        assert set(LAST.get()) == {"before"}

    async def requests() -> None:
        await asyncio.gather(request(), request())
        assert LAST.get() == {}

    contextvars.Context().run(asyncio.run, requests())
