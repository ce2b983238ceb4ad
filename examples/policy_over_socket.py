"""Your own loop, the policy in another process: python examples/policy_over_socket.py SOCKET

The server is `runtime policy-server --model models/franka_pose.onnx --socket SOCKET` in another terminal. MuJoCo stands
in for a robot here; the client itself needs NumPy only.
"""

import sys

import mujoco
import numpy as np

from runtime.policy_server.client import RemotePolicy
from shoal import load_task

task = load_task("franka_pose")
model, data = task.model, mujoco.MjData(task.model)
mujoco.mj_resetDataKeyframe(model, data, 0)
tool = model.site(task.contract.robot.end_effector_frame).id
orientation = np.zeros(4)

with RemotePolicy(sys.argv[1]) as policy:
    answer: dict[str, object] = {}
    while data.time < 5 and not answer.get("reached"):
        mujoco.mj_forward(model, data)
        mujoco.mju_mat2Quat(orientation, data.site_xmat[tool])
        answer = policy.infer(
            {
                "joint_position": data.qpos[:7],  # rad
                "joint_velocity": data.qvel[:7],  # rad/s
                "end_effector_position": data.site_xpos[tool],  # m
                "end_effector_orientation": orientation,  # wxyz
                "goal_position": (0.5, 0.1, 0.4),
                "time_s": data.time,
            }
        )
        if answer["commanding"]:
            data.ctrl[:] = answer["command"]
        mujoco.mj_step(model, data, nstep=round(policy.hello.control_dt_s / model.opt.timestep))
print(f"reached {answer['reached']}, {1e3 * float(str(answer['distance_m'])):.1f} mm away after {data.time:.2f} s")
