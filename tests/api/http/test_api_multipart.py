"""Forms of other programs: how the name of a file may be written, through the real upload route."""

from __future__ import annotations

import httpx
import pytest
from api_support import tone


async def send(client: httpx.AsyncClient, disposition: str) -> httpx.Response:
    head = f"--line\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()
    content = head + tone(1.0) + b"\r\n--line--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=line"}
    return await client.post("/api/v1/files", content=content, headers=headers)


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ("name=\"file\"; filename*=UTF-8''%E5%BD%95%E9%9F%B3.wav", "录音.wav"),
        ("name=file;filename*=utf-8'zh'a.wav", "a.wav"),
        ('name="file"; filename*="UTF-8\'\'a%20b.wav"', "a b.wav"),
        ("name=\"file\"; FileName*=UTF-8''a.wav", "a.wav"),
        ("filename*=UTF-8''a.wav; name=\"file\"", "a.wav"),
        ("name=\"file\"; filename*=ISO-8859-1'en'%A3.wav", "£.wav"),
        ("name=\"file\"; filename*=gb18030''%C2%BC%D2%F4.wav", "录音.wav"),
        ("name=\"file\"; filename*=shift_jis'ja'%98%5E%89%B9.wav", "録音.wav"),
        ("name=\"file\"; filename*0*=UTF-8''%E5%BD; filename*1*=%95.wav", "录.wav"),
        ('name="file"; filename*0="long "; filename*1="name.wav"', "long name.wav"),
        ("name*=UTF-8''file; filename*=UTF-8''a.wav", "a.wav"),
        ("name=\"file\"; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", "passwd"),
        ('name="file"; filename*=a.wav', "a.wav"),
        ("name=\"file\"; filename*=nothing''a.wav", "a.wav"),
        ("name=\"file\"; filename*=UTF-8''%FF.wav", "\ufffd.wav"),
        ("name=\"file\"; filename*=UTF-8''", "upload"),
        ('name="file"; filename="_.wav"; filename*=UTF-8\'\'%E5%BD%95.wav', "录.wav"),
        ('name="file"; filename*=UTF-8\'\'%E5%BD%95.wav; filename="_.wav"', "录.wav"),
        ('name="file"; filename*=UTF-8\'\'%FF.wav; filename="plain.wav"', "plain.wav"),
        ('name="file"; filename="a; filename*=UTF-8\'\'b.wav"', "a; filename*=UTF-8''b.wav"),
        ('name="file"; filename="录音.wav"', "录音.wav"),
    ],
)
async def test_a_part_is_a_file_however_its_name_is_written(
    client: httpx.AsyncClient, disposition: str, filename: str
) -> None:
    response = await send(client, disposition)

    assert response.status_code == 201, response.text
    assert response.json()["filename"] == filename


@pytest.mark.parametrize("disposition", ['name="file"', "name=\"file; filename*=UTF-8''a.wav\""])
async def test_a_part_without_a_file_name_is_a_field(client: httpx.AsyncClient, disposition: str) -> None:
    response = await send(client, disposition)

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"
