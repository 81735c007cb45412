"""Uploads become data sets: recordings and ZIPs, with transcripts and without, and what cannot be taken is named."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from bundled_speech import PIECES, piece, recording, speech
from dataset_bench import Bench, transcripts, wav, zipped

from core.datasets.options import NewRecording
from core.errors import Conflict, NotFound
from core.jobs.job import Job, NewJob
from core.records import DatasetStatus


def test_a_recording_is_cut_at_its_silences(bench: Bench) -> None:
    dataset = bench.make({"talk.wav": wav(piece(53.46, 36.0))})

    contents = bench.contents(dataset.id)

    assert (dataset.status, dataset.version) == (DatasetStatus.READY, 1)
    assert [recording.name for recording in contents.recordings] == ["talk.wav"]
    assert len(contents.segments) >= 4
    assert all(0.6 <= segment.seconds <= 12.0 for segment in contents.segments)
    starts = [segment.start_seconds for segment in contents.segments]
    assert starts == sorted(starts)
    assert 25.0 < contents.seconds <= 36.0


def test_a_long_recording_is_cut_in_blocks_and_loses_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roles.datasets.import_files.BLOCK_SECONDS", 30)

    dataset = bench.make({"talk.wav": wav(recording())})

    segments = bench.contents(dataset.id).segments
    gaps = [later.start_seconds - segment.start_seconds - segment.seconds for segment, later in pairwise(segments)]
    assert all(-0.02 <= gap < 2.0 for gap in gaps)
    assert sum(segment.seconds for segment in segments) > 80.0


def test_a_zip_with_a_list_brings_transcripts_along(bench: Bench) -> None:
    names = ["announce.wav", "prepend.wav"]
    archive = zipped({**{f"wavs/{name}": wav(speech(name)) for name in names}, "a.list": transcripts(names)})

    dataset = bench.make({"set.zip": archive})

    segments = bench.contents(dataset.id).segments
    assert [segment.name for segment in segments] == [f"wavs/{name}" for name in names]
    assert [segment.transcript for segment in segments] == [PIECES[name][2] for name in names]
    assert {(segment.language, segment.speaker) for segment in segments} == {("en", "allison")}
    assert bench.version(dataset.id).skipped == []


def test_what_a_url_names_is_downloaded_imported_and_deleted(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "a talk.wav").write_bytes(wav(speech("announce.wav")))
    (tmp_path / "set.zip").write_bytes(zipped({"prepend.wav": wav(speech("prepend.wav"))}))
    services = bench.services
    services.settings = services.settings.model_copy(update={"fetch_allowed_hosts": ("127.0.0.1",)})
    with serving(tmp_path) as base:
        urls = [f"{base}/a%20talk.wav?signed=1", f"{base}/set.zip"]
        dataset = bench.call(bench.datasets.create, "set", [], urls=urls, language="en")
        bench.work()

    contents = bench.contents(dataset.id)
    assert bench.version(dataset.id).status is DatasetStatus.READY
    assert [recording.name for recording in contents.recordings] == ["a talk.wav", "prepend.wav"]
    assert [recording.file_id for recording in contents.recordings] == [None, None]
    assert not list(services.storage.root.glob(".tmp/*"))


def test_a_url_that_cannot_be_read_fails_the_version_with_the_reason(bench: Bench) -> None:
    dataset = bench.call(bench.datasets.create, "set", [], urls=["http://127.0.0.1:1/a.wav"], language="en")
    bench.work()

    version = bench.version(dataset.id)
    assert version.status is DatasetStatus.FAILED
    assert "not a public address" in version.message


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Yield the address of a server of a folder's files."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Keep tests quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_zip_without_a_list_has_no_transcripts(bench: Bench) -> None:
    dataset = bench.make({"set.zip": zipped({name: wav(speech(name)) for name in PIECES})})

    assert [segment.transcript for segment in bench.contents(dataset.id).segments] == [""] * len(PIECES)


def test_many_files_each_with_its_transcript(bench: Bench) -> None:
    dataset = bench.make(
        {name: wav(speech(name)) for name in ("announce.wav", "prepend.wav")}, announce="All of our representatives."
    )

    shown = {segment.name: segment.transcript for segment in bench.contents(dataset.id).segments}

    assert shown == {"announce.wav": "All of our representatives.", "prepend.wav": ""}


def test_each_file_that_cannot_be_taken_is_named_with_its_reason(bench: Bench) -> None:
    whole = wav(speech("announce.wav"))
    members = {
        "good.wav": whole,
        "text.wav": b"this is no sound " * 100,
        "half.wav": whole[: len(whole) // 2],
        "read me.pdf": b"%PDF",
        "a.list": b"good.wav|a|EN|All of our representatives.\nmissing.wav|a|EN|Nothing.\nbroken line\n",
    }

    dataset = bench.make({"set.zip": zipped(members)})

    skipped = {file["name"]: file["reason"] for file in bench.version(dataset.id).skipped}
    assert set(skipped) == {"text.wav", "half.wav", "read me.pdf", "missing.wav", "a.list, line 3"}
    assert "no sound file" in skipped["text.wav"]
    assert "breaks off after 3.9 s" in skipped["half.wav"]
    assert "no such recording" in skipped["missing.wav"]
    assert [segment.name for segment in bench.contents(dataset.id).segments] == ["good.wav"]


def test_uploads_of_which_nothing_can_be_taken_make_no_data_set(bench: Bench) -> None:
    dataset = bench.make({"a.wav": b"this is no sound " * 100})

    version = bench.version(dataset.id)

    assert (dataset.status, dataset.version) == (DatasetStatus.FAILED, 0)
    assert version.error is not None
    assert version.error["code"] == "bad_audio"
    assert "a.wav" in version.error["message"]
    assert bench.sounds(dataset.id) == []


def test_a_file_of_another_rate_and_of_two_channels_is_taken_as_it_sounds(bench: Bench) -> None:
    stereo = np.stack([speech("prepend.wav")] * 2, axis=1)

    dataset = bench.make({"stereo.wav": wav(stereo, 96_000)})

    [result] = bench.contents(dataset.id).recordings
    assert result.sample_rate == 48_000
    assert result.seconds == pytest.approx(len(stereo) / 96_000, abs=0.01)


def test_more_files_make_a_new_version_and_the_old_one_stays(bench: Bench) -> None:
    dataset = bench.quick("announce.wav")
    more = NewRecording(file_id=bench.upload(wav(speech("busy.wav")), "busy.wav"))

    bench.call(bench.datasets.add, dataset, [more])
    bench.work()

    assert [segment.name for segment in bench.contents(dataset, 1).segments] == ["announce.wav"]
    assert [segment.name for segment in bench.contents(dataset, 2).segments] == ["announce.wav", "busy.wav"]
    assert (bench.version(dataset).made_by, bench.version(dataset).parent) == ("add", 1)


def test_a_version_is_made_once_however_often_its_job_runs(bench: Bench) -> None:
    dataset = bench.quick("announce.wav")
    before = bench.contents(dataset)
    job = bench.services.queue.enqueue(NewJob("files", {"work": "dataset", "dataset_id": dataset, "version": 1}))

    bench.work()

    assert cast(Job, bench.services.queue.job(job.id)).status == "done"
    assert bench.contents(dataset) == before


def test_a_version_that_failed_leaves_the_one_before(bench: Bench) -> None:
    dataset = bench.quick("announce.wav")
    sounds = bench.sounds(dataset)

    bench.call(bench.datasets.add, dataset, [NewRecording(file_id=bench.upload(b"no sound", "b.wav"))])
    bench.work()

    record = bench.call(bench.services.records.datasets.get, dataset)
    assert (record.status, record.version, record.latest) == (DatasetStatus.READY, 1, 2)
    assert bench.version(dataset, 2).status is DatasetStatus.FAILED
    assert bench.sounds(dataset) == sounds


def test_a_replayed_dead_letter_makes_the_version_after_all(bench: Bench) -> None:
    dataset = bench.quick("announce.wav")
    file_id = bench.upload(b"no sound", "busy.wav")
    begun = bench.call(bench.datasets.add, dataset, [NewRecording(file_id=file_id)])
    bench.work()
    bench.services.storage.put_bytes(f"files/{file_id}", wav(speech("busy.wav")))

    assert bench.services.queue.replay(begun.job_id)
    bench.work()

    assert bench.version(dataset).version == 2
    assert [segment.name for segment in bench.contents(dataset).segments] == ["announce.wav", "busy.wav"]


def test_two_changes_at_once_are_refused(bench: Bench) -> None:
    dataset = bench.quick("announce.wav")
    more = NewRecording(file_id=bench.upload(wav(speech("busy.wav")), "busy.wav"))
    bench.call(bench.datasets.add, dataset, [more])

    with pytest.raises(Conflict, match=r"Version 2 of the data set .* is being made"):
        bench.call(bench.datasets.add, dataset, [more])


def test_a_file_that_is_not_there_is_named(bench: Bench) -> None:
    with pytest.raises(NotFound, match="file-nowhere"):
        bench.call(bench.datasets.create, "set", [NewRecording(file_id="file-nowhere")])


def test_what_the_queue_forgot_is_enqueued_again(bench: Bench) -> None:
    file_id = bench.upload(wav(speech("announce.wav")))
    dataset = bench.call(bench.datasets.create, "set", [NewRecording(file_id=file_id)])
    bench.services.redis.flushall()

    mended = bench.call(bench.datasets.reconcile)
    bench.work()

    assert mended == 1
    assert bench.call(bench.services.records.datasets.get, dataset.id).status is DatasetStatus.READY


def test_a_cancelled_job_gives_its_version_up(bench: Bench) -> None:
    file_id = bench.upload(wav(speech("announce.wav")))
    dataset = bench.call(bench.datasets.create, "set", [NewRecording(file_id=file_id)])

    bench.services.queue.cancel(f"{dataset.id}.1")
    version = bench.call(bench.datasets.get_version, dataset.id)

    assert version.status is DatasetStatus.FAILED
    assert version.error["code"] == "cancelled"


def test_a_deleted_data_set_takes_its_sounds_along(bench: Bench) -> None:
    dataset = bench.make({"talk.wav": wav(piece(53.46, 20.0))})
    assert len(bench.sounds(dataset.id)) > 1

    bench.call(bench.datasets.delete, dataset.id)

    assert bench.sounds(dataset.id) == []
    with pytest.raises(NotFound):
        bench.call(bench.services.records.datasets.get, dataset.id)


def test_recordings_of_one_name_in_different_folders_get_their_own_texts(bench: Bench) -> None:
    members = {
        "set/one/a.wav": wav(speech("announce.wav")),
        "set/two/a.wav": wav(speech("prepend.wav")),
        "set/one/b.wav": wav(speech("busy.wav")),
        "set/two/b.wav": wav(speech("busy.wav")[:-100]),
        "set/e\u0301.wav": wav(speech("busy.wav")[:-200]),
    }
    rows = [
        "D:\\x\\two\\a.wav|m|ZH|第二个。",
        "one/a.wav|m|ZH|第一个。",
        "b.wav|m|ZH|谁的？",
        "é.wav|m|ZH|好的。",
        "one/a.wav|m|ZH|又一个。",
    ]

    dataset = bench.make({"set.zip": zipped({**members, "a.list": "\n".join(rows).encode("gbk")})}, language="zh")

    shown = {segment.name: segment.transcript for segment in bench.contents(dataset.id).segments}
    skipped = {file["name"]: file["reason"] for file in bench.version(dataset.id).skipped}
    assert shown == {
        "set/one/a.wav": "第一个。",
        "set/two/a.wav": "第二个。",
        "set/one/b.wav": "",
        "set/two/b.wav": "",
        "set/e\u0301.wav": "好的。",
    }
    assert set(skipped) == {"set/one/b.wav", "set/two/b.wav", "a.list, line 5"}
    assert "second text for one/a.wav" in skipped["a.list, line 5"]


def test_a_streamed_wav_is_imported_and_a_truncated_one_is_not(bench: Bench) -> None:
    whole = bytearray(wav(speech("announce.wav")))
    truncated = bytes(whole[: len(whole) // 2])
    whole[4:8] = whole[40:44] = b"\xff" * 4

    dataset = bench.make({"streamed.wav": bytes(whole), "half.wav": truncated})

    assert [segment.name for segment in bench.contents(dataset.id).segments] == ["streamed.wav"]
    assert [file["name"] for file in bench.version(dataset.id).skipped] == ["half.wav"]
