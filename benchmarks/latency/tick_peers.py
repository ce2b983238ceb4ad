"""A student as other libraries and a C compiler run it: its network alone, and all that a policy file does.

The network alone, its inputs ready and its command not yet limited, is less than a policy file does, in favour of these
peers; each is checked against NumPy before it is timed. The policies go from readings and goal to joint targets.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.inference.onnx_graph import read_graph
from runtime.inference.policy import Policy
from runtime.native.build import find_compiler
from sim2real.contract import Contract
from sim2real.contract.interface import command, observe, policy_inputs
from sim2real.contract.policy_file import input_sizes
from sim2real.errors import ShoalError

Float32 = NDArray[np.float32]
Peer = Callable[[], Float32]
"""Runs the network on the prepared input; actions and the reachability's logit, `[J + 1]`."""
_EPSILON = 1e-6
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Network:
    """Weights of a student with LayerNorm and swish. I inputs, W width, J joints, R reachability width."""

    layers: tuple[tuple[Float32, Float32, Float32, Float32], ...]
    """Matrix `[I or W, W]`, bias, LayerNorm scale and shift `[W]`."""
    action: tuple[Float32, Float32]
    """Matrix `[W, J]`, bias `[J]`."""
    reach_hidden: tuple[Float32, Float32]
    """Matrix `[I + W, R]`, bias `[R]`."""
    reach: tuple[Float32, Float32]
    """Matrix `[R, 1]`, bias `[1]`."""

    @property
    def inputs(self) -> int:
        """The input size I."""
        return int(self.layers[0][0].shape[0])


def read_network(path: Path) -> Network:
    """The network inside a policy file. Raises `ShoalError` for students of another design."""
    graph = read_graph(path.read_bytes())
    constant = graph.constants.__getitem__
    # Products of the observation have no bias; the network's own layers do.
    dense = [n.inputs[1:3] for n in graph.nodes if n.operator == "Gemm" and n.attributes.get("beta", 1.0)]
    norms = [n.inputs[1:3] for n in graph.nodes if n.operator == "LayerNormalization"]
    if not norms or len(dense) != len(norms) + 3:
        raise ShoalError(f"{path}: this benchmark knows students with LayerNorm in every layer only.")
    matrices = [(constant(weight), constant(bias)) for weight, bias in dense]
    layers = tuple((*d, constant(g), constant(s)) for d, (g, s) in zip(matrices, norms, strict=False))
    return Network(layers, *matrices[len(norms) :])


def example_input(network: Network) -> Float32:
    """`[1, I]`, of order one."""
    return np.random.default_rng(0).normal(size=(1, network.inputs)).astype(np.float32)


def numpy_peer(network: Network) -> Peer:
    """The network by hand, every intermediate result in an array made beforehand; BLAS may use one thread."""
    x = example_input(network)
    width, joints = network.action[0].shape
    hidden = [np.zeros((1, width), np.float32) for _ in network.layers]
    scratch, both = np.zeros((1, width), np.float32), np.zeros((1, x.size + width), np.float32)
    reach_hidden = np.zeros((1, network.reach[0].shape[0]), np.float32)
    out = np.zeros((1, joints + 1), np.float32)
    both[:, : x.size] = x

    def run() -> Float32:
        source = x
        for (weight, bias, scale, shift), h in zip(network.layers, hidden, strict=True):
            np.dot(source, weight, out=h)
            np.add(h, bias, out=h)
            np.subtract(h, h.mean(), out=h)
            np.multiply(h, 1 / np.sqrt(np.dot(h[0], h[0]) / width + _EPSILON), out=h)
            np.multiply(h, scale, out=h)
            np.add(h, shift, out=h)
            np.negative(h, out=scratch)
            np.exp(scratch, out=scratch)
            np.add(scratch, 1, out=scratch)
            np.divide(h, scratch, out=h)
            source = h
        np.add(np.dot(source, network.action[0]), network.action[1], out=out[:, :joints])
        np.tanh(out[:, :joints], out=out[:, :joints])
        both[:, x.size :] = source
        np.dot(both, network.reach_hidden[0], out=reach_hidden)
        np.add(reach_hidden, network.reach_hidden[1], out=reach_hidden)
        np.maximum(reach_hidden, 0, out=reach_hidden)
        out[0, joints] = (reach_hidden @ network.reach[0])[0, 0] + network.reach[1][0]
        return np.asarray(out[0])

    return run


