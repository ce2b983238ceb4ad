"""Every setting of a teacher run, typed; the command line and `config.yaml` are made from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sim2real.errors import ShoalError
from teacher.networks import BlockDesign, ComputeDtype, num_blocks
from teacher.objectives import ObjectiveName
from teacher.objectives.infonce import Contrast


def _absolute(name_or_path: str) -> str:
    is_path = name_or_path.endswith((".yaml", ".yml")) or os.sep in name_or_path
    return str(Path(name_or_path).resolve()) if is_path else name_or_path


NameOrPath = Annotated[str, AfterValidator(_absolute)]
"""Of something that ships, or of a file; a path is made absolute, so that what it names does not depend on the folder
in which a later command is typed."""
Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""Others are made from it by adding up to some ten million, in 64 bits."""
UpdateOrder = Literal["simultaneous", "critic_first"]


class Config(BaseModel):
    """Base of the settings: immutable, finite and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def renamed(data: Any, names: Mapping[str, str]) -> Any:
    """Settings of a run that was begun before some had the names that they have now, `{then: now}`."""
    return {names.get(name, name): value for name, value in data.items()} if isinstance(data, dict) else data


class NetworkConfig(Config):
    """Sizes of actor and encoders."""

    actor_depth: Count = 16
    """Dense layers in the actor's residual blocks."""
    critic_depth: Count = 16
    """Dense layers in the residual blocks of phi and of psi."""
    depth: Literal["auto"] | Count | None = None
    """Both at once, instead of `--actor-depth` and `--critic-depth`. `auto` begins with one block and doubles the depth
    while that pays (docs/teacher.md)."""
    width: Count = 64
    block_size: Count = 4
    """Dense layers in one residual block."""
    embedding_size: Count = 64
    design: BlockDesign = "scaled"
    remat: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    compute_dtype: ComputeDtype = "float32"
    """`bfloat16` computes the blocks in half precision; parameters and optimisers stay in float32."""

    @model_validator(mode="before")
    @classmethod
    def _both_depths(cls, data: Any) -> Any:
        depth = data.get("depth") if isinstance(data, dict) else None
        if depth is None:
            return data
        first = data.get("block_size", cls.model_fields["block_size"].default) if depth == "auto" else depth
        both = {"actor_depth": first, "critic_depth": first}
        return data | both | {"depth": "auto" if depth == "auto" else None}

    @model_validator(mode="after")
    def _whole_blocks(self) -> NetworkConfig:
        num_blocks(self.actor_depth, self.block_size)
        num_blocks(self.critic_depth, self.block_size)
        return self


class GrowthConfig(Config):
    """How far, and when, `--depth auto` deepens the networks."""

    max_depth: Count = 64
    """Depth that `--depth auto` does not exceed."""
    grow_at: tuple[Count, ...] = ()
    """Updates after which `--depth auto` doubles the depth, at the next evaluation and whatever the success, instead of
    by its rule."""


class SurvivalConfig(Config):
    """Settings of the objectives whose critic predicts when a goal is reached, `survival` and `chrono`."""

    window: Count | None = None
    """Control steps ahead in which a goal is looked for; by default an episode, which is also the most."""
    goal_radius_m: Rate | None = None
    """Distance of goal vectors at which a goal counts as reached; by default the goal's coarse tolerance."""
    time_bins: Count = 64
    """Into which the window is cut for the hazards; they grow with time where it has more steps."""
    time_gamma: Annotated[float, Field(gt=0, le=1)] = 0.999
    """Discount, for each control step, of the time until the goal that the actor makes short."""
    own_goal_share: Share = 0.05
    """Share of the batch whose goal is what has been achieved already."""
    other_goal_share: Share = 0.1
    """Share of the batch whose goal is that of another row."""
    occupancy_bins: Count = 32
    """`chrono` only: bins of the window in which the time within the goal's radius is predicted."""


