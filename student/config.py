"""Every setting of a distillation run, typed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pydantic import AfterValidator, Field, model_validator

from teacher.config import Config, Count, NameOrPath, Rate, Seed, Share, renamed

Weight = Annotated[float, Field(ge=0)]


class StudentNetworkConfig(Config):
    """Sizes of the student."""

    hidden_layers: Count = 2
    hidden_width: Count = 128
    activation: Literal["swish", "relu"] = "swish"
    layer_norm: bool = True
    history_steps: Annotated[int, Field(ge=0)] = 0
    """Control steps whose observations the student also reads; for delays and for readings that a robot lacks."""
    joint_velocity: bool = True
    """Whether the student reads joint velocities; the teacher always does."""


class DistillConfig(Config):
    """A whole distillation run."""

    seed: Seed = 0
    num_envs: Count = 128
    rounds: Count = 20
    """Each round visits `num_envs` episodes, labels them and trains on everything seen so far."""
    updates_per_round: Count = 400
    batch_size: Count = 1024
    learning_rate: Rate = 2e-3
    states: Literal["student", "teacher", "mixture"] = "student"
    """Whose states are labelled: the student's (DAgger), the teacher's (plain cloning), or both, arm by arm and step
    by step, with `mixture_share` of the actions the teacher's."""
    mixture_share: Share = 0.5
    labels: Annotated[str, Field(pattern=r"^(actor|best-of-[1-9][0-9]*)$")] = "actor"
    """What the student imitates: the teacher's `actor`, or with `best-of-16`, say, whichever of that many candidates,
    the actor's mean and samples of it, the teacher's critic values most."""
    demonstrations: tuple[Annotated[Path, AfterValidator(Path.resolve)], ...] = ()
    """Recordings of the robot (`runtime serve --record`) whose states the teacher labels as well, once in every
    round, so that the student also learns where a real robot goes."""
    beta_rounds: Annotated[int, Field(ge=0)] = 4
    """With `states: student`, rounds over which the teacher's share of the actions falls from 1 to 0."""
    hard_goal_share: Share = 0.0
    """Share of the goals drawn again from the last round's, in proportion to the student's mean action error there."""
    randomisation: NameOrPath | None = None
    """How simulated robots, readings and commands differ from the model, pushes included: a preset (off, mild, hard) or
    a YAML file; by default what the task declares."""
    true_labels: bool = False
    """The teacher labels the true state instead of what delayed and noisy readings say of it."""
    continue_share: Share = 0.4
    """Share of the episodes that begin where the last one ended, as on a robot that is sent goal after goal."""
    wide_start_share: Share = 0.3
    """Share of the starts that lie anywhere in the joint ranges."""
    exploration_std: Weight = 0.1
    """Noise on the actions while collecting, so that the student also sees how to recover."""
    dataset_size: Count = 262_144
    """Labelled states kept; the oldest are overwritten."""
    behaviour_weight: Weight = 1.0
    """KL divergence of the pre-squash Gaussians, teacher to student."""
    action_weight: Weight = 10.0
    """Squared error of the squashed mean, which is what the robot executes."""
    feature_weight: Weight = 0.1
    """Student features, projected, against the teacher actor's features."""
    embedding_weight: Weight = 0.1
    """Student features, projected, against phi(s, pi(s, g)) and psi(g)."""
    relational_weight: Weight = 0.0
    """The energy matrix of a batch, from projected student features against the teacher's phi and psi."""
    contrastive_weight: Weight = 0.0
    """InfoNCE between projected student features and the teacher's phi and psi."""
    representation_schedule: Literal["constant", "linear"] = "constant"
    """`linear` lets the four representation weights fall to zero over the run."""
    checkpoint_every_rounds: Count = 5
    reachability_episodes: Count = 512
    """Episodes from which the reachability head learns; half as many more calibrate it."""
    reachability_updates: Count = 1500
    critic_weight: Weight = 0.3
    """Weight of what the critic thinks as the head's auxiliary target."""
    out_of_distribution_goal_share: Annotated[Share, tyro.conf.arg(aliases=["--wild-goal-share"])] = 0.5
    """Share of those episodes whose goal is drawn without asking whether the robot can reach it."""
    eval_every_rounds: Count = 5
    eval_envs: Count = 256
    student: StudentNetworkConfig = StudentNetworkConfig()

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, data: Any) -> Any:
        return renamed(data, {"wild_goal_share": "out_of_distribution_goal_share"})

    @property
    def candidates(self) -> int:
        """Actions among which the critic chooses a label; 1 for the actor's own."""
        return 1 if self.labels == "actor" else int(self.labels.removeprefix("best-of-"))
