"""The trainer of ``stub_job_trainer.py``, as loragit sees it: a second implementation of the
interface, which the product does not have.

``python job_trainer.py ARGUMENTS…`` is ``loragit`` with this trainer among those that it knows.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

from loragit.dataset import inputs
from loragit.dataset.file_kinds import FileKinds
from loragit.dataset.inputs import CannotReadInput
from loragit.dataset.used_files import CaptionProblem, ConfigFile, UsedFiles, UsedFolder
from loragit.errors import Finding
from loragit.secrets.find import SecretArgument
from loragit.settings import schema
from loragit.trainers import kinds
from loragit.trainers.arguments import Arguments, BadArgument, Value
from loragit.trainers.disk_need import Need, PastRun, Saves
from loragit.trainers.losses import LossSource, Scalar
from loragit.trainers.products import Naming, Products
from loragit.trainers.trainer import (
    CheckoutSigns,
    DatasetPlace,
    Defaults,
    Job,
    ModelFamily,
    NamedWeights,
    Plan,
    SavedAt,
    Trainer,
    TrainingHeader,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.support import job_file

KIND = "job-trainer"

FILES = FileKinds(
    images=(".png", ".jpg"),
    caches=(".sizes.json", "*.cache"),
    of_image=re.compile(r"(?P<stem>.+)_latent"),
    of_caption=re.compile(r"(?P<stem>.+)_text"),
)


def _scalars(path: Path, tags: Container[str]) -> Iterator[Scalar]:
    query = "SELECT wall_time, step, key, value FROM metrics JOIN steps USING (step) ORDER BY step"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            rows = [Scalar(*row) for row in db.execute(query)]
    except sqlite3.Error as error:
        raise OSError(str(error)) from error
    yield from (scalar for scalar in rows if scalar.tag in tags)


def _folder(path: Path, caption_end: str) -> UsedFolder:
    names = sorted(each.name for each in path.iterdir() if each.is_file())
    images = tuple(filter(FILES.is_image, names))
    if not images:
        raise CannotReadInput(f"the image folder {path} holds no images")
    stems = {name.rpartition(".")[0] for name in images}
    captions = [n for n in names if n.endswith(caption_end) and n.rpartition(".")[0] in stems]
    have = {name.rpartition(".")[0] for name in captions}
    return UsedFolder(
        path,
        images,
        tuple(captions),
        uncaptioned=tuple(name for name in images if name.rpartition(".")[0] not in have),
        uncaptioned_hint="say captions in the job",
        caption_ends=(caption_end,),
    )


class JobTrainer(Trainer):
    """All that it is told is in one file."""

    kind = KIND
    scripts = ("run_job.py",)
    checkout = CheckoutSigns(
        landmarks=("run_job.py", "job_file.py"),
        names=("jobs",),
        folders=(),
        environments=("jobs",),
        environment_names=(),
        url="https://example.org/jobs",
    )
    importable = False
    takes_first_files = False
    needs = ("torch",)
    own_folder = True
    names_config = "JOB"
    weights = MappingProxyType(
        {"model": "Base-Model", "start_from": "Network-Weights", "resume": "Resume"}
    )
    arguments_file = None
    per_run = frozenset()
    secret_arguments = (SecretArgument("hub_token", "hub_token"),)
    not_in_settings = MappingProxyType({})
    telling = ()
    header_keys = (("job", "job"), ("saved at", "training_info"))
    naming = Naming(
        model=Products(
            (".", "weights"),
            r"(?:weights/{name}_(?P<step>[0-9]{9})|{name})\.(?P<ext>safetensors)",
        ),
        state=Products(("resume",), r"resume/(?P<step>[0-9]{9})"),
        sample=Products(
            ("samples",), r"samples/[0-9]+__(?P<step>[0-9]{9})_(?P<prompt>[0-9]+)\.jpg"
        ),
    )
    files = FILES
    plugins = ()
    losses = LossSource(re.compile(r"loss_log\.db"), None, ("loss/loss",), _scalars)

    def plan(
        self, settings: Arguments, command: Arguments, defaults: Defaults, *, own_script: bool
    ) -> Plan:
        given = settings.updated(command)
        if given.options and not own_script:
            raise BadArgument("the job trainer takes no options", hint="write them into the job")
        config = defaults.workdir / given.leading[0] if given.leading else defaults.config
        values = {}
        if config.exists():
            data = inputs.read_input(config, "job file")
            values = {".".join(map(str, k)): v for k, v in _read(config, data).items()}
        prompts = values.get("prompts")
        return Plan(
            arguments=Arguments({}),
            effective=Arguments({key: (value,) for key, value in values.items()}),
            output_name=defaults.name,
            config=config,
            prompts=defaults.workdir / prompts if prompts else defaults.prompts,
            output=None,
            steps=None,
            epochs=None,
            network_module=None,
            logs=None,
            weights=tuple(
                NamedWeights(key, role, values[key], folder=(".",))
                for key, role in self.weights.items()
                if key in values
            ),
            inputs=(),
            warnings=(),
        )

    def dataset(self, plan: Plan, place: DatasetPlace) -> UsedFiles:
        assert plan.config is not None
        data = inputs.read_input(plan.config, "job file")
        values = _read(plan.config, data)
        folders = tuple(
            _folder(place.workdir / folder, values.get((*at[:2], "captions")) or ".txt")
            for at, folder in values.items()
            if at[0] == "datasets" and at[2:] == ("folder",)
        )
        return UsedFiles(ConfigFile(plan.config, ".yaml", data), folders, {})

    def caption_problem(self, data: bytes) -> CaptionProblem | None:
        return None

    def prompts_problem(self, suffix: str, content: object) -> str | None:
        return None

    def modules(self, effective: Arguments) -> tuple[str, ...]:
        return ()

    def missing_modules(
        self,
        effective: Arguments,
        missing: tuple[str, ...],
        folder: Path,
        packages: Iterable[str],
    ) -> tuple[Finding, ...]:
        return ()

    def family(self, base_model: Path) -> ModelFamily | None:
        return None

    def words(self, plan: Plan, workdir: Path, job: Job) -> tuple[str, ...]:
        assert job.copies.config is not None
        return (job.copies.config,)

    def config_copy(self, plan: Plan, data: bytes, job: Job) -> bytes:
        values: dict[job_file.Path, str] = {
            ("name",): plan.output_name,
            ("output_folder",): job.copies.output,
            ("train", "steps"): str(job.steps),
            ("comment",): job.stamp,
        }
        if job.copies.prompts is not None:
            values["prompts",] = job.copies.prompts
        return job_file.rewritten(data.decode(), values).encode()

    def reaches(self, name: str, value: Value) -> bool:
        return False  # it takes no arguments

    def training_header(self, metadata: Mapping[str, str]) -> TrainingHeader | None:
        if metadata.get("software") != json.dumps({"name": KIND}):
            return None
        job = json.loads(metadata["job"])
        return TrainingHeader(
            output_name=job["name"],
            session=None,
            identity=None,
            started=None,
            finished=None,
            commit=None,
            steps=None,
            network=None,
            weights=(),
            stamp=job["comment"],
        )

    def saved_at(self, metadata: Mapping[str, str], named: SavedAt) -> SavedAt:
        return SavedAt(json.loads(metadata["training_info"])["step"], None)

    def steps_per_epoch(self, dataset: UsedFiles, given: Arguments) -> int | None:
        return None

    def steps(self, given: Arguments, steps: int, per_epoch: int | None) -> int:
        return steps

    def need(
        self,
        given: Arguments,
        script: str,
        steps: int,
        per_epoch: int | None,
        past: tuple[PastRun, ...],
    ) -> Need:
        return Need(Saves(2, 0), 1000, 0, "as the job says", estimated=False)


def _read(config: Path, data: bytes) -> dict[job_file.Path, str]:
    try:
        return job_file.read(data.decode())
    except ValueError as error:
        raise CannotReadInput(f"the job file {config} does not parse: {error}") from error


def register() -> None:
    """Make it known to this process, as a trainer of the product's own is."""
    kinds.KINDS[KIND] = JobTrainer
    known = schema.SCHEMA
    assert isinstance(known, dict)
    first = known["trainer.kind"]
    known["trainer.kind"] = first._replace(
        read=lambda value: value if value in kinds.KINDS else None
    )


if __name__ == "__main__":
    from loragit.__main__ import main

    register()
    sys.argv[0] = "loragit"
    sys.exit(main())
