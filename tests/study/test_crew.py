"""Worker processes that misbehave: programs of a few lines stand in for the one that trains."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toolchain.network.candidate import Candidate
from toolchain.study.crew import WORKER, Done, Failed, LocalCrew, Task, Worker, WorkerDied

CANDIDATE = Candidate(hidden=(4,), features=("units",), window=7)
ANSWER = "print(json.dumps({'done': {'seed': request['seed']}}), flush=True)"


def tasks_for(tmp_path: Path, *seeds: int) -> list[Task]:
    return [Task(f"model{seed}", "key", CANDIDATE, seed, tmp_path) for seed in seeds]


def worker_that(tmp_path: Path, body: str) -> tuple[str, ...]:
    """Return the command of a worker that does `body` with each `request`."""
    program = tmp_path / "worker.py"
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    program.write_text(
        "import json, os, signal, sys, time\n"
        f"for line in sys.stdin:\n    request = json.loads(line)\n{lines}\n"
    )
    return (sys.executable, str(program))


def crew_of(tmp_path: Path, body: str, workers: int = 1) -> LocalCrew:
    command = worker_that(tmp_path, body)
    return LocalCrew(workers, tmp_path / "windows.npz", tmp_path / "logs", command)


def test_tasks_are_begun_in_their_order(tmp_path):
    with crew_of(tmp_path, ANSWER) as crew:
        events = list(crew.work(tasks_for(tmp_path, 3, 1, 2)))

    assert [event.about["seed"] for event in events] == [3, 1, 2]


def test_the_workers_share_the_tasks(tmp_path):
    (tmp_path / "met").mkdir()
    body = (
        f"met = {str(tmp_path / 'met')!r}\n"
        "open(os.path.join(met, str(os.getpid())), 'w').close()\n"
        "end = time.monotonic() + 30\n"
        "while len(os.listdir(met)) < 2 and time.monotonic() < end:\n"
        "    time.sleep(0.01)\n"
        "print(json.dumps({'done': {'pid': os.getpid()}}), flush=True)"
    )
    with crew_of(tmp_path, body, workers=2) as crew:
        events = list(crew.work(tasks_for(tmp_path, *range(6))))

    assert len({event.about["pid"] for event in events}) == 2


def test_a_worker_that_dies_is_replaced_and_the_task_done(tmp_path):
    mark = tmp_path / "died"
    body = (
        f"if request['seed'] == 2 and not os.path.exists({str(mark)!r}):\n"
        f"    open({str(mark)!r}, 'w').close()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n" + ANSWER
    )
    with crew_of(tmp_path, body) as crew:
        events = list(crew.work(tasks_for(tmp_path, 1, 2, 3)))

    assert [event.about["seed"] for event in events if isinstance(event, Done)] == [1, 2, 3]


def test_a_task_that_kills_every_worker_fails_and_the_others_go_on(tmp_path):
    body = (
        "if request['seed'] == 2:\n"
        "    print('no memory', file=sys.stderr, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n" + ANSWER
    )
    with crew_of(tmp_path, body) as crew:
        events = list(crew.work(tasks_for(tmp_path, 1, 2, 3)))

    assert [type(event) for event in events] == [Done, Failed, Done]
    log = tmp_path / "logs" / "worker-1.log"
    assert events[1].why == (
        f"its process ended with SIGKILL; what it printed: {log}. Too little memory? Try fewer "
        "--workers."
    )
    assert log.read_text() == "no memory\nno memory\n"


def test_what_a_worker_refuses_is_told(tmp_path):
    body = "print(json.dumps({'failed': 'training diverged'}), flush=True)"
    with crew_of(tmp_path, body) as crew:
        (event,) = crew.work(tasks_for(tmp_path, 1))

    assert (type(event), event.why) == (Failed, "training diverged")


def test_an_answer_that_is_none(tmp_path):
    with crew_of(tmp_path, "print('hello', flush=True)") as crew:
        (event,) = crew.work(tasks_for(tmp_path, 1))

    assert isinstance(event, Failed)
    assert event.why.startswith("its process ended with SIGKILL; ")


def test_workers_end_with_their_crew(tmp_path):
    """In the middle of a training, too, and with them what they have started."""
    body = (
        "import subprocess\n"
        f"child = subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(60)'])\n"
        "print(json.dumps({'at': 0.5, 'words': f'{os.getpid()} {child.pid}'}), flush=True)\n"
        "time.sleep(60)"
    )
    with crew_of(tmp_path, body) as crew:
        event = next(crew.work(tasks_for(tmp_path, 1)))

    for pid in map(int, event.words.split()):
        assert _ended(pid)


def test_the_real_worker_ends_when_its_leader_is_gone(tmp_path):
    """Its input ends; what it is doing then is of no use to anybody."""
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(
            WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            start_new_session=True,
        )  # fmt: skip
        worker.communicate('{"code": "of another version"}\n', timeout=60)

    assert worker.returncode != 0
    assert (tmp_path / "log").read_text() == ""


def test_the_real_worker_refuses_another_version(tmp_path):
    """A cluster may have one; its numbers would be others."""
    worker = Worker(tmp_path / "log")
    try:
        with pytest.raises(Exception, match="another version of shelfcast or TensorFlow"):
            worker.do({"code": "of another version"}, print)
    finally:
        worker.close()


def test_a_program_that_ends_at_once(tmp_path):
    worker = Worker(tmp_path / "log", (sys.executable, "-c", "raise SystemExit(3)"))

    with pytest.raises(WorkerDied, match="its process ended with exit code 3"):
        worker.do({}, print)


def _ended(pid: int) -> bool:
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False
