"""Who does the trainings: worker processes on this machine. `cluster.py` has another crew."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from toolchain.endings import signal_name
from toolchain.network.candidate import Candidate
from toolchain.progress import Progress
from toolchain.study.keys import training_code

# -P: a folder named toolchain or tensorflow where the user stands must not be imported.
WORKER = (sys.executable, "-P", "-m", "toolchain.study.worker")
_TRIES = 2
"""A worker that dies is replaced once for each training: it may have been the memory of the other
one that was missing."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Task:
    """One training to be done."""

    name: str
    key: str
    candidate: Candidate
    seed: int
    folder: Path
    """Where its files go."""
    train: bool = True
    """False: the files lie there already and only need their scores."""

    def request(self, dataset: str, folder: str) -> dict[str, Any]:
        """Return what a worker is told."""
        return {
            "code": training_code(),
            "dataset": dataset,
            "candidate": asdict(self.candidate),
            "seed": self.seed,
            "folder": folder,
            "train": self.train,
        }


@dataclass(frozen=True)
class Advance:
    """A training goes on."""

    task: Task
    fraction: float
    words: str


@dataclass(frozen=True)
class Done:
    """A training is finished; its files lie in the task's folder."""

    task: Task
    about: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """A training came to nothing."""

    task: Task
    why: str


Event = Advance | Done | Failed


class Crew(Protocol):
    """Does tasks, several at a time."""

    def work(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """Do the tasks, beginning with the first, and tell what happens as it happens."""


class WorkerDied(Exception):
    """A worker's process ended before its work."""


class Refused(Exception):
    """A worker said why it cannot do a task."""


class Worker:
    """A worker process; starts with the first request."""

    def __init__(self, log: Path, command: Sequence[str] = WORKER) -> None:
        """Keep what the process prints in `log`."""
        self._log = log
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._closed = False
        self._lock = threading.Lock()
        """For the two above."""
        self._busy = threading.Lock()
        """Held while somebody reads the answers."""

    def do(self, request: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Have a request done.

        Raises:
            Refused: it cannot be done.
            WorkerDied: the process ended; the next request starts another.
        """
        with self._busy:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):  # it is dead: the end of its answers says so
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
            for line in process.stdout:
                try:
                    answer = json.loads(line)
                except ValueError:
                    break  # whatever it is now, it is not our worker any more
                if "done" in answer:
                    result: dict[str, Any] = answer["done"]
                    return result
                if "failed" in answer:
                    raise Refused(answer["failed"])
                progress(answer["at"], answer["words"])
            # What it has started may have outlived it.
            _kill(process)
            code = _end(process)
            with self._lock:
                self._process = None
        how = f"exit code {code}" if code >= 0 else signal_name(-code)
        raise WorkerDied(f"its process ended with {how}; what it printed: {self._log}")

    def close(self) -> None:
        """End the process and all that it started."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
            if process is not None:
                _kill(process)
        # Whoever waits for an answer now hears its end, and lets go of the pipes.
        with self._busy:
            if process is not None:
                _end(process)

    def _running(self) -> subprocess.Popen[str]:
        with self._lock:
            if self._closed:
                raise Refused("the study was ended")
            if self._process is None:
                self._log.parent.mkdir(parents=True, exist_ok=True)
                with self._log.open("a", encoding="utf-8") as log:
                    self._process = subprocess.Popen(
                        self._command,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        encoding="utf-8",
                        env={**os.environ, **_ONE_THREAD},
                        # A group of its own: Ctrl-C is for the process that leads, and the worker
                        # ends together with the converter it may have started.
                        start_new_session=True,
                    )
            return self._process


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process and all that it started."""
    if sys.platform == "win32":
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[str]) -> int:
    """Wait for a process that is ending, close its pipes, and return its exit code."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):  # what was never sent, nobody will read
                stream.close()
    return process.wait()


class LocalCrew:
    """Worker processes on this machine, each busy with one training at a time."""

    def __init__(
        self, workers: int, dataset: Path, logs: Path, command: Sequence[str] = WORKER
    ) -> None:
        """Lead `workers` processes that read the dataset at `dataset`."""
        self._dataset = str(dataset.resolve())
        self._workers = [
            Worker(logs / f"worker-{number}.log", command) for number in range(1, workers + 1)
        ]

    def __enter__(self) -> LocalCrew:
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers, whatever happened."""
        for worker in self._workers:
            worker.close()

    def work(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """Do the tasks, beginning with the first, and tell what happens as it happens."""
        waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
        for task in tasks:
            waiting.put(task)
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        for worker in self._workers[: len(tasks)]:
            threading.Thread(
                target=self._serve, args=(worker, waiting, events.put), daemon=True
            ).start()
        open_tasks = len(tasks)
        while open_tasks:
            event = events.get()
            open_tasks -= not isinstance(event, Advance)
            yield event

    def _serve(
        self, worker: Worker, waiting: queue.SimpleQueue[Task], tell: Callable[[Event], None]
    ) -> None:
        """Have one worker do what is waiting until nothing is."""
        while True:
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            tell(self._do(worker, task, tell))

    def _do(self, worker: Worker, task: Task, tell: Callable[[Event], None]) -> Event:
        request = task.request(self._dataset, str(task.folder.resolve()))
        why = ""
        for _ in range(_TRIES):
            try:
                about = worker.do(request, lambda at, words: tell(Advance(task, at, words)))
                return Done(task, about)
            except Refused as refusal:
                return Failed(task, str(refusal))
            except WorkerDied as death:
                why = f"{death}. Too little memory? Try fewer --workers."
        return Failed(task, why)
