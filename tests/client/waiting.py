"""The asynchronous client behind the synchronous one's face."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

from instanter.client import AsyncClient, RetryPolicy

NO_PAUSE = RetryPolicy(pause_s_first=0.001, pause_s_max=0.001)


class Waiting:
    """Waits for every call of an asynchronous client, to run one test on both clients."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = self._run(self._make(*arguments, **options))

    async def _make(self, *arguments: Any, **options: Any) -> AsyncClient:
        return AsyncClient(*arguments, **options)

    def _run(self, awaited: Any) -> Any:
        return self._loop.run_until_complete(awaited)

    def __enter__(self) -> "Waiting":
        self._run(self._client.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._run(self._client.__aexit__(*error))
        self._loop.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        async def collect(source: AsyncIterator[Any]) -> list[Any]:
            return [each async for each in source]

        def call(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            if inspect.isasyncgen(result):
                return iter(self._run(collect(result)))
            return self._run(result)

        return call
