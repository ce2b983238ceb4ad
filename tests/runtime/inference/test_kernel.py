"""The compiled kernel computes what ONNX Runtime computes, or says why it does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from runtime.inference.kernel import make_kernel, require_agreement
from runtime.inference.kernel_source import generate
from runtime.inference.onnx_graph import read_graph
from runtime.inference.onnx_session import Float32, bound_run, make_session
from runtime.inference.policy import Policy
from runtime.native import build
from runtime.native.build import Unsupported, compile_library, find_compiler, load_ahead, load_library
from sim2real.errors import ShoalError

SHIPPED = [
    Path(__file__).parents[3] / "models" / f"{name}.onnx" for name in ("franka_pose", "franka_reach", "two_arms")
]
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler on this machine")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder / "shoal" / "kernels"


def make_model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], sizes: dict[str, int], out: int) -> bytes:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in sizes.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", out])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def difference(content: bytes, sizes: dict[str, int], out: int, path: Path) -> float:
    """Of the kernel to ONNX Runtime."""
    path.write_bytes(content)
    rng = np.random.default_rng(1)
    inputs: dict[str, Float32] = {name: np.zeros((1, size), np.float32) for name, size in sizes.items()}
    outputs: dict[str, Float32] = {"y": np.zeros((1, out), np.float32)}
    reference = bound_run(make_session(path), inputs, outputs)
    samples = {name: rng.normal(size=(4, size)).astype(np.float32) for name, size in sizes.items()}
    kernel = make_kernel(content, inputs, outputs)
    return require_agreement(kernel, reference, inputs, outputs, samples)


@needs_compiler
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_policies_run_in_the_kernel(path: Path) -> None:
    kernel, session = Policy(path, engine="kernel"), Policy(path)
    assert kernel.engine.startswith("C kernel, within ")
    assert session.engine.startswith("onnxruntime ")
    rng = np.random.default_rng(5)
    for _ in range(50):
        for name, view in kernel.inputs.items():
            view[:] = session.inputs[name][:] = rng.normal(size=view.shape)
        kernel.run()
        session.run()
        np.testing.assert_allclose(kernel.command, session.command, atol=1e-5)
        np.testing.assert_allclose(kernel.reachability, session.reachability, atol=1e-5)


@needs_compiler
@settings(max_examples=6)
@given(
    # LayerNorm over a few numbers divides by a variance that can be next to nothing, and enlarges rounding.
    depth=st.integers(1, 70),
    width=st.integers(12, 300),
    out=st.integers(1, 20),
    relu=st.booleans(),
    seed=st.integers(0),
)
def test_networks_of_any_size(
    depth: int, width: int, out: int, relu: bool, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed % 2**32)
    shapes = {"w1": (depth, width), "b1": (width,), "g": (width,), "s": (width,), "w2": (width, out), "b2": (out,)}
    constants = {name: (rng.normal(size=shape) / 4).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
        helper.make_node("LayerNormalization", ["h", "g", "s"], ["n"], axis=1, epsilon=1e-6),
        helper.make_node("Relu" if relu else "Sigmoid", ["n"], ["a"]),
        helper.make_node("MatMul", ["a", "w2"], ["m"]),
        helper.make_node("Add", ["m", "b2"], ["z"]),
        helper.make_node("Tanh", ["z"], ["y"]),
    ]
    path = tmp_path_factory.mktemp("network") / "network.onnx"
    assert difference(make_model(nodes, constants, {"x": depth}, out), {"x": depth}, out, path) <= 1e-5


@needs_compiler
def test_every_elementwise_operation(tmp_path: Path) -> None:
    constants = {
        "one": np.array(1.5, np.float32),
        "many": np.linspace(-1, 1, 11, dtype=np.float32)[None],
        "start": np.array([-6], np.int64),
        "end": np.array([2**31 - 1], np.int64),
        "axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Sub", ["a", "b"], ["t0"]),
        helper.make_node("Mul", ["one", "t0"], ["t1"]),
        helper.make_node("Max", ["t1", "many", "a"], ["t2"]),
        helper.make_node("Clip", ["t2", "", "one"], ["t3"]),
        helper.make_node("Abs", ["t3"], ["t4"]),
        helper.make_node("Add", ["t4", "one"], ["t5"]),
        helper.make_node("Sqrt", ["t5"], ["t6"]),
        helper.make_node("Reciprocal", ["t6"], ["t7"]),
        helper.make_node("Neg", ["t7"], ["t8"]),
        helper.make_node("Exp", ["t8"], ["t9"]),
        helper.make_node("Div", ["b", "t6"], ["t10"]),
        helper.make_node("Min", ["t10", "one"], ["t11"]),
        helper.make_node("Concat", ["t9", "t11"], ["t12"], axis=-1),
        helper.make_node("Slice", ["t12", "start", "end", "axis"], ["t13"]),
        helper.make_node("Identity", ["t13"], ["y"]),
    ]
    content = make_model(nodes, constants, {"a": 11, "b": 11}, 6)
    assert difference(content, {"a": 11, "b": 11}, 6, tmp_path / "o.onnx") < 1e-6


@needs_compiler
def test_shapes_are_worked_out_beforehand(tmp_path: Path) -> None:
    """As `jnp.ones_like` becomes in a graph with a free batch dimension."""
    constants = {
        "value": np.array(1.5, np.float32),
        "first": np.array([0], np.int64),
        "two": np.array([2], np.int64),
    }
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["batch_size"], axis=0),
        helper.make_node("Concat", ["batch_size", "two"], ["wanted"], axis=0),
        helper.make_node("Expand", ["value", "wanted"], ["values"]),
        helper.make_node("Concat", ["values", "x"], ["y"], axis=1),
    ]
    assert difference(make_model(nodes, constants, {"x": 3}, 5), {"x": 3}, 5, tmp_path / "s.onnx") == 0


def test_unknown_node_falls_back_with_the_reason(policy_path: Path) -> None:
    policy = Policy(policy_path, engine="auto")
    assert policy.engine.startswith("onnxruntime ")
    assert policy.engine.endswith("(no kernel: node ReduceSum is not known to it)")
    with pytest.raises(ShoalError, match=r"--engine kernel: no kernel for .*ReduceSum is not known"):
        Policy(policy_path, engine="kernel")


def test_no_compiler_falls_back_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nonexistent/cc")
    assert "no C compiler" in Policy(SHIPPED[0], engine="auto").engine


def test_failing_compiler_falls_back_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "false")
    assert "false could not compile it (exit status 1)" in Policy(SHIPPED[0], engine="auto").engine


@needs_compiler
def test_a_kernel_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import runtime.inference.kernel_source as source

    read = source._blocks
    monkeypatch.setattr(source, "_blocks", lambda matrix: read(matrix) * np.float32(1.001))
    assert "it differs from ONNX Runtime by" in Policy(SHIPPED[0], engine="auto").engine


@needs_compiler
def test_a_kernel_that_hides_nan_is_not_used() -> None:
    inputs: dict[str, Float32] = {"x": np.zeros((1, 2), np.float32)}
    outputs: dict[str, Float32] = {"y": np.zeros((1, 2), np.float32)}

    def through() -> None:
        outputs["y"][:] = inputs["x"]

    def hiding() -> None:
        outputs["y"][:] = np.nan_to_num(inputs["x"])

    samples = {"x": np.ones((2, 2), np.float32)}
    assert require_agreement(through, through, inputs, outputs, samples) == 0
    with pytest.raises(Unsupported, match="not finite otherwise"):
        require_agreement(hiding, through, inputs, outputs, samples)


@needs_compiler
def test_compiled_once_and_only_loaded_from_a_private_folder(cache: Path) -> None:
    source = "void shoal_kernel(void **buffers) { (void)buffers; }"
    library = compile_library(source)
    written = library.stat().st_mtime_ns
    assert compile_library(source) == library
    assert library.stat().st_mtime_ns == written
    assert library.parent == cache
    assert not [path for path in cache.iterdir() if path.suffix != ".so"]
    cache.chmod(0o777)
    try:
        with pytest.raises(Unsupported, match="others could write"):
            compile_library(source)
    finally:
        cache.chmod(0o700)


@needs_compiler
def test_a_library_loaded_ahead_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"/* {np.random.default_rng().integers(2**60)} */ int shoal_ahead(void) {{ return 7; }}"
    begun, go_on, compilations = threading.Event(), threading.Event(), []
    compile_now = build._compile

    def slowly(*arguments: Any) -> None:
        compilations.append(arguments)
        begun.set()
        assert go_on.wait(10)
        compile_now(*arguments)

    monkeypatch.setattr(build, "_compile", slowly)
    load_ahead(lambda: compile_library(source))
    assert begun.wait(10)
    later = threading.Thread(target=lambda: compile_library(source))
    later.start()
    later.join(0.05)
    assert later.is_alive()  # it waits for the other one instead of compiling too
    go_on.set()
    later.join(10)
    assert load_library(compile_library(source)).shoal_ahead() == 7
    assert len(compilations) == 1


def test_a_library_that_cannot_be_had_ahead_is_missed_only_where_it_is_used(capfd: pytest.CaptureFixture[str]) -> None:
    tried = threading.Event()

    def load() -> None:
        tried.set()
        raise Unsupported("there is none")

    load_ahead(load, load)
    assert tried.wait(10)
    for thread in threading.enumerate():
        if thread.name == "compiles":
            thread.join(10)
    assert capfd.readouterr().err == ""


@needs_compiler
def test_damaged_library_is_compiled_again() -> None:
    source = "void shoal_kernel(void **buffers) { (void)buffers; } /* damaged */"
    library = compile_library(source)
    library.write_bytes(b"not a library")
    with pytest.raises(Unsupported, match="cannot be loaded"):
        load_library(library)
    assert load_library(compile_library(source))["shoal_kernel"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_files_are_read_as_the_onnx_package_reads_them(path: Path) -> None:
    graph, model = read_graph(path.read_bytes()), onnx.load(str(path))
    assert [node.operator for node in graph.nodes] == [node.op_type for node in model.graph.node]
    for found, wanted in zip(graph.nodes, model.graph.node, strict=True):
        assert (found.inputs, found.outputs) == (tuple(wanted.input), tuple(wanted.output))
        assert found.attributes == {item.name: helper.get_attribute_value(item) for item in wanted.attribute}
    for tensor in model.graph.initializer:
        np.testing.assert_array_equal(graph.constants[tensor.name], numpy_helper.to_array(tensor))


@pytest.mark.filterwarnings("error")
def test_numbers_that_overflow_are_no_error_of_numpys() -> None:
    sizes = {"x": 3}
    huge = [helper.make_node("Gemm", ["x", "w"], ["y"], alpha=3e38)]
    assert generate(read_graph(make_model(huge, {"w": np.full((3, 3), 3e38, np.float32)}, sizes, 3)), sizes, {"y": 3})
    far = [helper.make_node("Gather", ["a", "i"], ["b"], axis=2**62), helper.make_node("Mul", ["x", "b"], ["y"])]
    graph = helper.make_graph(
        far,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [
            helper.make_tensor("a", TensorProto.FLOAT, [3], [1.0] * 3),
            helper.make_tensor("i", TensorProto.INT64, [1], [0]),
        ],
    )
    with pytest.raises(Unsupported, match="do not fit together"):
        generate(read_graph(helper.make_model(graph).SerializeToString()), sizes, {"y": 3})


@given(st.data())
def test_damaged_files_are_refused_and_never_crash(data: st.DataObject) -> None:
    content = bytearray(SHIPPED[1].read_bytes()[:4000])
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_graph(bytes(content))
    except Unsupported:
        return


def test_weights_written_as_numbers_are_read_too(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "c"], ["y"])],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [
            helper.make_tensor("c", TensorProto.FLOAT, [1, 3], [1.0, 2.0, 3.0]),
            helper.make_tensor("i", TensorProto.INT64, [2], [-4, 5]),
        ],
    )
    constants = read_graph(helper.make_model(graph).SerializeToString()).constants
    assert constants["c"].tolist() == [[1, 2, 3]]
    assert constants["i"].tolist() == [-4, 5]
