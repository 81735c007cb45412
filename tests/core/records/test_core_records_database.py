"""The database: migrations that may run at once, and writers that never find it locked."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from core.errors import InvalidRequest, RecordsUnavailable
from core.records import ExperimentRecord, ExperimentStatus, Records, upgrade
from core.records.batching import CallBatcher
from core.records.database import Database
from core.records.database_url import with_async_driver
from core.records.tables import metadata


@pytest.fixture
def url(new_database_url: str) -> str:
    return new_database_url


@pytest.fixture
def experiment_record() -> ExperimentRecord:
    return ExperimentRecord(
        id="exp-1",
        exp_name="bob",
        version="nano",
        language="en",
        gpu_numbers="0",
        is_half=True,
        audio_file_id=None,
        task_id=None,
        priority=5,
        parameters={"asr": {"language": "en"}},
        status=ExperimentStatus.CREATED,
        voice_id=None,
        created_at=1.0,
        updated_at=1.0,
    )


def run_at_once(url: str, program: str, processes: int) -> list[subprocess.CompletedProcess[str]]:
    """Start the program in several processes, let them go at the same moment, and wait."""
    gate = "import sys; url = sys.argv[1]; number = sys.argv[2]\n"
    gate += "from core.records import NewFileRecord, Records, upgrade\n"
    gate += "import asyncio; print('ready', flush=True); sys.stdin.read(1)\n"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", gate + program, url, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    results = []
    for child in children:
        assert child.stdin is not None
        child.stdin.write("g")
        child.stdin.flush()
    for child in children:
        out, err = child.communicate(timeout=250)
        results.append(subprocess.CompletedProcess(child.args, child.returncode, out, err))
    return results


async def test_migrations_make_the_tables_that_the_models_describe(url):
    upgrade(url)

    database = Database(url)
    async with database.read() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
        )
    await database.close()
    assert differences == []


async def test_migrating_twice_is_harmless(url):
    upgrade(url)

    upgrade(url)

    database = Database(url)
    async with database.read() as connection:
        assert (await connection.exec_driver_sql("SELECT count(*) FROM alembic_version")).scalar() == 1
    await database.close()


async def test_migrating_works_beside_a_running_loop(url):
    upgrade(url)

    await asyncio.to_thread(upgrade, url)


def test_a_database_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "records.sqlite3").mkdir()

    with pytest.raises(RecordsUnavailable, match=r"records\.sqlite3 cannot be opened"):
        upgrade(f"sqlite+aiosqlite:///{tmp_path}/records.sqlite3")


def test_threads_that_migrate_at_once_all_succeed(url):
    failures: list[BaseException] = []

    def work() -> None:
        try:
            upgrade(url)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_processes_that_migrate_at_once_all_succeed(url):
    results = run_at_once(url, "upgrade(url)", processes=3)

    assert [(result.returncode, result.stderr) for result in results] == [(0, "")] * 3


async def test_the_database_waits_for_writers_and_checks_references(tmp_path):
    url = f"sqlite+aiosqlite:///{tmp_path}/records.sqlite3"
    upgrade(url)
    records = Records(url)

    for engine in (records.database.writer, records.database.reader):
        async with engine.connect() as connection:
            answers = [
                (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "busy_timeout", "foreign_keys", "synchronous")
            ]
        assert answers == ["wal", 10_000, 1, 1]
    await records.close()


WRITER = """
async def main():
    records = Records(url)
    for count in range(60):
        file_id = f"file-{number}-{count}"
        file = NewFileRecord(id=file_id, filename="a", purpose="p", size_bytes=1, sha256="0" * 64)
        await records.files.create(file)
        async with records.experiments.transaction("exp-1") as change:
            change.set_experiment(priority=change.experiment.priority + 1)
    await records.close()
