"""One file over HTTP: carried on, tried again, verified, bounded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from duologue.errors import HubError
from duologue.hub.download import Checksum, RemoteFile, download, get_json, open_client
from duologue.hub.hashes import sha256_of

NAME = "model.safetensors"


@pytest.fixture
def hub(huggingface: Any) -> Any:
    return huggingface


def remote(hub: Any, **stated: Any) -> RemoteFile:
    content = hub.files[NAME]
    facts = {"size_bytes": len(content)} | stated
    return RemoteFile(NAME, f"{hub.endpoint}/cdn/{NAME}", **facts)


def checksum_of(hub: Any, folder: Path) -> Checksum:
    (folder / "content").write_bytes(hub.files[NAME])
    return Checksum("sha256", sha256_of(folder / "content"))


def fetch(file: RemoteFile, target: Path) -> list[int]:
    seen: list[int] = []
    with open_client() as client:
        download(client, file, target, on_bytes=seen.append)
    return seen


def test_a_file_comes_whole_and_leaves_nothing_beside_it(hub: Any, tmp_path: Path) -> None:
    seen = fetch(remote(hub, checksum=checksum_of(hub, tmp_path)), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == hub.files[NAME]
    assert seen == sorted(seen)
    assert seen[-1] == len(hub.files[NAME])
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize("has_checksum", [True, False], ids=["by checksum", "by ETag"])
def test_a_cut_connection_is_carried_on_where_it_broke(hub: Any, tmp_path: Path, has_checksum: bool) -> None:
    hub.cuts = [100_000, 50_000]
    checksum = checksum_of(hub, tmp_path) if has_checksum else None
    fetch(remote(hub, checksum=checksum), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == hub.files[NAME]
    assert hub.ranges() == [None, "bytes=100000-", "bytes=150000-"]
    assert [headers.get("if-range") for _, headers in hub.asked] == [None, '"one"', '"one"']


def test_a_file_that_changed_meanwhile_is_begun_anew(hub: Any, tmp_path: Path) -> None:
    hub.cuts = [100_000] * 4
    hub.follows_range = False
    with pytest.raises(HubError):
        fetch(remote(hub), tmp_path / "got")
    hub.files[NAME], hub.etag, hub.follows_range = bytes(len(hub.files[NAME])), '"two"', True
    fetch(remote(hub), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == hub.files[NAME]


def test_a_part_of_another_file_is_never_carried_on(hub: Any, tmp_path: Path) -> None:
    hub.cuts = [100_000] * 4
    with pytest.raises(HubError):
        fetch(remote(hub, checksum=Checksum("sha256", "0" * 64)), tmp_path / "got")
    hub.asked.clear()
    fetch(remote(hub, checksum=checksum_of(hub, tmp_path)), tmp_path / "got")
    assert hub.ranges() == [None]


def test_with_a_checksum_another_address_carries_on(hub: Any, tmp_path: Path) -> None:
    hub.cuts = [70_000] * 4
    checksum = checksum_of(hub, tmp_path)
    with pytest.raises(HubError, match="4 times"):
        fetch(remote(hub, checksum=checksum), tmp_path / "got")
    hub.asked.clear()
    other = RemoteFile(NAME, f"{hub.endpoint}/cdn/mirror/{NAME}", len(hub.files[NAME]), checksum)
    fetch(other, tmp_path / "got")
    assert hub.ranges() == ["bytes=280000-"]
    assert "if-range" not in hub.asked[-1][1]


def test_a_line_that_breaks_often_gets_there(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue.hub.download.PROGRESS_BYTES", 20_000)
    hub.cuts = [30_000] * 10
    fetch(remote(hub), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == hub.files[NAME]


def test_a_server_without_ranges_sends_all_again(hub: Any, tmp_path: Path) -> None:
    hub.cuts, hub.follows_range = [100_000], False
    fetch(remote(hub, checksum=checksum_of(hub, tmp_path)), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == hub.files[NAME]


def test_stopped_by_hand_it_keeps_what_came(hub: Any, tmp_path: Path) -> None:
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    checksum = checksum_of(hub, tmp_path)
    with open_client() as client, pytest.raises(KeyboardInterrupt):
        download(client, remote(hub, checksum=checksum), tmp_path / "got", on_bytes=stop)
    kept = (tmp_path / "got.part").stat().st_size
    assert 0 < kept < len(hub.files[NAME])
    hub.asked.clear()
    fetch(remote(hub, checksum=checksum), tmp_path / "got")
    assert hub.ranges() == [f"bytes={kept}-"]


def test_a_whole_part_is_only_verified(hub: Any, tmp_path: Path) -> None:
    checksum = checksum_of(hub, tmp_path)
    (tmp_path / "got.part").write_bytes(hub.files[NAME])
    (tmp_path / "got.part.json").write_text(json.dumps({"checksum": checksum.value}))
    fetch(remote(hub, checksum=checksum), tmp_path / "got")
    assert hub.asked == []


@pytest.mark.parametrize("kind", ["sha256", "git"])
def test_a_wrong_checksum_deletes_what_came(hub: Any, tmp_path: Path, kind: Any) -> None:
    (tmp_path / "content").write_bytes(hub.files[NAME])
    right = Checksum(kind, "").of(tmp_path / "content")
    hub.wrong_content = {NAME}
    with pytest.raises(HubError, match=r"checksum is .* expected .*deleted"):
        fetch(remote(hub, checksum=right), tmp_path / "got")
    assert [path.name for path in tmp_path.glob("got*")] == ["got.part.json"]
    hub.wrong_content = set()
    fetch(remote(hub, checksum=right), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == hub.files[NAME]


@pytest.mark.parametrize("is_honest", [True, False], ids=["stated", "not stated"])
def test_more_bytes_than_stated_stop_the_download(hub: Any, tmp_path: Path, is_honest: bool) -> None:
    hub.extra, hub.is_honest = bytes(3_000_000), is_honest
    size = f"{len(hub.files[NAME]):,}"
    with pytest.raises(HubError, match=rf"the hub states {size}|more came than the {size} bytes"):
        fetch(remote(hub), tmp_path / "got")
    assert not list(tmp_path.glob("got"))
    assert all(path.stat().st_size < 400_000 for path in tmp_path.iterdir())


def test_a_size_that_nobody_states_is_refused(hub: Any, tmp_path: Path) -> None:
    hub.is_honest = False
    with pytest.raises(HubError, match="neither the hub nor the server states its size"):
        fetch(remote(hub, size_bytes=None), tmp_path / "got")


def test_without_a_stated_size_the_servers_holds(hub: Any, tmp_path: Path) -> None:
    fetch(remote(hub, size_bytes=None), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == hub.files[NAME]


def test_a_disk_without_space_is_known_before_the_first_byte(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage())
    with pytest.raises(HubError, match="0 MB are needed and 0 MB free"):
        fetch(remote(hub), tmp_path / "got")
    assert not (tmp_path / "got.part").exists()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(hub: Any, tmp_path: Path, status: int) -> None:
    hub.statuses = [("/cdn/", status)] * 3
    fetch(remote(hub), tmp_path / "got")
    assert len(hub.asked) == 4
    hub.statuses = [("/cdn/", status)] * 4
    with pytest.raises(HubError, match=f"127.0.0.1 answers {status}, 4 times"):
        fetch(remote(hub), tmp_path / "other")


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "not public, or there is none"), (403, "HF_TOKEN"), (404, "none of that name"), (410, "expected 200")],
)
def test_a_final_answer_is_not_asked_again(hub: Any, tmp_path: Path, status: int, message: str) -> None:
    hub.statuses = [("/cdn/", status)]
    with pytest.raises(HubError, match=message):
        fetch(remote(hub), tmp_path / "got")
    assert len(hub.asked) == 1


def test_a_slow_server_is_given_up(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue.hub.download.READ_S", 0.05)
    hub.delay_s = 0.3
    with pytest.raises(HubError, match=r"no answer within .* s, 4 times"):
        fetch(remote(hub), tmp_path / "got")


def test_where_nobody_listens_is_said_at_once(closed_endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="cannot be reached"):
        fetch(RemoteFile(NAME, f"{closed_endpoint}/x", 5), tmp_path / "got")


def test_what_is_no_json_is_said(hub: Any) -> None:
    hub.files["page"] = b"<html>sign in to this network</html>"
    with open_client() as client, pytest.raises(HubError, match="something other than JSON: b'<html>"):
        get_json(client, f"{hub.endpoint}/cdn/page")


def test_a_listing_without_end_is_stopped(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue.hub.download.LISTING_BYTES", 1000)
    with open_client() as client, pytest.raises(HubError, match="a listing of more than 1,000 bytes"):
        get_json(client, f"{hub.endpoint}/cdn/{NAME}")


def test_a_listing_nested_without_end_is_told(hub: Any) -> None:
    hub.files["page"] = b"[" * 200_000
    with open_client() as client, pytest.raises(HubError, match="something other than JSON"):
        get_json(client, f"{hub.endpoint}/cdn/page")


@pytest.mark.parametrize("proxy", ["socks5h://127.0.0.1:1080", "weird://127.0.0.1"])
def test_a_proxy_that_cannot_be_used_is_told(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)  # not part of what is installed with duologue
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(HubError, match=r"the proxy of the environment cannot be used: .*; set HTTPS_PROXY"):
        open_client()
