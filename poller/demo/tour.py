"""What does the tour do, step by step?

    emulators ── sources ── settings file ── daemon ── records into the sources ── watch ── tables, verdict ── end

The tour ends by itself when every record is counted and the numbers add up, or when nothing changes any more.
Each step is a block that ends what it began, so after a signal the tour ends in the same order: first the daemon with
its functions, then the emulators, then the files.
With `keep`, everything runs on after the verdict until a signal comes, and the files stay.

    exit code   0             the numbers add up
                1             they do not, or something failed
                128 + signal  a signal came before the verdict
"""

from __future__ import annotations

import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio

from poller.demo.books import Book
from poller.demo.daemon import Daemon, daemon, reserved_address, settings
from poller.demo.processes import CREDENTIALS, DemoError, environment_of_the_demo, must_run, tail
from poller.demo.scenes import Scene, resharding, sharing, whole
from poller.demo.screen import OutputLost, Screen
from poller.demo.watch import Watch
from poller.errors import ServiceError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(*, keep: bool, reshard: bool, workers: int = 1) -> int:
    """Give the tour, and return the exit code. Raise OSError or SystemExit if the output cannot be written.

    `keep` leaves everything running after the verdict, until a signal comes.
    `reshard` gives another, short tour: a stream whose shards are split and merged.
    Several `workers` give another short tour: they share a stream, and one of them is killed in the middle.
    """
    ended = anyio.run(_until_signal, keep, reshard, workers)
    if isinstance(ended, OutputLost):
        raise ended.error
    return ended


async def _until_signal(keep: bool, reshard: bool, workers: int) -> int | OutputLost:
    screen = Screen()
    with (
        environment_of_the_demo(),
        folder(keep=keep) as work_folder,
        anyio.open_signal_receiver(*SIGNALS) as signals,
    ):
        tour = Tour(screen, work_folder, keep=keep, reshard=reshard, workers=workers)
        async with anyio.create_task_group() as group:
            group.start_soon(tour.give, group.cancel_scope)
            cut_short_by = await anext(signals)
            group.cancel_scope.cancel()
    if tour.lost is not None:
        return tour.lost
    if tour.exit_code is not None:
        return tour.exit_code
    screen.failed(f"Cut short by {cut_short_by.name}; everything was stopped.")
    return 128 + cut_short_by


@contextmanager
def folder(*, keep: bool) -> Iterator[Path]:
    """Make a folder for the tour's files. It is removed after the block, unless `keep`."""
    work_folder = Path(tempfile.mkdtemp(prefix="poller-demo-"))
    try:
        yield work_folder
    finally:
        if not keep:
            shutil.rmtree(work_folder, ignore_errors=True)


class Tour:
    """One tour. `exit_code` is None until the tour ends. `lost` is the error of an output that could not be written."""

    def __init__(self, screen: Screen, work_folder: Path, *, keep: bool, reshard: bool, workers: int) -> None:
        self.exit_code: int | None = None
        self.lost: OutputLost | None = None
        self._screen = screen
        self._folder = work_folder
        self._keep = keep
        self._workers = workers
        self._scene = resharding if reshard else sharing if workers > 1 else whole
        self._began = time.monotonic()

    async def give(self, scope: anyio.CancelScope) -> None:
        """Give the whole tour, then cancel the scope, which stops waiting for signals."""
        try:
            await self._steps()
        except OutputLost as lost:
            self.lost = lost
        except (DemoError, ServiceError) as error:
            self._screen.failed(str(error))
            self.exit_code = 1
        scope.cancel()

    async def _steps(self) -> None:
        async with self._scene(self._folder, self._screen.step) as scene:
            try:
                await self._act(scene)
            except ServiceError:
                scene.must_run()
                raise

    async def _act(self, scene: Scene) -> None:
        for part in scene.parts:
            for step in await part.build():
                self._screen.step(step)
        with reserved_address() as address:
            async with daemon(self._write_settings(scene, address), address, workers=self._workers) as running:
                await self._watch_and_show(scene, running)

    async def _watch_and_show(self, scene: Scene, running: Daemon) -> None:
        screen = self._screen
        await running.ready()
        screen.step(f"The daemon is ready; its log is {running.log}")
        if self._workers > 1:
            screen.step(f"{self._workers} workers share the stream, by leases in the file poller.db")
        books = await self._send_and_watch(scene, running)
        self._show(scene, books, running)
        if self._keep:
            screen.invitation(self._invitation(scene, running), running.address)
            await running.process.wait()
            must_run(running.process, "the daemon", running.log)

    @property
    def _settings_file(self) -> Path:
        return self._folder / "poller.toml"

    def _write_settings(self, scene: Scene, address: str) -> Path:
        file = self._settings_file
        of_parts = (part.settings() for part in scene.parts)
        file.write_text(
            settings(scene.endpoint_url, address, scene.api, scene.endpoints) + "".join(of_parts), encoding="utf-8"
        )
        self._screen.settings(file, file.read_text(encoding="utf-8"))
        return file

    async def _send_and_watch(self, scene: Scene, running: Daemon) -> list[Sequence[Book]]:
        for part in scene.parts:
            self._screen.step(part.intention())
        with self._screen.progress() as progress:

            async def kill() -> None:
                pid = await running.kill_a_worker()
                self._screen.step(f"Worker {running.killed} was killed (kill -9 {pid}); the others take its shards")

            return await Watch(scene, running, progress, kill=kill if self._workers > 1 else None).until_settled()

    def _show(self, scene: Scene, books: Sequence[Sequence[Book]], running: Daemon) -> None:
        faults = [fault for of_part in books for book in of_part for fault in book.discrepancies()]
        if faults:
            self._screen.step(f"The end of the daemon's log:\n{tail(running.log)}")
        if running.killed is not None:
            self._screen.step(
                f"Worker {running.killed} had up to a second of work that was not stored: it was done once more"
            )
        for part, of_part in zip(scene.parts, books, strict=True):
            for sentence in part.story(of_part):
                self._screen.step(sentence)
        for part, of_part in zip(scene.parts, books, strict=True):
            for table in part.tables(of_part):
                self._screen.table(table)
        self._screen.verdict(faults, time.monotonic() - self._began)
        self.exit_code = 1 if faults else 0

    def _invitation(self, scene: Scene, running: Daemon) -> list[str]:
        endpoints = {f"AWS_ENDPOINT_URL_{service.upper()}": url for service, url in scene.endpoints.items()}
        variables = CREDENTIALS | {"AWS_ENDPOINT_URL": scene.endpoint_url} | endpoints
        return [
            "export " + " ".join(f"{name}={value}" for name, value in variables.items()),
            *(line for part in scene.parts for line in part.invitation()),
            f"curl -s http://{running.address}/metrics | grep ^poller_records",
            f"tail -f {shlex.quote(str(running.log))}",
            f"poller status -c {shlex.quote(str(self._settings_file))}",
        ]