class LearnerConfig(Config):
    """One update: critic, entropy-regularised actor, temperature."""

    objective: ObjectiveName = "infonce"
    """What the critic learns: which goal followed (`infonce`), when a goal is reached (`survival`), or that and how
    long the robot stays there (`chrono`). docs/objectives.md compares them."""
    action_chunk: Count = 1
    """Actions that the actor decides at once. In training they are executed one after the other before it decides
    again; evaluations, students and robots execute the first and decide anew at every step."""
    batch_size: Count = 256
    actor_learning_rate: Rate = 3e-4
    critic_learning_rate: Rate = 3e-4
    alpha_learning_rate: Rate = 3e-4
    final_learning_rate_fraction: Share = 0.05
    """Learning rates of actor and critic fall to this fraction along a cosine over the run; 1 keeps them."""
    warmup_updates: Annotated[int, Field(ge=0)] = 0
    max_gradient_norm: Rate = 10.0
    max_loss: Rate = 1e6
    """A critic's or actor's mean loss beyond this size stops the run: it has diverged."""
    gamma: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Discount; hindsight goals lie 1 / (1 - gamma) steps ahead on average. The paper's 0.99 suits long walks; arms
    that reach within a second learn several times faster with 0.9, the default for goals of the tool. Going round an
    object and pushing it takes longer: 0.97 for goals of an object (docs/teacher.md)."""
    contrast: Contrast = "symmetric"
    """Of `infonce`: whether only goals are classified (`forward`) or state-action pairs too."""
    logsumexp_penalty: Annotated[float, Field(ge=0)] = 0.1
    termination_cost: Annotated[float, Field(ge=0)] = 0.0
    """Of `infonce`: by how much energies of a state and action are pushed down, for all goals, whose episode is soon
    terminated; a fall right where the goal lies is no worse than arriving otherwise (docs/teacher.md)."""
    energy_epsilon: Annotated[float, Field(ge=0)] = 1e-6
    """Under the energy's square root; the published code has 0, whose gradient is not finite where embeddings meet."""
    update_order: UpdateOrder = "simultaneous"
    """Whether the actor learns from the critic as it was before this update or as it is after it. The published code
    updates the actor first and then the critic, which is `simultaneous`: the critic's loss does not see the actor."""
    initial_log_alpha: float = -2.0
    target_entropy_per_action: float = -0.5
    action_penalty: Annotated[float, Field(ge=0)] | None = None
    """Cost of the squared mean action in the actor's loss; by default 0.2 for position goals, 0 for pose goals and 0.05
    for goals of an object.
    Goals that leave joints free need it, or the arm drifts through its null space once it is there, which a short
    horizon never sees; goals that leave none free learn more slowly with it (docs/teacher.md)."""
    posture_weight: Annotated[float, Field(ge=0)] | None = None
    """Weight in the actor's loss of moving joints away from home; by default 0.1 for position goals and 0.05 for
    others. Without it one goal after another turns an arm with free joints through its null space, always the same
    way, until joints stand at their limits (docs/teacher.md)."""
    moving_goal_share: Share | None = None
    """Share of the batch whose hindsight goal lies more than a centimetre from what was achieved at its step; by
    default 0.75 where goals are about an object and 0 otherwise. Objects rest most of the time, so that otherwise the
    critic learns where the object is and hardly ever what moves it (docs/teacher.md)."""
    critic_sees: Literal["goal", "way"] | None = None
    """What the critic knows a goal by: where it is, or the way there from where the robot is, seen from its base where
    it has one (docs/teacher.md)."""
    random_goal_share: Share = 0.0
    """Share of the actor's goals taken from other trajectories of the batch instead of its own future."""
    polyak: Share = 0.0
    """Averaging of the actor that is evaluated: 0 takes the newest weights."""
    survival: SurvivalConfig = SurvivalConfig()


