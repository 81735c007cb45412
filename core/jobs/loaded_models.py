"""What the synthesizers of all hosts have in memory, as they report it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

import orjson

from core.jobs.queue import AsyncQueue
from core.jobs.transport import AnyTransport, RedisCommands, command
from core.jobs.worker_process import process_of


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A voice, a prompt or a network around them in the memory of a worker process."""

    worker: str
    """The id of the process."""
    host: str
    device: str
    kind: str
    """`voice`, `prompt`, `prompt encoder` or `helper`."""
    name: str
    megabytes: float
    checkpoints: tuple[str, ...] = ()
    """A voice's GPT and SoVITS checkpoints."""


class LoadedModelReports(RedisCommands[AnyTransport]):
    """What synthesizers report, and the API and the queue read."""

    @command
    async def report(self, worker: str, models: Sequence[LoadedModel]) -> None:
        """Replace what a worker process reported."""
        document = orjson.dumps([asdict(model) for model in models])
        await self._send("HSET", self.key("loaded_models"), worker, document)

    @command
    async def forget(self, worker: str) -> None:
        """Remove what a worker process reported: it ends."""
        await self._send("HDEL", self.key("loaded_models"), worker)

    @command
    async def loaded(self, workers: Collection[str]) -> list[LoadedModel]:
        """Return what these worker processes have in memory, and forget the reports of all others, which have ended."""
        key = self.key("loaded_models")
        fields = await self._send("HGETALL", key)
        pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
        documents = {_text(worker): document for worker, document in pairs}
        if ended := [worker for worker in documents if worker not in workers]:
            await self._send("HDEL", key, *ended)
        return [
            LoadedModel(**(values | {"checkpoints": tuple(values["checkpoints"])}))
            for worker in sorted(documents)
            if worker in workers
            for values in orjson.loads(documents[worker])
        ]


async def loaded_models(queue: AsyncQueue) -> list[LoadedModel]:
    """Return what the worker processes that are registered have in memory."""
    processes = {process_of(worker.id) for worker in await queue.workers()}
    return await LoadedModelReports(queue.transport, queue.prefix).loaded(processes)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