def jax_peer(network: Network) -> Peer:
    """Compiled ahead of time for this shape, weights as constants; arrays in and out are NumPy's."""
    import jax
    import jax.numpy as jnp

    def function(x: jax.Array) -> jax.Array:
        h = x
        for weight, bias, scale, shift in network.layers:
            h = h @ weight + bias
            mean, variance = h.mean(-1, keepdims=True), h.var(-1, keepdims=True)
            h = jax.nn.swish((h - mean) * jax.lax.rsqrt(variance + _EPSILON) * scale + shift)
        action = jnp.tanh(h @ network.action[0] + network.action[1])
        hidden = jax.nn.relu(jnp.concatenate([x, h], -1) @ network.reach_hidden[0] + network.reach_hidden[1])
        return jnp.concatenate([action, hidden @ network.reach[0] + network.reach[1]], -1)

    x = example_input(network)
    compiled = jax.jit(function).lower(x).compile()
    return lambda: np.asarray(compiled(x))[0]


def torch_peer(network: Network) -> Peer:
    """See `torch_network`."""
    run, x = torch_network(network), example_input(network)
    return lambda: run(x)


def torch_network(network: Network) -> Callable[[Float32], Float32]:
    """Traced, frozen and optimised for inference by TorchScript, one thread: torch's fastest for such sizes."""
    torch: Any = import_module("torch")

    torch.set_num_threads(1)
    tensor = torch.from_numpy

    def dense(weight: Float32, bias: Float32) -> Any:
        layer = torch.nn.Linear(*weight.shape)
        layer.weight.data, layer.bias.data = tensor(weight.T.copy()), tensor(bias.copy())
        return layer

    class Module(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            parts: list[Any] = []
            for weight, bias, scale, shift in network.layers:
                norm = torch.nn.LayerNorm(len(scale), eps=_EPSILON)
                norm.weight.data, norm.bias.data = tensor(scale.copy()), tensor(shift.copy())
                parts += [dense(weight, bias), norm, torch.nn.SiLU()]
            self.trunk = torch.nn.Sequential(*parts)
            self.action = torch.nn.Sequential(dense(*network.action), torch.nn.Tanh())
            self.reach = torch.nn.Sequential(dense(*network.reach_hidden), torch.nn.ReLU(), dense(*network.reach))

        def forward(self, x: Any) -> Any:
            h = self.trunk(x)
            return torch.cat([self.action(h), self.reach(torch.cat([x, h], -1))], -1)

    x = example_input(network)
    with torch.inference_mode():
        traced = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(Module().eval(), tensor(x))))

    def run(inputs: Float32) -> Float32:
        with torch.inference_mode():
            return np.asarray(traced(tensor(inputs)).numpy()[0])

    return run


# What -ffast-math is made of. The flag itself, in a shared library, makes older GCCs link code that sets this whole
# process to flush subnormal numbers to zero.
_FAST_MATH = (
    "-fno-math-errno",
    "-fassociative-math",
    "-freciprocal-math",
    "-fno-signed-zeros",
    "-fno-trapping-math",
    "-ffinite-math-only",
)


def jax_policy_peer(path: Path) -> Peer:
    """The function that becomes a policy file, compiled by JAX ahead of time; weights random, which costs the same."""
    import jax
    import jax.numpy as jnp

    from student.config import StudentNetworkConfig
    from student.network import ReachabilityHead, StudentParams
    from student.policy import make_policy, physical_policy

    contract, network = Policy(path).contract, read_network(path)
    width = network.action[0].shape[0]
    policy = make_policy(contract, StudentNetworkConfig(hidden_layers=len(network.layers), hidden_width=width))
    x, key = jnp.asarray(example_input(network)), jax.random.key(0)
    head = ReachabilityHead().init(key, x, jnp.zeros((1, width)))
    params = StudentParams(policy.init(key, x), head)
    inputs = _readings_and_goal(contract)
    compiled = jax.jit(lambda values: physical_policy(contract, policy, params, values)).lower(inputs).compile()
    return lambda: np.asarray(compiled(inputs)[0])[0]


