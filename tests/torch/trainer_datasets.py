"""``trainer_datasets.py SD_SCRIPTS``: what sd-scripts itself loads, asked one training at a time.

Run by the Python of ``make test-torch``. Each line of standard input is a JSON object, ``folder``
(where the trainer is started) and ``words`` (its arguments); each line of standard output answers
with ``images``, a list of ``[path, caption, repeats]`` in order of paths, or with ``error``. The
calls are those of ``train_network.py``, up to where it loads the base model.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def _load(words: list[str]) -> Any:
    import train_network
    from library import config_util, strategy_base, train_util

    parser = train_network.setup_parser()
    given = parser.parse_args(words)
    train_util.verify_command_line_training_args(given)
    given = train_util.read_config_from_file(given, parser)
    train_util.verify_training_args(given)
    train_util.prepare_dataset_args(given, True)
    trainer = train_network.NetworkTrainer()
    strategy = trainer.get_latents_caching_strategy(given)
    # A strategy can be set once in a process.
    strategy_base.LatentsCachingStrategy._strategy = strategy
    if given.dataset_config is not None:
        table = config_util.load_user_config(given.dataset_config)
    elif given.in_json is None:
        table = {
            "datasets": [
                {
                    "subsets": config_util.generate_dreambooth_subsets_config_by_subdirs(
                        given.train_data_dir, given.reg_data_dir
                    )
                }
            ]
        }
    else:
        table = {
            "datasets": [
                {"subsets": [{"image_dir": given.train_data_dir, "metadata_file": given.in_json}]}
            ]
        }
    sanitizer = config_util.ConfigSanitizer(True, True, given.masked_loss, True)
    blueprint = config_util.BlueprintGenerator(sanitizer).generate(table, given)
    return config_util.generate_dataset_group_by_blueprint(blueprint.dataset_group)[0]


def _images(folder: str, words: list[str]) -> list[tuple[str, object, int]]:
    os.chdir(folder)
    group = _load(words)
    return sorted(
        (os.path.abspath(each.absolute_path), each.caption, each.num_repeats)
        for dataset in group.datasets
        for each in dataset.image_data.values()
    )


def main(trainer: Path) -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # The trainer's own words are no answers.
    sys.path.insert(0, str(trainer))
    import train_network  # noqa: F401 - it takes seconds: not to be counted to the first question

    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer: dict[str, object] = {"images": _images(asked["folder"], asked["words"])}
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever stops the trainer
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
