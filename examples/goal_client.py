"""Goals for a running server, one after another: python examples/goal_client.py [ADDRESS]

The server is `runtime serve --model models/franka_pose.onnx` in another terminal.
"""

import sys

from shoal import Client, GoalPose, GoalRefused

GOALS = [GoalPose(position=(0.5, 0.15, 0.4)), GoalPose(position=(0.5, -0.15, 0.4), rpy=(3.14, 0.0, 0.0))]

with Client(sys.argv[1] if len(sys.argv) > 1 else None) as client, client.lease("example"):
    for goal in GOALS:
        try:
            client.send_goal(goal)
        except GoalRefused as error:
            print(f"refused: {error}")
            continue
        print(client.wait_for_goal(goal.id, timeout_s=10).line)
