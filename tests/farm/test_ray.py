"""A run on Ray: with a stand-in for Ray in every test run, on a real local cluster when slow."""

import hashlib
import json
import os
import random
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.farm.conftest import until
from vidswap import recipe as recipes
from vidswap.errors import MediaError, RecipeError, StateError
from vidswap.farm import ray_run
from vidswap.farm.pool import Pool
from vidswap.farm.ray_cluster import RayOptions, connected, crew_size
from vidswap.farm.ray_pool import DIED, starting_on
from vidswap.farm.renderer import TERM, Renderer, unwrapped
from vidswap.farm.steps import run_plan, work_of
from vidswap.run.jobfile import encode_request
from vidswap.run.request import Request, Watch
from vidswap.testing import Clip, write_clip

SMALL = ("--set", "run.chunk=6", "--set", "track.span=12")
LONG = ("--set", "run.chunk=12", "--set", "track.span=24", "--set", 'encode.preset="veryslow"')


@pytest.fixture(scope="module")
def film(media):
    return write_clip(media / "ray.mp4", Clip(frames=30))


@pytest.fixture(scope="module")
def long_film(media):
    return write_clip(media / "ray-long.mp4", Clip(frames=240, width=640, height=352))


def ask(film, output, recipe, **watch):
    chosen = recipes.load(str(recipe), ["run.chunk=6", "track.span=12"])
    return Request(film, chosen, output=output, allow_no_face=True, watch=Watch(**watch))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def reference(call, clip, recipe, folder):
    output = folder / "reference.mp4"
    words = ("run", clip, "-o", output, "-p", recipe, "--allow-no-face", *SMALL)
    assert call(*words).code == 0
    return digest(output)


class DiedError(Exception):
    """Ray's ``RayActorError``."""


class FakeRay:
    """As much of Ray as is used, in this process. Calls are carried out in any order, when waited for.

    Args:
        dies: Called with (method, arguments) of each attempt; whether the worker dies over it.
    """

    def __init__(self, dies=lambda method, arguments: False):
        self.exceptions = SimpleNamespace(RayError=Exception, RayActorError=DiedError)
        self.dies, self.options, self.killed = dies, {}, 0
        self.most, self._open, self._rng = 0, {}, random.Random(0)

    def remote(self, **options):
        self.options = options
        return lambda kind: SimpleNamespace(remote=lambda *given: Actor(self, kind, given))

    def wait(self, references, num_returns=1, timeout=None):
        working = [r for r in references if r.method != "news"]
        self.most = max(self.most, len(working))
        ready = self._rng.sample(working, min(num_returns, len(working)))
        return [*ready, *(r for r in references if r.method == "news")], []

    def get(self, reference):
        return reference.carry_out()

    def kill(self, actor):
        self.killed += 1


class Actor:
    def __init__(self, ray, kind, given):
        self.ray, self.kind, self.given, self.lives = ray, kind, given, 0
        self.object = kind(*given)

    def __getattr__(self, name):
        method = SimpleNamespace(remote=lambda *arguments: Call(self, name, arguments))
        method.options = lambda **_: method
        return method


class Call:
    def __init__(self, actor, method, arguments):
        self.actor, self.method, self.arguments = actor, method, arguments

    def carry_out(self):
        actor = self.actor
        for _ in range(1 + actor.ray.options.get("max_task_retries", 0)):
            if not actor.ray.dies(self.method, self.arguments):
                return getattr(actor.object, self.method)(*self.arguments)
            actor.object = actor.kind(*actor.given)
        raise DiedError("The actor died unexpectedly before finishing this task.")


@pytest.fixture
def on_fake(monkeypatch):
    def use(ray):
        from contextlib import nullcontext

        monkeypatch.setattr(ray_run, "connected", lambda options: nullcontext(ray))
        monkeypatch.setattr(ray_run, "crew_size", lambda ray, options: 3)
        return ray

    return use


