"""Do int8 or float16 students pay? Size, time of an inference, error and success against the float32 file.

    python -m benchmarks.policies.quantised models/franka_pose.onnx [--episodes 512] [--quick] [--json PATH]

int8: ONNX Runtime's dynamic quantisation (weights int8, activations quantised on the fly) of every matrix product.
float16: its converter, inputs and outputs staying float32. Success is that of
`benchmarks.policies.onnx_evaluation`; times are paced (a call every `--period-ms`, files in turn) and back to back.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.latency.policy_latency import Call, paced
from benchmarks.machine import write_numbers
from benchmarks.policies.onnx_evaluation import HELD_OUT_SEED, evaluate_commands
from runtime.inference.onnx_session import make_session
from runtime.inference.policy import Policy
from sim2real.commands.outputs import JsonFile
from sim2real.console import command_line
from sim2real.contract.policy_file import command_output, input_sizes
from sim2real.tasks.task import load_task


@dataclass(frozen=True)
class Arguments:
    """Compare reduced precision with the file as exported."""

    files: tyro.conf.Positional[tuple[Path, ...]] = (Path("models/franka_pose.onnx"),)
    episodes: int = 512
    calls: int = 400
    period_ms: float = 20.0
    quick: bool = False
    """64 episodes, 40 calls."""
    json: JsonFile | None = None
    """Write the rows here too."""


def variants(path: Path, folder: Path) -> dict[str, Path]:
    """The file in float32, float16 and int8."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half, integer = folder / "float16.onnx", folder / "int8.onnx"
    onnx.save(convert_float_to_float16(onnx.load(str(path)), keep_io_types=True), str(half))
    quantize_dynamic(path, integer, weight_type=QuantType.QInt8)
    return {"float32": path, "float16": half, "int8": integer}


def measure(path: Path, arguments: Arguments) -> list[dict[str, Any]]:
    """One row for each precision of one file."""
    contract = Policy(path).contract
    task, count = load_task(contract.task), 40 if arguments.quick else arguments.calls
    episodes = 64 if arguments.quick else arguments.episodes
    rng = np.random.default_rng(0)
    inputs = {name: rng.normal(size=(256, size)).astype(np.float32) for name, size in input_sizes(contract).items()}
    rows: list[dict[str, Any]] = []
    calls, reference = {}, None
    with tempfile.TemporaryDirectory() as folder:
        for name, file in variants(path, Path(folder)).items():
            session = make_session(file)

            def infer(values: dict[str, np.ndarray], session: Any = session) -> np.ndarray:
                return np.asarray(session.run([command_output(contract)], values)[0])

            commands = infer(inputs)
            reference = commands if reference is None else reference
            score = evaluate_commands(task, infer, episodes, HELD_OUT_SEED)[0]
            calls[name] = Call(contract, file)
            rows.append(
                {
                    "file": path.name,
                    "precision": name,
                    "kib": file.stat().st_size / 1024,
                    "max_error_rad": float(np.abs(commands - reference).max()),
                    "success_coarse": score.success_coarse,
                    "success_fine": score.success_fine,
                }
            )
        times = paced(calls, count, arguments.period_ms / 1e3)
        for row in rows:
            name = row["precision"]
            row["paced_p50_us"] = float(np.median(times[name]))
            row["hot_p50_us"] = float(np.median([calls[name]() for _ in range(count)]))
    return rows


def main() -> None:
    """Print the table, write JSON."""
    arguments = tyro.cli(Arguments, description=__doc__)
    rows = [row for path in arguments.files for row in measure(path, arguments)]
    table = Table("file", "precision", "KiB", "paced p50, us", "hot p50, us", "max error, rad", "coarse", "fine")
    for row in rows:
        shown = (f"{row['kib']:.0f}", f"{row['paced_p50_us']:.1f}", f"{row['hot_p50_us']:.1f}")
        success = (f"{row['success_coarse']:.1%}", f"{row['success_fine']:.1%}")
        table.add_row(row["file"], row["precision"], *shown, f"{row['max_error_rad']:.1e}", *success)
    Console(width=120).print(table)
    write_numbers(arguments.json, {"rows": rows})


if __name__ == "__main__":
    with command_line():
        main()
