"""A task of your own, from YAML to a policy file: python examples/own_task.py [FOLDER]

The task is `examples/own_task/task.yaml` beside its MJCF. The run is far too short to learn anything; drop the sizes
for a real one.
"""

import subprocess
import sys
from pathlib import Path

from shoal import load_task

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/own_task")
task = Path(__file__).parent / "own_task" / "task.yaml"
print("joints", load_task(task).contract.joint_names)

flags = "--backend native --updates 20 --num-envs 8 --batch-size 32 --actor-depth 4 --critic-depth 4 --width 16"
command = ["train-teacher", "--task", str(task), "--run", str(folder / "teacher"), *flags.split()]
subprocess.run(command, check=True)
