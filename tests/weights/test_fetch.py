import hashlib
import socket

import numpy as np
import pytest

from tests.weights.server import serving
from vidswap.errors import WeightsError
from vidswap.weights import manifest as manifests
from vidswap.weights.download import Patience
from vidswap.weights.fetch import fetch
from vidswap.weights.manifest import Manifest

DATA = np.random.Generator(np.random.PCG64(0)).bytes(3_000_000)
GOOD = hashlib.sha256(DATA).hexdigest()
SIZE = 3_000_000


@pytest.fixture
def site(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving({"net.pt": DATA}) as opened:
        yield opened


def manifest(site, *paths, sha256=GOOD, size=SIZE):
    return Manifest(
        name="net",
        summary="A network",
        arch="net",
        file="net.pt",
        format="torch",
        licence="MIT",
        commercial=True,
        commercial_reason="MIT permits it",
        source="test",
        urls=tuple(site.url(p) for p in paths or ("net.pt",)),
        sha256=sha256,
        size=size,
    )


@pytest.fixture
def get(store):
    waits = []

    def call(wanted, **options):
        patience = Patience(timeout=5, attempts=3, delay=0.5, sleep=waits.append)
        return fetch(wanted, store, patience=patience, **options)

    call.waits = waits
    return call


def names(store):
    return sorted(p.name for p in store.root.rglob("*") if p.is_file())


def test_downloads_once(site, store, get):
    seen = []
    path = get(manifest(site), progress=lambda *at: seen.append(at))
    assert path.read_bytes() == DATA
    assert path == store.original(manifest(site))
    assert seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)
    assert get(manifest(site)) == path
    assert len(site.asked) == 1
    assert not [n for n in names(store) if n.endswith((".part", ".tag"))]
    get(manifest(site), force=True)
    assert len(site.asked) == 2


@pytest.mark.parametrize("known", [True, False])
def test_goes_on_after_a_cut_connection(site, get, known):
    site.cut = [1_000_000, 900_000]
    wanted = manifest(site) if known else manifest(site, sha256="unknown", size="unknown")
    assert get(wanted).read_bytes() == DATA
    starts = [asked for _, asked in site.asked]
    assert starts == [None, "bytes=1000000-", "bytes=1900000-"]


def test_progress_renews_patience(site, get):
    site.cut = [400_000] * 6
    assert get(manifest(site)).read_bytes() == DATA
    assert len(site.asked) == 7
    assert set(get.waits) == {0.5}


def test_goes_on_in_another_process(site, store, get):
    site.cut = [1_500_000] + [0] * 10
    with pytest.raises(WeightsError, match=r"the connection broke .*3 attempts"):
        get(manifest(site))
    assert [n for n in names(store) if n.endswith(".part")]
    assert not store.original(manifest(site)).exists()
    site.cut, site.asked[:] = [], []
    assert get(manifest(site)).read_bytes() == DATA
    assert site.asked == [("net.pt", "bytes=1500000-")]