def torch_policy_peer(path: Path) -> Peer:
    """TorchScript between an observation and a command written with NumPy, as most robots' programs have it."""
    contract, network = Policy(path).contract, read_network(path)
    run, inputs, joints = torch_network(network), _readings_and_goal(contract), len(contract.robot.joints)

    def policy() -> Float32:
        observation = observe(np, contract, inputs)
        goal = contract.goal.vector_of(np, contract, inputs)
        answer = run(np.asarray(policy_inputs(np, contract, observation, goal), np.float32))
        targets: Float32 = np.asarray(command(np, contract, answer[None, :joints], inputs))[0]
        return targets

    return policy


def _readings_and_goal(contract: Contract) -> dict[str, Float32]:
    """Readings at home and a goal in the middle of the goal box, `[1, size]` by name."""
    inputs = {name: np.zeros((1, size), np.float32) for name, size in input_sizes(contract).items()}
    for name in ("joint_position", "joint_position_target"):
        inputs[name][:] = [joint.home_position for joint in contract.robot.joints]
    inputs["goal_position"][:] = np.add(contract.goal.position_min_m, contract.goal.position_max_m) / 2
    for name in ("end_effector_orientation", "goal_orientation"):
        if name in inputs:
            inputs[name][:] = contract.default_orientation_wxyz
    return inputs


def floor_peer(network: Network) -> Peer:
    """`tick_floor.c`, compiled for this network. Raises `ShoalError` without a C compiler or for odd sizes."""
    (width, joints), reach = network.action[0].shape, network.reach[0].shape[0]
    compiler = find_compiler()
    if compiler is None or width % 64 or reach % 64 or joints > 8:
        raise ShoalError("the C floor needs a C compiler, widths that are multiples of 64, and at most 8 joints.")
    sizes = {"IN": network.inputs, "LAYERS": len(network.layers), "WIDTH": width, "OUT": joints, "REACH": reach}
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "floor.so"
        source = str(Path(__file__).with_name("tick_floor.c"))
        flags = ["-O3", "-march=native", *_FAST_MATH, "-fPIC", "-shared", *(f"-D{k}={v}" for k, v in sizes.items())]
        subprocess.run([compiler, *flags, "-o", str(library), source, "-lm"], check=True)
        function = ctypes.PyDLL(str(library)).floor_network
    function.argtypes, function.restype = (ctypes.c_void_p,) * 3, None
    weights, x, out = _floor_weights(network), example_input(network), np.zeros(joints + 1, np.float32)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (weights, x, out)]

    def run() -> Float32:
        function(*pointers)
        return out

    vars(run)["memory"] = weights, x
    return run


def _floor_weights(network: Network) -> Float32:
    def columns64(matrix: Float32) -> list[Float32]:
        return [matrix[:, j : j + 64].ravel() for j in range(0, matrix.shape[1], 64)]

    parts: list[Float32] = []
    for weight, bias, scale, shift in network.layers:
        parts += [*columns64(weight), bias, scale, shift]
    joints = network.action[0].shape[1]
    parts += [np.pad(network.action[0], ((0, 0), (0, 8 - joints))).ravel(), np.pad(network.action[1], (0, 8 - joints))]
    parts += [*columns64(network.reach_hidden[0]), network.reach_hidden[1], network.reach[0].ravel(), network.reach[1]]
    return np.concatenate(parts)


PEERS: dict[str, Callable[[Network], Peer]] = {
    "numpy": numpy_peer,
    "jax": jax_peer,
    "torch": torch_peer,
    "floor": floor_peer,
}
POLICIES: dict[str, Callable[[Path], Peer]] = {"jax policy": jax_policy_peer, "torch policy": torch_policy_peer}


def make_peer(name: str, path: Path) -> Peer:
    """A peer by its name, networks checked. Raises `ShoalError` when its library is missing or computes wrongly."""
    library = name.split()[0]
    if library in ("jax", "torch") and find_spec(library) is None:
        raise ShoalError(f"{library} is not installed.")
    if name in POLICIES:
        return POLICIES[name](path)
    network = read_network(path)
    peer, wanted = PEERS[name](network), numpy_peer(network)()
    error = float(np.abs(peer() - wanted).max())
    if not error <= _TOLERANCE:
        raise ShoalError(f"{name} differs from NumPy by {error:.1e}.")
    return peer
