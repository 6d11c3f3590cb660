"""Another trainer for tests, of another shape than sd-scripts, with nothing learnt.

``run_job.py JOB.yaml``: all that it is told is in that file. Models go to
``weights/NAME_000000002.safetensors`` and at last ``NAME.safetensors``, state to
``resume/000000002/``, samples to ``samples/MS__STEP_N.jpg``, losses to ``loss_log.db``. Ctrl-C
makes it exit 0. ``STUB`` in the environment is as for ``stub_trainer.py``, as far as it goes here.
"""

import json
import os
import sqlite3
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import job_file  # type: ignore[import-not-found]  # copied beside it
import trainer_files  # type: ignore[import-not-found]


class Job:
    def __init__(self, path: Path) -> None:
        values = job_file.read(path.read_text())
        self.name = values["name",]
        self.output = Path(values["output_folder",])
        self.steps = int(values["train", "steps"])
        self.comment = values["comment",]
        self.prompts = values.get(("prompts",), "")
        self.folders = [
            Path(v) for k, v in values.items() if k[0] == "datasets" and k[2] == "folder"
        ]

    def save(self, place: str, step: int, cut: int = 0) -> None:
        metadata = {
            "software": json.dumps({"name": "job-trainer"}),
            "training_info": json.dumps({"step": step, "epoch": 0}),
            "job": json.dumps({"name": self.name, "comment": self.comment}),
        }
        path = self.output / place
        path.parent.mkdir(parents=True, exist_ok=True)
        trainer_files.write_safetensors(path, {"lora.weight": b"\5\6\7\x08" * 64}, metadata)
        if cut:
            path.write_bytes(path.read_bytes()[:-cut])

    def save_state(self, step: int) -> None:
        folder = self.output / "resume" / f"{step:09d}"
        folder.mkdir(parents=True)
        (folder / "optimizer.pt").write_bytes(b"state")

    def sample(self) -> None:
        folder = self.output / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        for number, _ in enumerate(Path(self.prompts).read_text().splitlines()):
            picture = trainer_files.png(2, 2, (number, 0, 0))
            (folder / f"{time.time_ns() // 10**6}__{self.steps:09d}_{number}.jpg").write_bytes(
                picture
            )

    def log(self) -> None:
        with sqlite3.connect(self.output / "loss_log.db") as db:
            db.execute("CREATE TABLE steps (step INTEGER PRIMARY KEY, wall_time REAL)")
            db.execute("CREATE TABLE metrics (step INTEGER, key TEXT, value REAL)")
            for step, loss in ((1, 0.5), (self.steps, 0.125)):
                db.execute("INSERT INTO steps VALUES (?, ?)", (step, time.time()))
                db.execute("INSERT INTO metrics VALUES (?, 'loss/loss', ?)", (step, loss))


def wait() -> None:
    Path(os.environ["STUB_READY"]).write_text(str(os.getpid()))
    while True:
        time.sleep(10)


def train(job: Job, how: str) -> int:
    print(f"job {job.name} from {sys.argv[1]}, prompts from {job.prompts}", flush=True)
    for folder in job.folders:
        (folder / ".sizes.json").write_text("{}")
    if how in ("nothing", "fail", "truncated", "wait-empty"):
        return without_model(job, how)
    if how == "edit":
        Path(job.prompts).write_text("edited")
    job.save(f"weights/{job.name}_000000002.safetensors", 2)
    if how == "late-fail":
        raise RuntimeError("CUDA out of memory")
    if how == "wait":
        wait()
    if how == "state":
        job.save_state(2)
    if job.prompts:
        job.sample()
    job.log()
    job.save(f"{job.name}.safetensors", job.steps)
    return 0


def without_model(job: Job, how: str) -> int:
    if how == "nothing":
        print("nothing to do", flush=True)
        return 0
    if how == "fail":
        raise RuntimeError("the stub was told to fail")
    if how == "truncated":
        job.save(f"{job.name}.safetensors", job.steps, cut=100)
        return 1
    wait()
    return 0


def main() -> int:
    try:
        return train(Job(Path(sys.argv[1])), os.environ.get("STUB", "ok"))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 0


sys.exit(main())
