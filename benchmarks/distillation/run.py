"""Running one cell of the control experiment, or reading what an earlier call left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax

from benchmarks.distillation.cases import Setting
from sim2real.backends import make_environment
from sim2real.files import write_json
from student.distillation.distill import Distiller
from teacher.networks import count_parameters
from teacher.policies import greedy
from teacher.run.folder import RunFolder
from teacher.train import Trainer
from teacher.trained import Teacher, evaluate, load_teacher

HELD_OUT_SEED = 7_100_003
EPISODES = 512


class Experiment:
    """All cases of one task and seed, in a folder of their own; finished ones are read, interrupted ones resume."""

    def __init__(self, setting: Setting, seed: int, folder: Path, *, updates: int, rounds: int, episodes: int) -> None:
        self.setting, self.seed, self.folder = setting, seed, folder
        self.updates, self.rounds, self.episodes = updates, rounds, episodes

    def result(self, case: str) -> dict[str, Any]:
        """Success of one case on the held-out goals, its cost and size."""
        path = self.folder / case / "result.json"
        if path.is_file():
            return dict(json.loads(path.read_text()))
        row = self._direct(case) if case in "abwc" else self._student(case)
        # Every run compiles its own programs; dozens of them in one process exceed the number of memory maps.
        jax.clear_caches()  # type: ignore[no-untyped-call]
        row = {"case": case, "seed": self.seed} | row
        write_json(path, row, indent=1)
        return row

    def _direct(self, case: str) -> dict[str, Any]:
        updates = self._long_updates() if case == "b" else self.updates
        teacher = self._trained(case, updates)
        env = self._held_out(teacher)
        score = evaluate(env, greedy(teacher.networks), teacher.actor).as_dict()
        rows = RunFolder(self.folder / case).read_metrics()
        seconds = sum(row["update_s"] + row["collect_s"] for row in rows)
        return score | {
            "depth": teacher.config.network.actor_depth,
            "updates": updates,
            "seconds": seconds,
            "parameters": count_parameters(teacher.actor),
            "all_parameters": teacher.parameters,
        }

    def _trained(self, case: str, updates: int) -> Teacher:
        run = self.folder / case
        if not (run / "summary.json").is_file():
            config = self.setting.teacher_config(case, self.seed, updates)
            Trainer(config, RunFolder(run), resume=(run / "config.yaml").is_file()).train()
        return load_teacher(run)

    def _long_updates(self) -> int:
        """As many updates as the shallow network makes in the deep teacher's time, in whole rounds."""
        shallow, deep = (self.result(case) for case in "ac")
        per_round = self.setting.teacher_config("a", 0, self.updates).updates_per_rollout
        rounds = round(self.updates * float(deep["seconds"]) / float(shallow["seconds"]) / per_round)
        return max(1, rounds) * per_round

    def _student(self, case: str) -> dict[str, Any]:
        self.result("c")
        teacher, run = load_teacher(self.folder / "c"), self.folder / case
        config = self.setting.distill_config(case, self.seed).model_copy(update={"rounds": self.rounds})
        folder = RunFolder(run)
        started = (run / "config.yaml").is_file()
        if not started:
            folder.start(config, teacher.contract)
        distiller = Distiller(teacher, config, folder, resume=started)
        distiller.train()
        score = evaluate(self._held_out(teacher), distiller.apply, distiller.state.policy).as_dict()
        rows = folder.read_metrics()
        gradients = {name: value for name, value in rows[-1].items() if name.startswith("gradient_")}
        distiller.forget_training_state()
        count = count_parameters(distiller.state.policy)
        return (
            score
            | gradients
            | {
                "depth": config.student.hidden_layers,
                "parameters": count,
                "all_parameters": count,
                "seconds": sum(row["round_s"] for row in rows),
            }
        )

    def _held_out(self, teacher: Teacher) -> Any:
        return make_environment(teacher.task, "native", num_envs=self.episodes, seed=HELD_OUT_SEED)
