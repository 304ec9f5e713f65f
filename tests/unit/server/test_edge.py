"""Who may ask: Origins and Hosts, before any handler and any body."""

from pathlib import Path

import pytest

from tests.fakes.site import Site, site

pytestmark = pytest.mark.anyio

ALLOWED_HOSTS = [
    "localhost",
    "LOCALHOST:1",
    "127.0.0.1",
    "127.0.0.1:9",
    "[::1]",
    "[::1]:11434",
    "10.1.2.3",
    "192.168.0.9:80",
    "0.0.0.0",
    "x.localhost",
    "my-mac.local",
    "host.docker.internal:11434",
]
FORBIDDEN_HOSTS = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "8.8.8.8",
    "169.254.1.1",
    "localhost@evil.example",
    "localhost.",
    "0x7f.1",
    "017700000001",
    "a/b.local",
    "evil.local.evil",
]
ALLOWED_ORIGINS = [
    "http://localhost",
    "http://localhost:3000",
    "https://127.0.0.1:8443",
    "http://0.0.0.0:1",
    "app://obsidian.md",
    "tauri://localhost",
    "vscode-webview://x",
    "vscode-file://x",
    "file:///x",
]
FORBIDDEN_ORIGINS = [
    "http://evil.example",
    "null",
    "HTTP://LOCALHOST",
    "http://localhost.evil.example",
    "chrome-extension://abc",
    "http://127.0.0.1.evil.example",
    "http://[::1]:3000",
    "https://localhost@evil.example",
]


async def _statuses(place: Site, header: str, values: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for value in values:
        found[value] = (await place.client.get("/api/tags", headers={header: value})).status_code
    return found


async def test_hosts_of_this_machine_and_its_network_are_accepted(tmp_path: Path) -> None:
    async with site(tmp_path) as place:
        assert set((await _statuses(place, "host", ALLOWED_HOSTS)).values()) == {200}
        assert set((await _statuses(place, "host", FORBIDDEN_HOSTS)).values()) == {403}


async def test_beyond_loopback_any_host_is_accepted(tmp_path: Path) -> None:
    async with site(tmp_path, host="0.0.0.0") as place:
        assert set(
            (await _statuses(place, "host", ["evil.example", "8.8.8.8", "mac"])).values()
        ) == {200}


async def test_origins_of_this_machine_and_of_apps_are_accepted(tmp_path: Path) -> None:
    async with site(tmp_path) as place:
        assert set((await _statuses(place, "origin", ALLOWED_ORIGINS)).values()) == {200}
        assert set((await _statuses(place, "origin", FORBIDDEN_ORIGINS)).values()) == {403}


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "PUT"])
async def test_a_foreign_page_is_refused_whatever_it_sends(tmp_path: Path, method: str) -> None:
    async with site(tmp_path) as place:
        for path in ("/api/chat", "/api/delete", "/api/tags", "/v1/models"):
            answer = await place.client.request(
                method, path, headers={"origin": "https://evil.example"}, content=b"{}"
            )
            assert (answer.status_code, answer.content) == (403, b"")
            assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_two_origins_are_none(tmp_path: Path) -> None:
    two = b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + (
        b"Origin: http://localhost\r\nOrigin: http://evil.example\r\n\r\n"
    )
    async with site(tmp_path) as place:
        assert (await place.raw(two)).startswith(b"HTTP/1.1 403 ")


async def test_a_form_of_a_foreign_page_is_refused(tmp_path: Path) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    async with site(tmp_path) as place:
        assert (await place.client.post("/api/show", headers=headers)).status_code == 403
        headers["sec-fetch-mode"] = "navigate"
        assert (await place.client.get("/", headers=headers)).status_code == 200


async def test_origins_can_be_added_and_opened(tmp_path: Path) -> None:
    async with site(tmp_path, origins=("https://*.example.org", "chrome-extension://*")) as place:
        good = {"origin": "https://a.example.org"}
        answer = await place.client.get("/api/tags", headers=good)
        assert answer.headers["access-control-allow-origin"] == "https://a.example.org"
        assert answer.headers["vary"] == "Origin"
    async with site(tmp_path / "open", origins=("*",)) as place:
        answer = await place.client.get("/api/tags", headers={"origin": "http://evil.example"})
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_only_what_is_documented_exists(tmp_path: Path) -> None:
    async with site(tmp_path) as place:
        for path in (
            "/schema",
            "/docs",
            "/metrics",
            "/debug/pprof",
            "/api",
            "/api/blobs",
            "/static",
        ):
            answer = await place.client.get(path)
            assert (answer.status_code, answer.text) == (404, "404 page not found")


async def test_a_path_written_differently_is_redirected(tmp_path: Path) -> None:
    async with site(tmp_path) as place:
        for path, status in (
            ("/api/tags/?a=1", 301),
            ("//api/tags?a=1", 307),
            ("/api/../api/tags?a=1", 307),
        ):
            answer = await place.raw(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            )
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert b"location: /api/tags?a=1\r\n" in answer
