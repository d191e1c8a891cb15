"""The event loop that coroutines of several slots share."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from snakepit._loop_thread import LoopThread
from snakepit._native import Cancelled, CurrentCall

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="")


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    loop = LoopThread()
    yield loop
    loop.close()


def a_call(timeout: float | None = None) -> CurrentCall:
    return CurrentCall.local("tool", lambda _done, _total, _message: None, timeout=timeout)


def test_coroutines_of_several_threads_run_side_by_side_in_their_contexts(
    loop: LoopThread,
) -> None:
    arrived: list[str] = []
    everybody = asyncio.Event()

    async def meet() -> str:
        arrived.append(MARK.get())
        if len(arrived) == 3:
            everybody.set()
        await asyncio.wait_for(everybody.wait(), 30)
        return threading.current_thread().name

    def one(mark: str) -> str:
        context = contextvars.copy_context()
        context.run(MARK.set, mark)
        return loop.run(meet(), context)

    with ThreadPoolExecutor(3) as threads:
        assert set(threads.map(one, "abc")) == {"snakepit-loop"}
    assert sorted(arrived) == ["a", "b", "c"]


def test_a_coroutine_that_exits_fails_its_own_caller_and_no_other(loop: LoopThread) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    async def stay() -> str:
        await asyncio.sleep(0)
        return "here"

    with pytest.raises(SystemExit):
        loop.run(leave())
    assert loop.run(stay()) == "here"


def test_a_call_ends_its_coroutine_with_its_deadline(loop: LoopThread) -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Cancelled):
        loop.run(wait(), None, a_call(timeout=0.01))
    cancelled = a_call()
    cancelled.cancel()
    with pytest.raises(Cancelled):
        loop.run(wait(), None, cancelled)


def test_what_a_tool_leaves_behind_ends_with_the_loop() -> None:
    ended = threading.Event()

    async def linger() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    left: list[asyncio.Task[None]] = []

    async def leave_behind() -> None:
        left.append(asyncio.create_task(linger()))
        await asyncio.sleep(0)

    loop = LoopThread()
    loop.run(leave_behind())
    assert not ended.is_set()
    loop.close()
    assert ended.is_set()
