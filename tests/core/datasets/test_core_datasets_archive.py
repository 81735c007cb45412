"""ZIP archives as untrusted input: what is used, what is skipped and why, and what rejects the whole archive."""

from __future__ import annotations

import contextlib
import io
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from core.datasets import archive as archives
from core.datasets.archive import extract_member, inspect_archive, is_zip, list_members
from core.errors import BadArchive

SOUND = b"RIFF" + bytes(range(256)) * 4


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def put(folder: Path, content: bytes) -> Path:
    path = folder / "set.zip"
    path.write_bytes(content)
    return path


def with_entry(entry: zipfile.ZipInfo, content: bytes = SOUND) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("good.wav", SOUND)
        archive.writestr(entry, content)
    return file.getvalue()


def test_recordings_and_lists_are_found_and_unpacked(tmp_path: Path) -> None:
    path = put(tmp_path, zipped({"wavs/": b"", "wavs/a.WAV": SOUND, "a.list": b"x"}, zipfile.ZIP_DEFLATED))

    archive = inspect_archive(path)
    extract_member(path, archive.recordings[0], tmp_path / "out")

    assert is_zip(path)
    assert [recording.name for recording in archive.recordings] == ["wavs/a.WAV"]
    assert [item.name for item in archive.transcript_lists] == ["a.list"]
    assert archive.skipped == []
    assert (tmp_path / "out").read_bytes() == SOUND


@pytest.mark.parametrize(
    "name", ["../evil.wav", "a/../../evil.wav", "/etc/evil.wav", "C:\\evil.wav", "..\\evil.wav", "C:evil.wav"]
)
def test_a_name_that_points_out_of_the_archive_refuses_it(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, zipped({"good.wav": SOUND, name: SOUND}))

    with pytest.raises(BadArchive, match=r"evil\.wav points out of the archive"):
        inspect_archive(path)


def test_a_symbolic_link_refuses_the_archive(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("passwd.wav")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = put(tmp_path, with_entry(link, b"/etc/passwd"))

    with pytest.raises(BadArchive, match=r"passwd\.wav is a symbolic link"):
        inspect_archive(path)


def test_a_device_refuses_the_archive(tmp_path: Path) -> None:
    device = zipfile.ZipInfo("null.wav")
    device.external_attr = (stat.S_IFCHR | 0o666) << 16
    path = put(tmp_path, with_entry(device))

    with pytest.raises(BadArchive, match=r"null\.wav is no plain file"):
        inspect_archive(path)


def test_a_member_that_would_grow_a_thousandfold_refuses_the_archive(tmp_path: Path) -> None:
    path = put(tmp_path, zipped({"bomb.wav": bytes(8 << 20)}, zipfile.ZIP_DEFLATED))

    with pytest.raises(BadArchive, match=r"bomb\.wav would unpack to 10\d\d times its size"):
        inspect_archive(path)


def test_many_small_members_that_would_grow_a_hundredfold_together_refuse_the_archive(tmp_path: Path) -> None:
    path = put(tmp_path, zipped({f"{number}.wav": bytes(1 << 20) for number in range(40)}, zipfile.ZIP_DEFLATED))

    for read in (inspect_archive, list_members):
        with pytest.raises(BadArchive, match=r"The archive would unpack to \d{3} times its size"):
            read(path)


def test_too_much_in_all_refuses_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 1500)
    path = put(tmp_path, zipped({"a.wav": SOUND, "b.wav": SOUND}))

    with pytest.raises(BadArchive, match="would unpack to"):
        inspect_archive(path)


def test_members_that_share_their_bytes_refuse_the_archive(tmp_path: Path) -> None:
    content = zipped({"a.wav": SOUND, "b.wav": SOUND})
    offset_field = content.rfind(b"PK\x01\x02") + 42
    overlapping = content[:offset_field] + struct.pack("<I", 10) + content[offset_field + 4 :]

    with pytest.raises(BadArchive, match="shares its bytes"):
        inspect_archive(put(tmp_path, overlapping))


def test_too_many_members_refuse_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)

    with pytest.raises(BadArchive, match="3 members"):
        inspect_archive(put(tmp_path, zipped(dict.fromkeys(("a.wav", "b.wav", "c.wav"), SOUND))))


def test_a_huge_table_of_contents_is_not_read(tmp_path: Path) -> None:
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 65_535, 65_535, 64 << 20, 4, 0)
    path = tmp_path / "set.zip"
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.seek(64 << 20)
        file.write(end)
    tracemalloc.start()

    with pytest.raises(BadArchive, match="table of contents has 64 MiB"):
        inspect_archive(path)

    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20


