"""A crew on a Dask cluster: any machines that share nothing with this one but the network.

The cluster's workers need the same versions of shelfcast and TensorFlow, which is checked. The
dataset goes there with the first training, the models come back as bytes.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from toolchain.errors import InputError, ToolError, ToolMissing
from toolchain.progress import silent
from toolchain.study.crew import Done, Event, Failed, Refused, Task, Worker, WorkerDied
from toolchain.study.store import FILES

_CONNECT_S = 10
"""For the scheduler to answer, and as long again for its first worker to come."""
_ADDRESS = re.compile(r"(tcp|tls|ws|wss)://\S+:\d+")


class ClusterCrew:
    """The workers of a Dask cluster."""

    def __init__(self, scheduler: str, dataset: Path) -> None:
        """Connect to the scheduler at an address such as `tcp://10.0.0.1:8786`.

        Raises:
            InputError: that is no address.
            ToolMissing: Dask is not installed here.
            ToolError: no scheduler answers, or it has no workers.
        """
        if not _ADDRESS.fullmatch(scheduler):
            raise InputError(f'"{scheduler}": not an address such as tcp://10.0.0.1:8786.')
        try:
            import distributed
        except ImportError as cause:
            raise ToolMissing(
                "distributed: not installed. Install it: pip install 'shelfcast[cluster]'"
            ) from cause
        try:
            self._client: Any = distributed.Client(
                scheduler, timeout=_CONNECT_S, set_as_default=False
            )
        except (OSError, ValueError, TypeError) as cause:
            raise ToolError(
                f"{scheduler}: no Dask scheduler answers within {_CONNECT_S} s. Start one: "
                "dask scheduler"
            ) from cause
        try:
            self._client.wait_for_workers(1, timeout=_CONNECT_S)
        except TimeoutError as cause:
            self._client.close()
            raise ToolError(
                f"{scheduler}: the Dask scheduler has no workers after {_CONNECT_S} s. Start one: "
                f"dask worker {scheduler} --nthreads 1"
            ) from cause
        self._dataset = self._client.scatter(dataset.read_bytes(), hash=True)

    def __enter__(self) -> ClusterCrew:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the cluster; what it still does for us is cancelled."""
        self._client.close()

    def work(self, tasks: Sequence[Task]) -> Iterator[Event]:
        """Do the tasks, beginning with the first, and tell when one ends."""
        import distributed

        completed: Any = distributed.as_completed
        futures = {
            self._client.submit(
                work_remotely,
                task.request("", ""),
                self._dataset,
                {} if task.train else {name: (task.folder / name).read_bytes() for name in FILES},
                priority=-index,
                pure=False,
            ): task
            for index, task in enumerate(tasks)
        }
        try:
            for future in completed(list(futures), loop=self._client.loop):
                yield _event(futures[future], future)
        finally:
            self._client.cancel(list(futures), force=True)


def _event(task: Task, future: Any) -> Event:
    """Turn what came of a future into what came of its task."""
    error = future.exception()
    if error is not None:
        return Failed(task, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    answer = future.result()
    if "failed" in answer:
        return Failed(task, answer["failed"])
    for name, content in answer["files"].items():
        (task.folder / name).write_bytes(content)
    return Done(task, answer["about"])


def work_remotely(
    request: dict[str, Any], dataset: bytes, files: dict[str, bytes]
) -> dict[str, Any]:
    """Do a request on a machine of the cluster.

    In a process of its own: a worker of Dask may have several threads, and TensorFlow's seeds and
    sessions are the whole process's.
    """
    with tempfile.TemporaryDirectory(prefix="shelfcast-") as scratch:
        folder = Path(scratch, "model")
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        sales = Path(scratch, "windows.npz")
        sales.write_bytes(dataset)
        log = Path(scratch, "worker.log")
        worker = Worker(log)
        try:
            about = worker.do({**request, "dataset": str(sales), "folder": str(folder)}, silent)
        except Refused as refusal:
            return {"failed": str(refusal)}
        except WorkerDied as death:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            return {"failed": f"{str(death).split(';')[0]}{': ' if last else ''}{''.join(last)}"}
        finally:
            worker.close()
        return {"about": about, "files": {name: (folder / name).read_bytes() for name in FILES}}
