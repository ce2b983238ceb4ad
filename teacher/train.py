"""The training loop: collect, update, evaluate, checkpoint, repeat.

Every random draw of round r follows from the seed and r, and a checkpoint holds networks, optimisers, replay
and environment, so a run that was killed and resumed ends with the same numbers as one that was not.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from typing import Any

import jax
import numpy as np

from sim2real.backends import resolve
from sim2real.backends.base import Rollout
from sim2real.contract.interface import action_size, goal_size, observation_size
from sim2real.contract.mirror import in_a_mirror
from sim2real.errors import ShoalError
from sim2real.evaluation.success import Score, score
from sim2real.progress import Progress
from sim2real.tasks.task import load_task
from teacher import replay
from teacher.beside.collect_ahead import CollectAhead, blank
from teacher.beside.side_by_side import SideBySide
from teacher.config import NetworkConfig, TeacherConfig
from teacher.defaults import settings_for
from teacher.devices import make_devices, require_divisible, require_memory
from teacher.exploration import Collector
from teacher.growth.blocks import at_depth, at_depth_of, grown
from teacher.growth.rule import Evaluation
from teacher.growth.stages import EVALUATIONS, decision, evaluation_of, evaluations_in, stages
from teacher.learner import Learner, LearnerState
from teacher.networks import count_parameters
from teacher.policies import best_of, greedy
from teacher.run.checkpoint import Checkpoints, Leaves, actor_in, to_host
from teacher.run.diagnostics import diagnosis, require_healthy
from teacher.run.environments import environments
from teacher.run.folder import MetricsLog, RunFolder, status_of
from teacher.run.plots import plot_curves
from teacher.run.resume import continued
from teacher.run.video import write_video
from teacher.trained import whole_episodes


class Trainer:
    """One teacher run in a folder, alone or as one of the processes of a run across hosts."""

    def __init__(
        self, config: TeacherConfig, folder: RunFolder, *, resume: bool = False, progress: Progress | None = None
    ) -> None:
        """Prepare a run, and write nothing yet. With `resume` it goes on from the newest checkpoint, for longer than
        before if `config` says so.
        """
        if resume:
            there, _ = folder.load(TeacherConfig)
            config = continued(there, config, run=folder.path, length="updates")
        elif jax.process_index() == 0:
            folder.require_free()
        config.require_room_to_grow()
        self.config, self.folder, self._resumed = config, folder, resume
        self.progress = progress or Progress("teacher", quiet=True)
        self.task = load_task(config.task)
        self.contract = self.task.contract
        self.devices = make_devices(config.devices)
        if config.collect_ahead and resolve(config.backend) != "native":
            raise ShoalError(
                "collect_ahead simulates on CPUs beside the updates; give --backend native, or leave it out."
            )
        require_divisible(self.devices, num_envs=config.num_envs, batch_size=config.learner.batch_size)
        sizes = self._replay_sizes()
        require_memory(replay.size_bytes(**sizes), num_envs=config.num_envs, replay_steps=config.replay_steps)
        if resume:
            folder.require_contract(self.contract)
        self.progress.doing(f"preparing {config.num_envs} environments")
        self.env, self.eval_env = environments(self.task, config)
        self._use(config.network)
        self._ahead = CollectAhead(self._collected) if config.collect_ahead else None
        self.state = self.devices.replicate(self.learner.init(jax.random.key(config.seed)))
        self.replay = self.devices.place(replay.create(**sizes), axis=1)
        self.round = 0
        self._evaluations: list[Evaluation] = []
        self._insert = jax.jit(replay.insert, donate_argnums=0)
        self.checkpoints = Checkpoints(folder.checkpoints, keep=config.keep_checkpoints)
        if resume and self.checkpoints.latest is not None:
            self._restore()

    def _use(self, network: NetworkConfig) -> None:
        """Make the programs for networks of this size; the state is another matter."""
        config, contract = self.config, self.task.teacher_contract
        self.network = network
        mirror = in_a_mirror(contract, self.task.scene) if config.mirror else None
        self.learner = Learner(contract, network, config.learner, config.updates, self.devices, mirror)
        self._update_many = (SideBySide(self.learner) if config.side_by_side else self.learner).update_many
        networks = self.learner.networks
        self._collector = Collector(
            self.env,
            networks,
            random_posture_share=settings_for(self.contract, config, config.learner).random_posture_share,
            action_chunk=config.learner.action_chunk,
        )
        best = config.eval_best_of
        self._evaluated = greedy(networks) if best == 1 else best_of(networks, best)

    def _replay_sizes(self) -> dict[str, int]:
        return {
            "capacity": self.config.replay_steps,
            "num_envs": self.config.num_envs,
            "observation": observation_size(self.task.teacher_contract),
            "goal": goal_size(self.contract),
            "action": action_size(self.contract),
        }

    @property
    def rounds(self) -> int:
        """Rounds of the whole run."""
        return math.ceil(self.config.updates / self.config.updates_per_rollout)

    def train(self, *, until: float = math.inf) -> Score | None:
        """Run to the end and return the final score; the folder then holds checkpoint, curves and summary.

        At the first round that ends after `until`, seconds of `time.monotonic()`, it saves and returns None instead.
        """
        if not self.devices.is_main:
            return self._train(None, until)
        with nullcontext() if self._resumed else self.folder.starting(self.config, self.contract):
            # A run that goes on for longer has no result until it is there.
            self.folder.write_config(self.config)
            if self.round < self.rounds:
                self.folder.summary.unlink(missing_ok=True)
            with MetricsLog(self.folder, resume_round=self.round or None) as log:
                return self._train(log, until)

    def _train(self, log: MetricsLog | None, until: float) -> Score | None:
        started_s = time.monotonic() - (0.0 if log is None else log.elapsed_s)
        self._rounds_until(until, log, started_s)
        if self.round < self.rounds:
            return None
        self.progress.doing("evaluating")
        final, rollout = self._evaluation()
        if log is not None:
            self.progress.doing("drawing")
            write_video(self.task, rollout, self.folder.path / "evaluation.gif")
            rows = self.folder.read_metrics()
            plot_curves(rows, self.folder.path / "curves.png", title=f"teacher, {self.contract.task}")
            self.folder.write_summary(self._summary(final, time.monotonic() - started_s))
        return final

    def _rounds_until(self, until: float, log: MetricsLog | None, started_s: float) -> None:
        """All rounds that are left, or those that begin before `until`."""
        config, progress = self.config, self.progress
        progress.expect(self.rounds, done=self.round)
        if self.round == 0:
            progress.doing("filling the replay")
            self._prefill()
        progress.doing("compiling, then updating")
        while self.round < self.rounds:
            row = self._one_round()
            evaluated = self.round % self._evaluation_interval == 0 or self.round == self.rounds
            if evaluated:
                row |= self.evaluate().as_dict()
                self._evaluations.append(evaluation_of(row))
            if log is not None:
                log.append(row | {"elapsed_s": time.monotonic() - started_s})
            progress.advance(status_of(row), line=evaluated)
            if evaluated and config.network.depth == "auto":
                self._grow_where_it_pays()
            late = time.monotonic() >= until
            if late or self.round % config.checkpoint_every_rounds == 0 or self.round == self.rounds:
                self._save()
            if late:
                break

    @property
    def _evaluation_interval(self) -> int:
        """Rounds; growing needs some evaluations at each depth."""
        every, grows = self.config.eval_every_rounds, self.config.network.depth == "auto"
        return min(every, max(1, self.rounds // EVALUATIONS)) if grows else every

    def _grow_where_it_pays(self) -> None:
        """Double the depth where the evaluations ask for it; what the networks compute stays the same."""
        verdict, why = decision(self._evaluations, self.config.growth)
        if verdict != "grow" or self.round == self.rounds:
            return
        network = at_depth(self.network, 2 * self.network.actor_depth)
        self.progress.doing(f"depth {network.actor_depth} from now on, because {why}")
        self._use(network)
        fresh = self.learner.init(jax.random.fold_in(jax.random.key(self.config.seed + 3), self.round))
        self.state = self.devices.replicate(grown(self.devices.local(self.state), fresh, network))

    def evaluate(self) -> Score:
        """Success of the deterministic policy on held-out goals; with `video_every_evaluation` also a video of it."""
        final, rollout = self._evaluation()
        if self.config.video_every_evaluation and self.devices.is_main:
            write_video(self.task, rollout, self.folder.path / "videos" / f"round_{self.round:06d}.gif")
        return final

    def _evaluation(self) -> tuple[Score, Rollout]:
        params = self.state.evaluated_actor
        if self.config.eval_best_of > 1:
            params = params, self.state.critic
        rollout = whole_episodes(self.eval_env, self._evaluated, self.devices.local(params))
        return score(self.contract, rollout), rollout

    def _prefill(self) -> None:
        for number in range(self.config.prefill_rollouts):
            self._collect_round(number)

    def _collected(self, number: int, actor: Any) -> Rollout:
        key = jax.random.fold_in(jax.random.key(self.config.seed + 1), number)
        if jax.process_count() > 1:
            key = jax.random.fold_in(key, jax.process_index())
        return self._collector.rollout(actor, key, self.config.rollout_steps)

    def _collect_round(self, number: int) -> None:
        actor = self.devices.local(self.state.actor)
        rollout = (self._collected if self._ahead is None else self._ahead.take)(number, actor)
        if self.devices.size > 1:
            rollout = self.devices.join(rollout, axis=1)
        self.replay = self._insert(self.replay, rollout)

    def _one_round(self) -> dict[str, float]:
        config, start = self.config, time.monotonic()
        number = config.prefill_rollouts + self.round
        self._collect_round(number)
        if self._ahead is not None:
            self._ahead.begin(number + 1, self.state.actor)  # Also in the last round: a run may go on for longer.
        collected = time.monotonic()
        key = jax.random.fold_in(jax.random.key(config.seed + 2), self.round)
        self.state, metrics = self._update_many(self.state, self.replay, key, config.updates_per_rollout)
        metrics |= diagnosis(self.learner, self.state, self.replay, key)
        row = {name: float(value) for name, value in metrics.items()}
        finished = time.monotonic()
        self.round += 1
        require_healthy(row, self.round, self.config.learner.max_loss, self.folder, kept=self.checkpoints.latest)
        steps = (self.round + config.prefill_rollouts) * config.rollout_steps * config.num_envs
        return row | {
            "round": self.round,
            "updates": self.round * config.updates_per_rollout,
            "depth": self.network.actor_depth,
            "environment_steps": steps,
            "collect_s": collected - start,
            "update_s": finished - collected,
            "updates_per_s": config.updates_per_rollout / (finished - collected),
            "steps_per_s": config.rollout_steps * config.num_envs / (finished - start),
        }

    def _world(self) -> dict[str, Any]:
        ahead = (
            {} if self._ahead is None else {"ahead": self._ahead.state()}
        )  # First, because it moves the environment.
        world = ahead | {
            "environment": self.devices.stack_processes(self.env.state_dict()),
            "evaluation": self.eval_env.state_dict(),
            "round": np.asarray(self.round),
        }
        if self.config.save_replay:
            world["replay"] = self.devices.gather(self.replay._asdict())
        return world

    def _save(self) -> None:
        learner = self.devices.local(self.state)._asdict()
        world = self._world()  # All processes gather it, one writes.
        if self.devices.is_main:
            self.checkpoints.save(self.round, learner=to_host(learner), world=to_host(world))

    def _fitting(self, leaves: Leaves) -> dict[str, Any]:
        """A learner's state of the depth that a checkpoint has; what it holds does not matter."""
        self._use(at_depth_of(self.config.network, actor_in(leaves)))
        return self.learner.shapes()

    def _restore(self) -> None:
        if self._ahead is not None:
            contract, config = self.task.teacher_contract, self.config
            self._ahead.load_state(blank(contract, steps=config.rollout_steps, num_envs=config.num_envs))
        learner, world = self.checkpoints.restore(learner=self._fitting, world=to_host(self._world()))
        self.state = self.devices.replicate(LearnerState(**learner))
        mine = jax.process_index()
        self.env.load_state_dict({name: value[mine] for name, value in world["environment"].items()})
        self.eval_env.load_state_dict(world["evaluation"])
        self.round = int(world["round"])
        if self.config.network.depth == "auto":
            self._evaluations = evaluations_in(self.folder.read_metrics(), up_to=self.round)
        if self.config.save_replay:
            self.replay = self.devices.place(replay.Replay(**world["replay"]), axis=1)
        else:
            self._prefill()
        if self._ahead is not None:
            self._ahead.load_state(world["ahead"])

    def _summary(self, final: Score, seconds: float) -> dict[str, Any]:
        network, grows = self.network, self.config.network.depth == "auto"
        curve = stages(self.folder.read_metrics(), self.config.growth) if grows else []
        return {
            "task": self.contract.task,
            "backend": resolve(self.config.backend),
            "contract_sha256": self.contract.digest,
            "parameters": count_parameters((self.state.actor, self.state.critic)),
            "actor_depth": network.actor_depth,
            "critic_depth": network.critic_depth,
            "objective": self.config.learner.objective,
            "width": network.width,
            "updates": self.config.updates,
            "wall_s": seconds,
            **({"stages": [stage._asdict() for stage in curve]} if grows else {}),
            **final.as_dict(),
        }
