"""Records of where audio came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import NotFound
from core.ids import new_id
from core.records.models.page import Page
from core.records.models.provenance import NewProvenance, ProvenanceRecord
from core.records.queries import as_values, fetch_all, fetch_page, visible
from core.records.repositories.repository import Repository
from core.records.tables import checkpoints, provenance, voices

NEWEST = 10


class ProvenanceRepository(Repository):
    """Records of speech, each of whoever spoke it."""

    async def add(self, speeches: Sequence[NewProvenance], *, keep_text: bool = False) -> None:
        """Record speeches that have ended. `keep_text`: else only the text's SHA-256 is kept."""
        if not speeches:
            return
        async with self._database.write() as connection:
            records = [await _record(connection, speech, keep_text=keep_text) for speech in speeches]
            await connection.execute(insert(provenance), [as_values(record) for record in records])

    async def of_request(self, request_id: str) -> list[ProvenanceRecord]:
        """Return what a request spoke, oldest first, or the record of that id; raise NotFound."""
        async with self._database.read() as connection:
            where = (provenance.c.request_id == request_id) | (provenance.c.id == request_id)
            records = await fetch_all(connection, provenance, ProvenanceRecord, where, order_by=provenance.c.id)
        if not records:
            raise NotFound(
                f"There is no record of the speech {request_id!r}.", hint="Records are kept for PROVENANCE_DAYS."
            )
        return records

    async def page(self, limit: int, offset: int, *, mark_id: int | None = None) -> Page[ProvenanceRecord]:
        """Return a page of records, newest first; `mark_id`: only of that watermark."""
        where = () if mark_id is None else (provenance.c.mark_id == mark_id,)
        async with self._database.read() as connection:
            return await fetch_page(connection, provenance, ProvenanceRecord, limit, offset, *where)

    async def newest_with_mark(self, mark_id: int) -> list[tuple[str, float]]:
        """Return request and time of the newest speeches with a watermark, of everybody: it says no more than that."""
        query = select(provenance.c.request_id, provenance.c.time).where(provenance.c.mark_id == mark_id)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(provenance.c.id.desc()).limit(NEWEST))).all()
        return [(row.request_id, row.time) for row in rows]

    async def delete(self, request_id: str) -> int:
        """Delete the records of a request that the caller may see; return how many. Raise NotFound for none."""
        async with self._database.write() as connection:
            where = (provenance.c.request_id == request_id) | (provenance.c.id == request_id)
            count = (await connection.execute(delete(provenance).where(where, *visible(provenance)))).rowcount
        if not count:
            raise NotFound(f"There is no record of the speech {request_id!r}.", hint="It may be deleted already.")
        return count

    async def delete_before(self, time: float) -> int:
        """Delete what was spoken before a time and return how many records."""
        async with self._database.write() as connection:
            return (await connection.execute(delete(provenance).where(provenance.c.time < time))).rowcount


async def _record(connection: AsyncConnection, speech: NewProvenance, *, keep_text: bool) -> ProvenanceRecord:
    query = select(voices.c.name, voices.c.gpt_checkpoint_id, voices.c.sovits_checkpoint_id)
    voice = (await connection.execute(query.where(voices.c.id == speech.voice_id))).first()
    gpt_id = speech.gpt_checkpoint_id or (voice.gpt_checkpoint_id if voice is not None else "")
    sovits_id = speech.sovits_checkpoint_id or (voice.sovits_checkpoint_id if voice is not None else "")
    checksums = await _checksums(connection, (gpt_id, sovits_id))
    return ProvenanceRecord(
        id=new_id("prov"),
        request_id=speech.request_id,
        mark_id=speech.mark_id,
        time=speech.time,
        seconds=speech.seconds,
        voice_id=speech.voice_id,
        voice_name=voice.name if voice is not None else "",
        gpt_sha256=checksums.get(gpt_id, ""),
        sovits_sha256=checksums.get(sovits_id, ""),
        key_id=speech.key_id,
        text_sha256=hashlib.sha256(speech.text.encode("utf-8", "surrogatepass")).hexdigest(),
        text=speech.text if keep_text else "",
        owner=speech.owner,
    )


async def _checksums(connection: AsyncConnection, ids: Iterable[str]) -> dict[str, str]:
    query = select(checkpoints.c.id, checkpoints.c.sha256).where(checkpoints.c.id.in_(sorted(set(ids))))
    return {row.id: row.sha256 for row in (await connection.execute(query)).all()}
