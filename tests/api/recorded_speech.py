"""An API whose workers answer with recorded speech, in which a watermark can be found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api_support import RATE, Api, ToneWorkers, eventually, make_voice, running
from bundled_speech import RATE as SPEECH_RATE
from bundled_speech import piece

from core.jobs.queue import AsyncQueue
from core.records import Records
from core.settings import Settings


@asynccontextmanager
async def recorded_speech(settings: Settings, queue: AsyncQueue, records: Records) -> AsyncIterator[Api]:
    """Yield an API that has the voice Allison; every speech is a part of the same recording."""
    assert RATE == SPEECH_RATE
    await make_voice(records, "Allison")
    workers = ToneWorkers(settings)
    workers.speech = lambda seconds: (piece(10.0, 6.0) * 32767).astype("<i2").tobytes()
    workers.start()
    try:
        async with running(settings) as api:
            await eventually(lambda: _has_workers(queue))
            yield api
    finally:
        await asyncio.to_thread(workers.stop)


async def _has_workers(queue: AsyncQueue) -> bool:
    return len(await queue.workers()) == 2