def test_an_archive_that_breaks_off_is_refused(tmp_path: Path) -> None:
    content = zipped({"a.wav": SOUND})

    with pytest.raises(BadArchive, match="cut short"):
        inspect_archive(put(tmp_path, content[: len(content) // 2]))


@pytest.mark.parametrize("place", [2, 10, 16, 20, 28, 30, 42])
def test_scrambled_tables_of_contents_are_refused_or_harmless(tmp_path: Path, place: int) -> None:
    content = bytearray(zipped({"a.wav": SOUND, "b.wav": SOUND}))
    start = content.rfind(b"PK\x01\x02") + place
    content[start : start + 2] = b"\xff\xff"
    path = put(tmp_path, bytes(content))

    with contextlib.suppress(BadArchive):
        for member in inspect_archive(path).recordings:
            extract_member(path, member, tmp_path / "out")

    out = tmp_path / "out"
    assert not out.exists() or out.stat().st_size <= len(SOUND)


def test_a_member_that_is_damaged_is_named(tmp_path: Path) -> None:
    content = zipped({"a.wav": SOUND})
    path = put(tmp_path, content.replace(SOUND, SOUND[::-1]))
    [member] = inspect_archive(path).recordings

    with pytest.raises(BadArchive, match=r"a\.wav is damaged"):
        extract_member(path, member, tmp_path / "out")


def test_what_is_no_recording_is_skipped_with_a_sentence(tmp_path: Path) -> None:
    encrypted = bytearray(zipped({"good.wav": SOUND, "secret.wav": SOUND}))
    encrypted[encrypted.rfind(b"PK\x01\x02") + 8] |= 1
    members = {
        "a.wav": SOUND,
        "notes.pdf": b"%PDF",
        "inner.zip": zipped({"x.wav": SOUND}),
        "__MACOSX/a.wav": SOUND,
        "empty.wav": b"",
    }

    skipped = {file["name"]: file["reason"] for file in inspect_archive(put(tmp_path, zipped(members))).skipped}
    locked = inspect_archive(put(tmp_path, bytes(encrypted))).skipped

    assert skipped == {
        "notes.pdf": "It is no recording, by its name.",
        "inner.zip": "It is no recording, by its name.",
        "__MACOSX/a.wav": "It belongs to a file manager and is no recording.",
        "empty.wav": "It is empty.",
    }
    assert locked == [{"name": "secret.wav", "reason": "It is encrypted; pack it without a password."}]


def test_of_two_members_with_one_name_the_first_is_taken(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.wav", SOUND)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.wav", SOUND[::-1])

    inspected = inspect_archive(put(tmp_path, file.getvalue()))

    assert [recording.index for recording in inspected.recordings] == [0]
    assert "another member of this name" in inspected.skipped[0]["reason"]


def test_a_member_packed_by_another_method_is_skipped(tmp_path: Path) -> None:
    packed = zipped({"a.wav": SOUND}, zipfile.ZIP_LZMA)
    with zipfile.ZipFile(file := io.BytesIO(packed), "a") as archive:
        archive.writestr("b.wav", SOUND, zipfile.ZIP_STORED)

    inspected = inspect_archive(put(tmp_path, file.getvalue()))

    assert [recording.name for recording in inspected.recordings] == ["b.wav"]
    assert "other than deflate" in inspected.skipped[0]["reason"]


def test_an_archive_without_recordings_says_what_was_in_it(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match=r"no recording in the archive\. notes\.pdf: It is no recording"):
        inspect_archive(put(tmp_path, zipped({"notes.pdf": b"%PDF"})))


def test_chinese_names_of_old_windows_are_read(tmp_path: Path) -> None:
    raw = "录音.wav".encode("gb18030")
    content = zipped({"x" * len(raw): SOUND}).replace(b"x" * len(raw), raw)

    assert [recording.name for recording in inspect_archive(put(tmp_path, content)).recordings] == ["录音.wav"]


def test_ten_thousand_skipped_members_are_counted_and_not_all_named(tmp_path: Path) -> None:
    members = {f"{n}.pdf": b"" for n in range(1000)}

    skipped = inspect_archive(put(tmp_path, zipped({"a.wav": SOUND, **members}))).skipped

    assert len(skipped) == 200
    assert skipped[-1]["reason"] == "And 801 more members that are no recordings."
