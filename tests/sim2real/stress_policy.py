"""A policy for the planar arm that needs no training: the inverse Jacobian, as an ONNX graph."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.parser
from onnx import helper

from sim2real.contract import Contract
from tests.sim2real.contract.test_policy_file import properties_of
from tests.sim2real.planar_arm import MJCF, write_task

GRAPH = """
<ir_version: 10, opset_import: ["" : 18]>
planar (
  float[batch, 2] joint_position, float[batch, 2] joint_velocity, float[batch, 2] joint_position_target,
  float[batch, 3] end_effector_position, float[batch, 4] end_effector_orientation, float[batch, 3] goal_position
) => (float[batch, 2] joint_position_command, float[batch, 1] reachability)
<float[1] upper = {0.3}, float[2] gain = {0.1, 0.1}, float[2] most = {0.03, 0.04}>
{
  error = Sub(goal_position, end_effector_position)
  error_x, error_y, error_z = Split <axis = 1, num_outputs = 3> (error)
  x, y, z = Split <axis = 1, num_outputs = 3> (end_effector_position)
  shoulder, elbow = Split <axis = 1, num_outputs = 2> (joint_position)
  cosine = Cos(shoulder)
  sine = Sin(shoulder)
  elbow_x = Mul(upper, cosine)
  elbow_y = Mul(upper, sine)
  from_x = Sub(x, elbow_x)
  from_y = Sub(y, elbow_y)
  a = Mul(x, from_y)
  b = Mul(y, from_x)
  determinant = Sub(a, b)
  c = Mul(from_x, error_x)
  d = Mul(from_y, error_y)
  e = Add(c, d)
  f = Mul(x, error_x)
  g = Mul(y, error_y)
  h = Add(f, g)
  i = Neg(h)
  first = Div(e, determinant)
  second = Div(i, determinant)
  push = Concat <axis = 1> (first, second)
  wanted = Mul(push, gain)
  below = Neg(most)
  some = Max(wanted, below)
  step = Min(some, most)
  joint_position_command = Add(joint_position_target, step)
  reachability = Sigmoid(x)
}
"""


def write_policy(path: Path, contract: Contract) -> Path:
    """The policy with the metadata of an exported one."""
    model = onnx.parser.parse_model(GRAPH)
    helper.set_model_props(model, properties_of(contract))
    onnx.save(model, path)
    return path


def write_bent_arm(folder: Path) -> Path:
    """The planar arm's task with goals far from the edge of its workspace; the YAML's path."""
    return write_task(folder, mjcf=MJCF.replace("0.2 0.5", "0.2 1.2"), resets__0__half_range=[0.8, 0.4])
