"""Webhooks: written down with the end they tell of, signed, tried again, sent by one sender, and to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from manual_clock import ManualClock
from webhook_receiver import is_signed, receiving

from core.encryption import SecretBox
from core.errors import Conflict, ForbiddenAddress, InvalidParameter, InvalidRequest, NotFound
from core.experiments.new_records import first_run, new_experiment, new_task
from core.experiments.requests import TaskRequest
from core.experiments.sources import ExperimentSource
from core.logs import CHATTY
from core.net.fetch import Fetcher
from core.records import (
    DeliveryAttempt,
    DeliveryRecord,
    DeliveryStatus,
    ExperimentRecord,
    NewFileRecord,
    NewTaskRecords,
    Records,
    TaskStatus,
)
from core.records.repositories.webhooks import MAX_WEBHOOKS
from core.signing import key_of, new_secret
from core.stages.status import StageStatus
from core.webhooks import RETRY_SECONDS, TASK_EVENTS, WebhookSender, WebhookService
from core.webhooks.sender import CLAIM_SECONDS, JITTER, MAX_CONCURRENT_PER_URL

SECRET = "whsec_" + "A" * 44


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def records(database_url: str, clock: ManualClock) -> AsyncIterator[Records]:
    records = Records(database_url, clock=clock)
    await records.files.create(
        NewFileRecord(id="file-1", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
    )
    yield records
    await records.close()


@pytest.fixture
def fetcher() -> Fetcher:
    return Fetcher(max_bytes=0, timeout_seconds=10, allowed_hosts=["127.0.0.1"])


@pytest.fixture
def secret_box(tmp_path: Path) -> SecretBox:
    return SecretBox(tmp_path / "secrets.key")


@pytest.fixture
async def sender(
    records: Records, fetcher: Fetcher, clock: ManualClock, secret_box: SecretBox
) -> AsyncIterator[WebhookSender]:
    sender = WebhookSender(records, fetcher, secret_box, SECRET, clock=clock)
    yield sender
    await sender.close()


@pytest.fixture
def service(records: Records, fetcher: Fetcher, secret_box: SecretBox) -> WebhookService:
    return WebhookService(records, fetcher, secret_box)


async def begin_task(records: Records, webhook_url: str = "") -> ExperimentRecord:
    request = TaskRequest("bob", "file-1", version="nano", language="en", quality="fast", webhook_url=webhook_url)
    experiment = new_experiment(request, ExperimentSource("file-1"), {}, now=1_700_000_000.0)
    task = new_task(experiment, request)
    await records.tasks.create(NewTaskRecords(task, experiment, first_run(experiment)))
    return experiment


async def end_task(
    records: Records, experiment: ExperimentRecord, status: TaskStatus = TaskStatus.COMPLETED, **values: Any
) -> None:
    async with records.experiments.transaction(experiment.id) as change:
        change.set_task(status=status, completed_at=change.now, **values)


async def deliveries(records: Records, **which: Any) -> list[DeliveryRecord]:
    return (await records.deliveries.page(100, **which)).items


async def send(sender: WebhookSender) -> int:
    """Begin what is due and wait for its end."""
    begun = await sender.send_due()
    await sender.settle()
    return begun


async def the_only(records: Records) -> DeliveryRecord:
    (delivery,) = await deliveries(records)
    return delivery


@pytest.mark.parametrize("status", [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED])
async def test_the_end_of_a_task_is_told_signed_and_once(
    records: Records, sender: WebhookSender, status: TaskStatus, clock: ManualClock
):
    async with receiving() as receiver:
        experiment = await begin_task(records, receiver.url)
        assert await send(sender) == 0

        await end_task(records, experiment, status, voice_id="voice-1")
        assert await send(sender) == 1
        assert await send(sender) == 0

    (request,) = receiver.received
    body = orjson.loads(request.body)
    assert is_signed(request, SECRET)
    assert not is_signed(replace(request, body=request.body + b" "), SECRET)
    assert request.headers["webhook-timestamp"] == str(int(clock.now))
    assert request.headers["content-type"] == "application/json"
    assert body["type"] == f"task.{status}"
    assert body["timestamp"].endswith("Z")
    assert body["data"]["task_id"] == experiment.task_id
    assert body["data"]["voice_id"] == "voice-1"
    delivery = await the_only(records)
    assert (delivery.status, delivery.attempts, delivery.status_code, delivery.next_try_at) == (
        DeliveryStatus.DELIVERED,
        1,
        204,
        None,
    )
    assert request.headers["webhook-id"] == delivery.id


async def test_what_is_undone_is_not_told(records: Records, sender: WebhookSender):
    async with receiving() as receiver:
        experiment = await begin_task(records, receiver.url)

        async def end_and_fail() -> None:
            async with records.experiments.transaction(experiment.id) as change:
                change.set_task(status=TaskStatus.COMPLETED)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await end_and_fail()

        assert await send(sender) == 0


async def test_an_end_that_is_written_again_is_not_told_again(records: Records):
    experiment = await begin_task(records, "http://127.0.0.1:1/")
    await end_task(records, experiment)

    await end_task(records, experiment, message="The same end.")

    assert len(await deliveries(records)) == 1


async def test_a_task_that_lived_again_is_told_again(records: Records):
    experiment = await begin_task(records, "http://127.0.0.1:1/")
    await end_task(records, experiment, TaskStatus.FAILED)
    async with records.experiments.transaction(experiment.id) as change:
        change.set_task(status=TaskStatus.RUNNING)

    await end_task(records, experiment)

    assert {delivery.event for delivery in await deliveries(records)} == {"task.failed", "task.completed"}


async def test_webhooks_are_told_of_what_they_asked_for_each_with_its_own_secret(
    records: Records, service: WebhookService, sender: WebhookSender
):
    async with receiving() as ends, receiving() as stages:
        of_tasks = await service.register(ends.url)
        of_stages = await service.register(stages.url, ["stage.completed", "stage.completed"], new_secret())
        experiment = await begin_task(records)

        async with records.experiments.transaction(experiment.id) as change:
            change.set_stage("convert", status=StageStatus.COMPLETED)
        await end_task(records, experiment)
        await send(sender)

    assert of_tasks.events == list(TASK_EVENTS)
    assert [item.event for item in ends.received] == ["task.completed"]
    assert [stage.event for stage in stages.received] == ["stage.completed"]
    assert is_signed(ends.received[0], of_tasks.secret)
    assert is_signed(stages.received[0], of_stages.secret)
    assert not is_signed(ends.received[0], of_stages.secret)


async def test_without_a_secret_of_the_server_an_address_of_a_request_gets_no_signature(
    records: Records, fetcher: Fetcher, secret_box: SecretBox
):
    async with receiving() as receiver:
        await end_task(records, await begin_task(records, receiver.url))

        await send(WebhookSender(records, fetcher, secret_box, ""))

    assert "webhook-signature" not in receiver.received[0].headers


async def test_what_failed_twice_is_delivered_the_third_time(
    records: Records, sender: WebhookSender, clock: ManualClock
):
    async with receiving(500, 503, 200) as receiver:
        await end_task(records, await begin_task(records, receiver.url))

        await send(sender)
        first = await the_only(records)
        assert await send(sender) == 0  # not yet
        clock.now += RETRY_SECONDS[0] * (1 + JITTER)
        await send(sender)
        clock.now += RETRY_SECONDS[1] * (1 + JITTER)
        await send(sender)

    delivery = await the_only(records)
    assert (first.status, first.status_code, first.error) == (DeliveryStatus.PENDING, 500, "It answered 500.")
    assert first.next_try_at is not None
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.DELIVERED, 3)
    assert [item["status_code"] for item in delivery.history] == [500, 503, 200]
    assert len({item.headers["webhook-id"] for item in receiver.received}) == 1
    assert all(is_signed(item, SECRET) for item in receiver.received)


async def test_the_schedule_lasts_hours_and_then_gives_up(
    records: Records, sender: WebhookSender, clock: ManualClock
) -> None:
    async with receiving(500) as receiver:
        await end_task(records, await begin_task(records, receiver.url))
        begun = clock.now

        await send(sender)
        while (delivery := await the_only(records)).next_try_at is not None:
            clock.now = delivery.next_try_at
            await send(sender)

    assert delivery.status is DeliveryStatus.FAILED
    assert delivery.attempts == len(receiver.received) == len(RETRY_SECONDS) + 1
    assert clock.now - begun > 24 * 3600


async def test_a_receiver_that_hangs_is_left_and_holds_up_nobody(
    records: Records, clock: ManualClock, secret_box: SecretBox
):
    quick = Fetcher(max_bytes=0, timeout_seconds=0.3, allowed_hosts=["127.0.0.1"])
    sender = WebhookSender(records, quick, secret_box, clock=clock)
    async with receiving(0) as hanging, receiving() as other:
        for _ in range(3 * MAX_CONCURRENT_PER_URL):
            await end_task(records, await begin_task(records, hanging.url))
        await end_task(records, await begin_task(records, other.url))

        begun = await sender.send_due()
        await asyncio.wait_for(other.came.wait(), 10)

        assert begun == MAX_CONCURRENT_PER_URL + 1
        await sender.settle()

    tried = [delivery for delivery in await deliveries(records) if delivery.attempts and delivery.url == hanging.url]
    assert {item.error for item in tried} == {"127.0.0.1 did not answer within 0.3 s."}


async def test_a_redirect_is_not_followed(records: Records, sender: WebhookSender):
    async with receiving() as target, receiving(302, location=target.url) as receiver:
        await end_task(records, await begin_task(records, receiver.url))
        await send(sender)

    assert target.received == []
    assert (await the_only(records)).error == "It answered 302."


async def test_a_name_that_leads_to_a_private_address_is_not_connected_to(
    records: Records, clock: ManualClock, secret_box: SecretBox
):
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with receiving() as receiver:
        sender = WebhookSender(records, Fetcher(max_bytes=0, resolve=resolve), secret_box, clock=clock)
        await end_task(records, await begin_task(records, f"http://hooks.example:{receiver.port}/"))

        await send(sender)

    assert receiver.received == []
    refused = await the_only(records)
    assert (refused.status, refused.status_code) == (DeliveryStatus.PENDING, None)
    assert "hooks.example is refused: it is not a public address" in refused.error


async def test_the_connection_goes_to_the_address_that_was_checked(
    records: Records, clock: ManualClock, secret_box: SecretBox
):
    answers = [["127.0.0.1"], ["10.0.0.1"]]  # a name that changes its address in between

    async def resolve(host: str, port: int) -> list[str]:
        return answers.pop(0)

    async with receiving() as receiver:
        fetcher = Fetcher(max_bytes=0, resolve=resolve, allowed_hosts=["hooks.example"])
        await end_task(records, await begin_task(records, f"http://hooks.example:{receiver.port}/x?y=1"))

        await send(WebhookSender(records, fetcher, secret_box, clock=clock))

    (request,) = receiver.received
    assert (request.path, request.headers["host"]) == ("/x?y=1", f"hooks.example:{receiver.port}")
    assert len(answers) == 1


async def test_two_senders_send_everything_once(
    records: Records, fetcher: Fetcher, clock: ManualClock, secret_box: SecretBox
):
    first, second = (WebhookSender(records, fetcher, secret_box, clock=clock) for _ in range(2))
    async with receiving() as receiver:
        for _ in range(12):
            await end_task(records, await begin_task(records, receiver.url))

        while sum(await asyncio.gather(send(first), send(second))):
            continue

    ids = [item.headers["webhook-id"] for item in receiver.received]
    assert len(ids) == len(set(ids)) == 12


async def test_what_a_dead_sender_had_begun_is_sent_by_the_next(
    records: Records, sender: WebhookSender, clock: ManualClock
):
    async with receiving() as receiver:
        await end_task(records, await begin_task(records, receiver.url))
        await records.deliveries.claim("dead", 10, CLAIM_SECONDS)

        assert await send(sender) == 0
        clock.now += CLAIM_SECONDS
        assert await send(sender) == 1

    assert (await the_only(records)).status is DeliveryStatus.DELIVERED


async def test_a_sender_that_ends_hands_back_what_it_had_begun(
    records: Records, fetcher: Fetcher, clock: ManualClock, secret_box: SecretBox
):
    async with receiving(0, 204) as receiver:
        await end_task(records, await begin_task(records, receiver.url))
        first = WebhookSender(records, fetcher, secret_box, clock=clock)
        await first.send_due()
        await receiver.came.wait()

        await first.close()

        assert await send(WebhookSender(records, fetcher, secret_box, clock=clock)) == 1
    assert (await the_only(records)).attempts == 1


async def test_a_late_sender_changes_nothing(records: Records, clock: ManualClock):
    await end_task(records, await begin_task(records, "http://127.0.0.1:1/"))
    (claimed,) = await records.deliveries.claim("late", 10, CLAIM_SECONDS)
    clock.now += CLAIM_SECONDS
    await records.deliveries.claim("next", 10, CLAIM_SECONDS)

    assert await records.deliveries.end_attempt(claimed.id, "late", DeliveryAttempt(clock.now, 1.0, 200), None) is None
    assert (await the_only(records)).attempts == 0


async def test_an_address_that_is_gone_is_told_nothing_more(
    records: Records, service: WebhookService, sender: WebhookSender
):
    async with receiving(410) as receiver:
        webhook = await service.register(receiver.url)
        await end_task(records, await begin_task(records))
        await send(sender)
        await end_task(records, await begin_task(records))
        assert await send(sender) == 0

    shown = await records.webhooks.get(webhook.id)
    assert (shown.enabled, shown.message) == (False, "It answered 410 Gone.")
    assert (await the_only(records)).status is DeliveryStatus.FAILED


async def test_a_delivery_is_sent_again_by_hand(records: Records, sender: WebhookSender):
    async with receiving() as receiver:
        await end_task(records, await begin_task(records, receiver.url))
        await send(sender)
        delivery = await the_only(records)

        again = await records.deliveries.resend(delivery.id)
        await send(sender)

    assert (again.status, again.attempts) == (DeliveryStatus.PENDING, 1)
    assert (await the_only(records)).attempts == 2
    assert len({item.headers["webhook-id"] for item in receiver.received}) == 1


async def test_a_deleted_webhook_is_told_nothing_more_not_even_by_hand(
    records: Records, service: WebhookService, sender: WebhookSender
):
    async with receiving() as receiver:
        webhook = await service.register(receiver.url)
        await end_task(records, await begin_task(records))

        await records.webhooks.delete(webhook.id)

        assert await send(sender) == 0
    left = await the_only(records)
    assert (left.status, left.error) == (DeliveryStatus.FAILED, "The webhook was deleted.")
    with pytest.raises(Conflict, match="was deleted"):
        await records.deliveries.resend(left.id)


async def test_old_deliveries_are_forgotten(records: Records, sender: WebhookSender, clock: ManualClock):
    async with receiving() as receiver:
        await end_task(records, await begin_task(records, receiver.url))
        await end_task(records, await begin_task(records, "http://127.0.0.1:1/"))
        await send(sender)
    clock.now += 31 * 86_400

    await records.deliveries.delete_ended(30 * 86_400)

    assert [delivery.status for delivery in await deliveries(records)] == [DeliveryStatus.PENDING]


async def test_deliveries_are_listed_by_what_they_are_about(records: Records, service: WebhookService):
    webhook = await service.register("http://127.0.0.1:1/")
    experiment = await begin_task(records)
    await end_task(records, experiment)
    await end_task(records, await begin_task(records), TaskStatus.FAILED)

    assert len(await deliveries(records)) == 2
    assert len(await deliveries(records, subject=experiment.task_id)) == 1
    assert len(await deliveries(records, event="task.failed")) == 1
    assert len(await deliveries(records, webhook_id=webhook.id)) == 2
    assert await deliveries(records, status=DeliveryStatus.DELIVERED) == []
    with pytest.raises(NotFound):
        await records.deliveries.get("msg-nothing")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://hooks.example/", "refused"),
        ("hooks.example", "refused"),
        ("http://user:password@hooks.example/", "user name"),
        ("http://10.0.0.1/", "not a public address"),
        ("http://[::1]/", "not a public address"),
        ("http://169.254.169.254/latest", "not a public address"),
    ],
)
async def test_an_address_that_will_never_do_is_refused_at_once(service: WebhookService, url: str, reason: str):
    with pytest.raises(ForbiddenAddress, match=reason):
        await service.register(url)


async def test_what_cannot_be_registered_is_refused_by_name(service: WebhookService, records: Records):
    with pytest.raises(InvalidRequest, match="characters"):
        await service.register("http://hooks.example/" + "x" * 2000)
    with pytest.raises(InvalidParameter, match=r"no event 'task\.begun'"):
        await service.register("http://hooks.example/", ["task.begun"])
    with pytest.raises(InvalidParameter, match="begins with whsec_") as refused:
        await service.register("http://hooks.example/", secret="hush hush")
    assert "hush" not in refused.value.message

    assert (await records.webhooks.page()).total == 0


async def test_there_is_an_end_to_the_number_of_webhooks(records: Records, service: WebhookService):
    for _ in range(MAX_WEBHOOKS):
        await records.webhooks.create("http://hooks.example/", ["task.failed"], SECRET)

    with pytest.raises(Conflict, match="the most"):
        await service.register("http://hooks.example/")


@pytest.mark.parametrize("secret", ["", "secret", "whsec_", "whsec_???", "whsec_AAAA", "whsec_" + "A" * 100])
def test_a_secret_that_is_none_is_refused(secret: str):
    with pytest.raises(ValueError, match=r"whsec_|base64|bytes"):
        key_of(secret)


async def test_no_secret_reaches_the_log(
    records: Records, service: WebhookService, sender: WebhookSender, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("DEBUG")
    async with receiving(410) as receiver:
        webhook = await service.register(receiver.url + "?token=hush")
        await end_task(records, await begin_task(records, receiver.url))
        await send(sender)

    ours = "\n".join(line.getMessage() for line in caplog.records if not line.name.startswith(CHATTY))
    assert "answered 410" in ours
    assert not any(word in ours for word in (webhook.secret, SECRET, "hush"))