def test_spans_and_chunks_of_a_cluster_give_the_bytes_of_a_run(
    call, on_fake, film, recipe, tmp_path
):
    wanted = reference(call, film, recipe, tmp_path)
    deaths = iter([True, False] * 3)
    ray = on_fake(FakeRay(lambda method, _: method in ("chunk", "span") and next(deaths, False)))
    seen, notes = [], []
    told = {"progress": lambda *step: seen.append(step), "note": notes.append}
    output = tmp_path / "out.mp4"
    found = ray_run.swap_on_ray(ask(film, output, recipe, **told), RayOptions(gpus=0.5))
    assert digest(output) == found["sha256"] == wanted
    assert found["chunks"] == {"all": 5, "kept": 0}
    assert ray.most <= 3  # one part for each worker: nothing piles up
    assert ray.options["num_gpus"] == 0.5
    assert 0 < ray.options["max_task_retries"] < 10
    assert 0 < ray.options["max_restarts"] < float("inf")
    assert ("analyse", 30, 30) in seen
    assert ("render", 30, 30) in seen
    assert not (work_of(ask(film, output, recipe)) / TERM).exists()
    again = ask(film, output, recipe)
    with pytest.raises(StateError, match="exists already"):
        ray_run.swap_on_ray(again, RayOptions())


@pytest.mark.slow
def test_a_chunk_that_kills_every_worker_is_named_and_the_rest_is_kept(
    on_fake, film, recipe, tmp_path
):
    output = tmp_path / "out.mp4"
    begun, lives = [], []

    def dies(method, arguments):
        if method == "chunk" and arguments not in begun:
            begun.append(arguments)
        poison = method == "chunk" and begun.index(arguments) == 2
        lives.extend([1] * poison)
        return poison

    on_fake(FakeRay(dies))
    with pytest.raises(MediaError, match=r"frames \d+ to \d+ cost 3 workers"):
        ray_run.swap_on_ray(ask(film, output, recipe), RayOptions())
    assert len(lives) == 3
    assert not output.exists()
    on_fake(FakeRay())
    found = ray_run.swap_on_ray(ask(film, output, recipe), RayOptions())
    assert output.exists()
    assert found["chunks"] == {"all": 5, "kept": 2}


def test_a_worker_of_an_older_driver_cannot_commit(film, recipe, tmp_path):
    request = ask(film, tmp_path / "out.mp4", recipe)
    run_plan(request)
    (work_of(request) / TERM).write_text("new")
    old = Renderer(encode_request(request), "old").chunk(0)
    with pytest.raises(StateError, match="taken this job over"):
        unwrapped(old)
    assert unwrapped(Renderer(encode_request(request), "new").chunk(0))["frames"] == 6


def test_errors_of_workers_keep_their_kind(film, recipe, tmp_path):
    request = ask(tmp_path / "missing.mp4", tmp_path / "out.mp4", recipe)
    worker = Renderer(encode_request(request), "term")
    with pytest.raises(MediaError, match="no such file") as met:
        unwrapped(worker.plan(5))
    assert met.value.path.endswith("missing.mp4")
    with pytest.raises(RuntimeError, match="bug"):
        unwrapped({"error": {"kind": "bug", "message": "Traceback"}})


@pytest.mark.parametrize("wrong", [{"gpus": 1.5}, {"cpus": -1.0}, {"cpus": 0.0, "gpus": 0.0}])
def test_shares_that_ray_cannot_give_are_refused(wrong):
    with pytest.raises(RecipeError):
        RayOptions(**wrong)


def test_as_many_workers_as_the_cluster_has_room_for():
    def cluster(**resources):
        return SimpleNamespace(cluster_resources=lambda: resources)

    assert crew_size(cluster(CPU=16.0, GPU=2.0), RayOptions(gpus=0.25, cpus=1)) == 8
    assert crew_size(cluster(CPU=16.0, GPU=2.0), RayOptions(workers=3)) == 3
    with pytest.raises(StateError, match="no room"):
        crew_size(cluster(CPU=16.0), RayOptions(gpus=1))