asyncio.run(main())
"""


async def test_processes_that_write_at_once_lose_nothing(url, experiment_record):
    upgrade(url)
    records = Records(url)
    await records.experiments.create(experiment_record)

    results = await asyncio.to_thread(run_at_once, url, WRITER, 3)

    assert [(result.returncode, result.stderr) for result in results] == [(0, "")] * 3
    assert (await records.files.page(limit=1)).total == 180
    assert (await records.experiments.get("exp-1")).priority == experiment_record.priority + 180
    await records.close()


async def test_engines_of_one_loop_that_write_at_once_lose_nothing(url, experiment_record):
    upgrade(url)
    first, second = Records(url), Records(url)
    await first.experiments.create(experiment_record)

    async def count_up(records: Records) -> None:
        for _ in range(20):
            async with records.experiments.transaction("exp-1") as change:
                change.set_experiment(priority=change.experiment.priority + 1)

    await asyncio.gather(*(count_up(records) for records in (first, second, first, second)))

    assert (await second.experiments.get("exp-1")).priority == experiment_record.priority + 80
    await first.close()
    await second.close()


async def test_an_exception_inside_a_change_undoes_it(url, experiment_record):
    upgrade(url)
    records = Records(url)
    await records.experiments.create(experiment_record)

    async def change_and_fail() -> None:
        async with records.experiments.transaction("exp-1") as change:
            change.set_experiment(exp_name="changed")
            change.set_stage("convert", message="changed")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await change_and_fail()

    assert await records.experiments.get("exp-1") == experiment_record
    assert (await records.stages.get("exp-1", "convert")).message == ""
    await records.close()


async def test_readers_do_not_wait_for_a_writer(url, experiment_record):
    upgrade(url)
    records = Records(url)
    await records.experiments.create(experiment_record)

    async with records.experiments.transaction("exp-1") as change:
        change.set_experiment(exp_name="changed")
        seen = await asyncio.wait_for(records.experiments.get("exp-1"), timeout=5)

    assert seen.exp_name == experiment_record.exp_name
    assert (await records.experiments.get("exp-1")).exp_name == "changed"
    await records.close()


async def test_more_callers_than_connections_wait_for_their_turn(url, experiment_record):
    upgrade(url)
    records = Records(url)
    await records.experiments.create(experiment_record)

    experiment = await asyncio.gather(*(records.experiments.get("exp-1") for _ in range(200)))

    assert experiment == [experiment_record] * 200
    await records.close()


SLOW_QUERY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT max(i) FROM n"


async def test_a_read_of_a_client_that_left_returns_its_connection(url):
    upgrade(url)
    database, begun = Database(url), asyncio.Event()

    async def read() -> None:
        async with database.read() as connection:
            await connection.exec_driver_sql("SELECT 1")
            begun.set()
            await connection.exec_driver_sql(SLOW_QUERY)

    async with anyio.create_task_group() as response:  # as the framework sends one
        response.start_soon(read)
        await begun.wait()
        response.cancel_scope.cancel()

    assert database.reader.sync_engine.pool.checkedin() == 1  # type: ignore[attr-defined]
    await database.close()


async def test_connections_that_the_server_ended_are_made_anew(postgres, experiment_record):
    records = Records(postgres.migrated_database())
    await records.experiments.create(experiment_record)

    postgres.end_connections()

    assert await records.experiments.get("exp-1") == experiment_record
    await records.close()


async def test_a_server_that_is_not_there_is_named_in_a_sentence():
    records = Records("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")

    with pytest.raises(RecordsUnavailable, match="cannot be reached"):
        await records.experiments.get("exp-1")
    await records.close()


async def test_a_text_that_postgresql_cannot_hold_is_the_askers_mistake(postgres):
    records = Records(postgres.migrated_database())

    with pytest.raises(InvalidRequest, match="cannot be stored"):
        await records.files.get("file-\x00")
    await records.close()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("postgres://me:secret@host/voices", "postgresql+asyncpg://me:secret@host/voices"),
        ("postgresql://host/voices?sslmode=require", "postgresql+asyncpg://host/voices?ssl=require"),
        ("sqlite:////data/records.sqlite3", "sqlite+aiosqlite:////data/records.sqlite3"),
    ],
)
def test_addresses_of_other_programs_are_understood(written, meant):
    assert with_async_driver(written).render_as_string(hide_password=False) == meant


@pytest.mark.parametrize("address", ["mysql://host/voices", "voices", "oracle+x://h"])
def test_addresses_of_unknown_databases_are_refused(address):
    with pytest.raises(RecordsUnavailable, match="no database that is known"):
        Records(address)


async def test_calls_that_wait_together_share_a_trip():
    batches: list[list[int]] = []
    first_may_end = asyncio.Event()

    async def double(items: list[int]) -> list[int | Exception]:
        batches.append(items)
        if len(batches) == 1:
            await first_may_end.wait()
        return [item * 2 for item in items]

    gathering = CallBatcher(double, limit=3)
    calls = [asyncio.create_task(gathering(number)) for number in range(1)]
    await asyncio.sleep(0)
    calls += [asyncio.create_task(gathering(number)) for number in range(1, 6)]
    await asyncio.sleep(0)
    first_may_end.set()

    assert await asyncio.gather(*calls) == [0, 2, 4, 6, 8, 10]
    assert batches == [[0], [1, 2, 3], [4, 5]]


async def test_one_callers_error_is_not_the_others():
    async def halve(items: list[int]) -> list[int | Exception]:
        return [item // 2 if item % 2 == 0 else ValueError(item) for item in items]

    gathering = CallBatcher(halve)

    assert await gathering(4) == 2
    with pytest.raises(ValueError, match="3"):
        await gathering(3)


async def test_a_failed_trip_fails_those_on_it_and_the_next_one_goes():
    trips = 0

    async def fail_once(items: list[int]) -> list[int | Exception]:
        nonlocal trips
        trips += 1
        if trips == 1:
            raise ConnectionError("gone")
        return list(items)

    gathering = CallBatcher(fail_once)
    with pytest.raises(ConnectionError):
        await gathering(1)

    assert await gathering(2) == 2


async def test_a_caller_that_goes_away_does_not_disturb_the_others():
    may_end = asyncio.Event()

    async def wait(items: list[int]) -> list[int | Exception]:
        await may_end.wait()
        return list(items)

    gathering = CallBatcher(wait)
    leaving, staying = asyncio.create_task(gathering(1)), asyncio.create_task(gathering(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    may_end.set()

    assert await staying == 2
    assert leaving.cancelled()