class TeacherConfig(Config):
    """Settings of a whole run."""

    task: NameOrPath = "franka_reach"
    """Name of a shipped task, or path of a task YAML."""
    backend: Literal["auto", "native", "mjx"] = "auto"
    """`auto` takes mjx where JAX has a GPU and native otherwise."""
    seed: Seed = 0
    randomisation: NameOrPath | None = None
    """How simulated robots, readings and commands differ from the model: a preset (off, mild, hard) or a YAML file; by
    default what the task declares. Evaluations see robots of their own."""
    num_envs: Count = 64
    rollout_steps: Count = 100
    """Control steps of every environment between two rounds of updates."""
    updates_per_rollout: Count = 300
    """Updates after each rollout, whatever the batch size."""
    updates: Count = 12_000
    """Length of the run."""
    continue_share: Share = 0.4
    """Share of the training episodes that begin where the last one ended, with a new goal, as on a robot that is sent
    goal after goal. Without it a policy that once misses a goal may stay in a posture that no start ever showed it."""
    wide_start_share: Share = 0.3
    """Share of the starts that lie anywhere in the joint ranges, so that the arm also learns to come back from the
    postures in which a missed goal can leave it."""
    random_posture_share: Annotated[Share | None, tyro.conf.arg(aliases=["--wander-share"])] = None
    """Share of the training environments whose robots move from one random posture of the goal pool to the next instead
    of following the policy; by default 0.5 where goals are about an object and 0 otherwise (docs/teacher.md)."""
    resample: bool = True
    """New start and goal in every episode; without it every environment repeats its first ones, as the published code
    does."""
    prefill_rollouts: Count = 2
    """Rollouts before the first update."""
    replay_steps: Annotated[int, Field(ge=2)] = 4000
    """Capacity in steps of each environment."""
    mirror: bool = False
    """Half of every batch is what the robot would have experienced with left and right exchanged: for robots whose
    sides are alike, so that none of them is the weaker one (docs/teacher.md)."""
    eval_every_rounds: Count = 10
    eval_envs: Count = 256
    eval_best_of: Count = 1
    """Candidates among which the critic chooses each action in evaluations: the actor's mean and samples of it. 1 takes
    the mean."""
    video_every_evaluation: bool = False
    """A video of every evaluation, `videos/round_*.gif`, and not only of the last one, `evaluation.gif`."""
    devices: Annotated[int, Field(ge=0)] = 1
    """Devices that share environments and batch; 0 takes all of every process."""
    side_by_side: bool = False
    """Update critic and actor at the same time, on two threads: for CPUs with two idle cores or more. The numbers are
    the same (docs/notes/teacher_speed.md)."""
    collect_ahead: bool = False
    """Collect each rollout during the updates before it, on another thread, by the policy from before them: for CPUs
    with idle cores, or a GPU that learns while CPUs simulate. Native backend (docs/notes/teacher_speed.md)."""
    checkpoint_every_rounds: Count = 10
    save_replay: bool = True
    """Checkpoints hold the replay, so that a resumed run ends bit for bit as one that was never interrupted. Without it
    they are far smaller, and a resumed run first fills its replay again and goes on from there with other numbers."""
    keep_checkpoints: Count = 2
    network: NetworkConfig = NetworkConfig()
    growth: GrowthConfig = GrowthConfig()
    learner: LearnerConfig = LearnerConfig()

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, data: Any) -> Any:
        return renamed(data, {"wander_share": "random_posture_share"})

    @model_validator(mode="after")
    def _settings_fit(self) -> TeacherConfig:
        if self.replay_steps < self.rollout_steps:
            raise ShoalError(
                f"replay_steps {self.replay_steps} is less than rollout_steps {self.rollout_steps}; "
                "the replay must hold at least one rollout."
            )
        for name in ("side_by_side", "collect_ahead"):
            if getattr(self, name) and self.devices != 1:
                raise ShoalError(f"{name} is for one device, and devices is {self.devices}; leave one of them out.")
        return self

    def require_room_to_grow(self) -> None:
        """Refuse settings of growth that do nothing, or that leave no room for it."""
        growth, network = self.growth, self.network
        if network.depth != "auto":
            for name, value in growth:
                if value != GrowthConfig.model_fields[name].default:
                    raise ShoalError(
                        f"{name} {value} is for --depth auto, and this run's depth is fixed; leave it out."
                    )
        elif (asked := 2 ** max(1, len(growth.grow_at)) * network.block_size) > growth.max_depth:
            raise ShoalError(
                f"max_depth {growth.max_depth} is less than the {asked} layers that this run would grow to; give "
                f"--max-depth {asked} or more."
            )
        if network.depth == "auto" and self.collect_ahead:
            raise ShoalError("collect_ahead is for a depth that is given; leave it out, or --depth auto.")
        if list(growth.grow_at) != sorted(set(growth.grow_at)):
            raise ShoalError(f"grow_at {growth.grow_at} must rise; give updates in their order.")