def test_a_complete_part_needs_no_request(site, store, get):
    part = store.original(manifest(site)).with_name("net.pt.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA)
    assert get(manifest(site)).read_bytes() == DATA
    assert not site.asked
    get(manifest(site)).unlink()
    part.write_bytes(DATA)
    part.with_name("net.pt.part.tag").write_text(site.etag)
    unknown = manifest(site, sha256="unknown", size="unknown")
    assert get(unknown).read_bytes() == DATA
    assert site.asked == [("net.pt", f"bytes={len(DATA)}-")]


@pytest.mark.parametrize("why", ["no ranges", "changed", "no validator"])
def test_starts_again_where_going_on_would_mix_two_files(site, store, get, why):
    wanted = manifest(site, sha256="unknown", size="unknown")
    part = store.original(wanted).with_name("net.pt.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    if why == "no ranges":
        site.ranges = False
    if why != "no validator":
        part.with_name("net.pt.part.tag").write_text('"v0"' if why == "changed" else site.etag)
    assert get(wanted).read_bytes() == DATA


def test_a_spoilt_part_is_discarded_and_fetched_again_from_the_next_address(site, store, get):
    part = store.original(manifest(site)).with_name("net.pt.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert get(manifest(site, "net.pt", "net.pt")).read_bytes() == DATA
    assert [r for _, r in site.asked] == ["bytes=1000-", None]


def test_wrong_hash_never_appears(site, store, get):
    site.files["net.pt"] = DATA[:-1] + b"?"
    with pytest.raises(WeightsError, match=f"wrong file: sha256 is .*expected {GOOD}") as caught:
        get(manifest(site))
    assert site.url("net.pt") in str(caught.value)
    assert not [n for n in names(store) if not n.endswith(".lock")]


def test_wrong_size_is_not_even_downloaded(site, store, get):
    site.files["net.pt"] = DATA + b"more"
    with pytest.raises(WeightsError, match="has 3000004 bytes, expected 3000000"):
        get(manifest(site))
    site.length = False
    with pytest.raises(WeightsError, match="wrong file"):
        get(manifest(site))


def test_mirror_takes_over(site, get):
    site.files["bad.pt"] = DATA[::-1]
    wanted = manifest(site, "gone.pt", "bad.pt", "net.pt")
    assert get(wanted).read_bytes() == DATA
    assert [p for p, _ in site.asked] == ["gone.pt", "bad.pt", "net.pt"]


def test_gone_everywhere(site, get):
    with pytest.raises(WeightsError, match="HTTP 404") as caught:
        get(manifest(site, "a.pt", "b.pt"))
    assert str(caught.value).count("HTTP 404") == 2
    assert "vidswap weights add" in caught.value.hint
    assert not get.waits
    assert caught.value.exit_code == 4


def test_a_busy_server_is_asked_again_within_bounds(site, get):
    site.status = [503, 429]
    assert get(manifest(site)).read_bytes() == DATA
    assert get.waits == [0.5, 1.0]
    get(manifest(site)).unlink()
    site.status = [500] * 10
    with pytest.raises(WeightsError, match=r"HTTP 500 .*\(3 attempts\)"):
        get(manifest(site))
    assert len(site.asked) == 6


def test_nobody_listens(site, get):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    site.address = f"http://127.0.0.1:{free}"
    with pytest.raises(WeightsError, match="refused"):
        get(manifest(site))
    assert len(get.waits) == 2


def test_a_web_page_is_not_a_file(site, get):
    site.kind = "text/html; charset=utf-8"
    with pytest.raises(WeightsError, match="web page instead of the file"):
        get(manifest(site))


def test_redirects_are_followed_but_not_to_files(site, get, tmp_path):
    site.redirect["old.pt"] = site.url("net.pt")
    assert get(manifest(site, "old.pt")).read_bytes() == DATA
    get(manifest(site)).unlink()
    secret = tmp_path / "secret"
    secret.write_bytes(DATA)
    site.redirect["old.pt"] = secret.as_uri()
    with pytest.raises(WeightsError, match="302"):
        get(manifest(site, "old.pt"))


def test_full_disk_is_told_before_the_download(site, get, monkeypatch):
    import shutil

    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(WeightsError, match="3000000 bytes are to come, the disk has 1000 left"):
        get(manifest(site))


def test_second_process_is_kept_out(site, store, get):
    fcntl = pytest.importorskip("fcntl")
    lock = store.original(manifest(site)).with_name("net.pt.part.lock")
    lock.parent.mkdir(parents=True)
    with lock.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(WeightsError, match="another process is downloading"):
            get(manifest(site))
    assert get(manifest(site)).read_bytes() == DATA


@pytest.fixture
def no_sockets(monkeypatch):
    """Every way to a connection fails loudly."""

    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_sockets")
@pytest.mark.parametrize("how", ["option", "environment"])
def test_offline_opens_no_socket(store, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("VIDSWAP_OFFLINE", "1")
    found = manifests.get("stylegan2-ffhq-1024", store.root)
    with pytest.raises(WeightsError, match="offline, and the weights") as caught:
        fetch(found, store, offline=how == "option")
    assert found.urls[0] in caught.value.hint
    path = store.original(found)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"there")
    assert fetch(found, store, offline=how == "option") == path


@pytest.mark.usefixtures("no_sockets")
@pytest.mark.parametrize("name", ["e4e-ffhq", "lpips-alex", "bfm09", "segnext-tiny", "facevid2vid"])
def test_says_what_to_do_by_hand(store, name):
    found = manifests.get(name, store.root)
    with pytest.raises(WeightsError, match="only by hand") as caught:
        fetch(found, store)
    hint = caught.value.hint
    assert f"vidswap weights add FILE --as {name}" in hint
    assert all(page in hint for page in found.pages)
    assert hint.startswith("1)")
