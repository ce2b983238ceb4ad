"""A Franka arm in franky-sim, a server of libfranka's network protocol, until it is killed; prints its address."""

from __future__ import annotations

import time

from franky_sim import SimulationServer
from franky_sim.mujoco_simulator import MujocoSimulator

if __name__ == "__main__":
    with MujocoSimulator(enable_visualization=False) as simulator:
        robot = simulator.add_robot()
        with SimulationServer(simulator) as server:
            server.run_async()
            print(robot.hostname, flush=True)
            while True:
                time.sleep(1.0)
