"""Every task as a Gymnasium environment with the conventions of `GoalEnv`; needs `pip install 'shoal[gym]'`.

    import gymnasium, shoal.gym                                       # importing it registers all tasks

    env = gymnasium.make("shoal/franka_reach-v0")
    envs = gymnasium.make_vec("shoal/franka_reach-v0", num_envs=64)   # on the threads of one process
    env = gymnasium.make("shoal/task-v0", task="my_robot/pick.yaml")  # a task of your own

Observations, goals, actions, resets and terminations are those of training: the same backend and the same terms.
"""

from __future__ import annotations

from sim2real.tasks.shipped import task_names

try:
    import gymnasium
except ImportError as error:
    raise ImportError("tasks as Gymnasium environments need Gymnasium: pip install 'shoal[gym]'.") from error

_ANY_TASK = "task"
"""Name of the environment that is told its task."""


def register() -> None:
    """Make all tasks known to Gymnasium; importing this module has done so."""
    for name in (_ANY_TASK, *task_names()):
        identity = f"shoal/{name}-v0"
        if identity not in gymnasium.registry:
            gymnasium.register(
                identity,
                entry_point="sim2real.gym.single:TaskEnv",
                vector_entry_point="sim2real.gym.many:TaskVectorEnv",
                kwargs={} if name == _ANY_TASK else {"task": name},
            )


register()
