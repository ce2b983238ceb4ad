"""A policy inside your own MuJoCo loop: python examples/control_loop.py models/franka_pose.onnx"""

import sys

import mujoco

from shoal import Controller, GoalPose, load_task

model = load_task("franka_pose").model
data = mujoco.MjData(model)
mujoco.mj_resetDataKeyframe(model, data, 0)

controller = Controller(sys.argv[1])
controller.set_goal(GoalPose(position=(0.5, 0.1, 0.4)))
while not controller.status.reached and data.time < 5:
    data.ctrl[:] = controller.step(data)
    mujoco.mj_step(model, data)
print(controller.status.line)