def test_a_pool_on_ray_replaces_a_worker_that_died(tmp_path):
    codes = iter([None, 0])

    class Hand:
        def work(self, arguments, log):
            code = next(codes)
            if code is None:
                raise DiedError
            Path(log).touch()
            return code

    ray = FakeRay()
    ray.remote = lambda **options: lambda kind: SimpleNamespace(remote=lambda: Actor(ray, Hand, ()))
    pool = Pool(["worker", "queue"], 1, tmp_path / "logs", starting_on(ray, RayOptions()))
    pool.fill()
    (remark,) = pool.reap()
    assert f"signal {-DIED}" in remark
    pool.fill()
    assert pool.reap() == []
    pool.stop(0.1)
    assert ray.killed == 2


def test_without_ray_the_error_says_what_to_install(call, film, recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    done = call("run", film, "-o", tmp_path / "o.mp4", "-p", recipe, "--allow-no-face", "--ray")
    assert done.code == 2
    assert "vidswap[ray]" in done.err
    assert not list(tmp_path.iterdir())


# --- a real cluster


def remarks(folder, number):
    text = (folder / f"log-{number}.txt").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def workers(folder, number):
    """Process ids of workers, by what the driver says of them."""
    notes = [r["message"] for r in remarks(folder, number) if r.get("event") == "log"]
    return {n.split(":")[0]: int(n.split()[3]) for n in notes if ": process " in n[:24]}


def rendered(folder, number):
    return max(
        (r["done"] for r in remarks(folder, number) if r.get("stage") == "render"), default=0
    )


def begin(start, film, recipe, output):
    return start(
        *("run", film, "-o", output, "-p", recipe, "--allow-no-face", *LONG, "--json"),
        *("--ray", "local", "--workers", "2"),
        *("--log-format", "json"),
    )


@pytest.mark.slow
def test_a_worker_and_the_driver_are_killed(call, start, long_film, recipe, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    plain = tmp_path / "plain.mp4"
    words = ("run", long_film, "-o", plain, "-p", recipe, "--allow-no-face", *LONG)
    assert call(*words).code == 0
    output = tmp_path / "out.mp4"
    driver = begin(start, long_film, recipe, output)
    assert until(lambda: len(workers(tmp_path, 0)) == 2 and rendered(tmp_path, 0) > 12, 300)
    os.kill(workers(tmp_path, 0)["worker 1"], signal.SIGKILL)
    told = lambda: any("died; its part is done again" in str(r) for r in remarks(tmp_path, 0))  # noqa: E731
    assert until(told, 120)
    assert driver.poll() is None, "too fast to be killed in the middle"
    driver.kill()
    driver.wait()
    assert not output.exists()
    kept = len(list(tmp_path.glob("out.mp4.vidswap/render-*/chunk-*.json")))
    assert kept >= 1
    second = begin(start, long_film, recipe, output)
    out, _ = second.communicate(timeout=500)
    assert second.returncode == 0
    found = json.loads(out)
    assert digest(output) == digest(plain)
    assert found["chunks"]["all"] == 20
    assert kept <= found["chunks"]["kept"] < 20
    assert not list(tmp_path.glob("out.mp4.vidswap/term"))


@pytest.mark.slow
def test_a_batch_on_a_cluster_gives_the_same_bytes(call, start, film, recipe, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed")
    wanted = reference(call, film, recipe, tmp_path)
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (source / name).write_bytes(film.read_bytes())
    process = start(
        *("batch", source, out, "-p", recipe, "--allow-no-face", *SMALL, "--settle", "0"),
        *("--share", "chunks", "--ray", "local", "--workers", "2"),
    )
    assert process.wait(timeout=500) == 0
    assert {digest(out / f"{name}_swapped.mp4") for name in "ab"} == {wanted}


def test_no_cluster_at_an_address():
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(StateError, match="no Ray cluster at"), connected(RayOptions("127.0.0.1:1")):
        pass
