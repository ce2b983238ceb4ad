"""Recordings as one dataset in the format of LeRobot, version 3.0: Parquet files, which pandas, Polars and DuckDB read
as well.

    recordings ── read_episodes ──► episodes ── write_dataset ──► data/*.parquet, meta/*.parquet, meta/*.json

An episode is one goal, followed without a gap: frames lie one control period apart, as the format wants them. It ends
where the robot holds, is stopped or has no goal. Goals that are streamed, one every few ticks, make one episode.

Shapes: `F` frames.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from sim2real.contract import Contract
from sim2real.errors import ShoalError
from sim2real.logs.recording import Recording, goal_of, number

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "v3.0"
_FILE = "chunk-000/file-000.parquet"
"""The only one of its kind; the format could go on in others."""
_STREAMED_S = 1.0
"""Goals that follow sooner upon each other, and before they are reached, are streamed."""
_FOLLOWING = ("active", "ramp-in")
"""States in which what is commanded serves the goal."""
_QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
_OWN = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
"""Columns of one number that every dataset has."""

Frame = tuple[np.ndarray, ...]
Requests = Mapping[int, tuple[float, list[float]]]
"""When each goal was given, and what was asked for, by its number."""


@dataclass(frozen=True)
class Feature:
    """A column of vectors."""

    name: str
    labels: tuple[str, ...]
    """What each number is, for people."""


@dataclass(frozen=True)
class Episodes:
    """What recordings of one robot and one task hold."""

    contract: Contract
    features: tuple[Feature, ...]
    arrays: tuple[Mapping[str, np.ndarray], ...]
    """Of each episode, each feature's `[F, size]` float32."""
    left_out: int
    """Ticks in which the robot was commanded, and whose numbers are not all known."""


def read_episodes(recordings: Sequence[Recording]) -> Episodes:
    """The episodes of recordings of one task; `ShoalError` where there are none."""
    contract = recordings[0].contract
    requests = [_requests(recording) for recording in recordings]
    features = _features(contract, goals=any(requests))
    arrays, left_out = [], 0
    for recording, asked in zip(recordings, requests, strict=True):
        for frames, unknown in _stretches(recording, features, asked):
            left_out += unknown
            if len(frames) > 1:
                columns = (np.array(column, np.float32) for column in zip(*frames, strict=True))
                arrays.append({feature.name: column for feature, column in zip(features, columns, strict=True)})
    if not arrays:
        names = ", ".join(str(recording.path) for recording in recordings)
        raise ShoalError(f"{names}: no two ticks in a row follow a goal with all numbers known; send the robot goals.")
    return Episodes(contract, features, tuple(arrays), left_out)


def write_dataset(folder: Path, episodes: Episodes) -> None:
    """Write the dataset into a folder that is not there yet: all of it, or nothing. `ShoalError` otherwise."""
    if folder.exists():
        raise ShoalError(f"--output {folder}: exists already; name a folder that does not.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
            made = Path(beside) / "dataset"
            _write(made, episodes)
            made.rename(folder)
    except OSError as error:
        raise ShoalError(f"cannot write {folder}: {error.strerror or error}.") from error


def _features(contract: Contract, *, goals: bool) -> tuple[Feature, ...]:
    """Joints under the names that LeRobot's policies look for, everything else by the contract's."""
    joints = tuple(contract.joint_names)
    others = [name for name in contract.measured.sizes if name != "joint_position"]
    found = [Feature("observation.state", joints)]
    found += [Feature(f"observation.{name}", _labels(name, contract.measured.sizes[name], joints)) for name in others]
    if goals:
        sizes = contract.goal.layout(contract).sizes
        labels = tuple(label for name, size in sizes.items() for label in _labels(name, size, ()))
        found.append(Feature("observation.goal", labels))
    return (*found, Feature("action", joints))


def _labels(name: str, size: int, joints: tuple[str, ...]) -> tuple[str, ...]:
    if size == len(joints) and name.startswith("joint_"):
        return joints
    return (name,) if size == 1 else tuple(f"{name}_{i}" for i in range(size))


def _requests(recording: Recording) -> Requests:
    found: dict[int, tuple[float, list[float]]] = {}
    for _, message in recording.messages:
        if (goal := goal_of(message)) is not None:
            found.setdefault(message["goal_number"], (number(message["now_s"]), [*map(number, goal["request"])]))
    return found


def _stretches(
    recording: Recording, features: Sequence[Feature], requests: Requests
) -> Iterator[tuple[list[Frame], int]]:
    """Frames that belong to one episode, and the ticks behind them that had to be left out."""
    period = recording.contract.timing.control_dt_s
    frames: list[Frame] = []
    unknown, last_s, last = 0, -np.inf, None
    for tick in recording.ticks:
        if not tick["commanding"] or tick["state"] not in _FOLLOWING:
            continue
        now = number(tick["now_s"])
        frame = _frame(tick, features, requests.get(tick.get("goal_number", 0), (0.0, []))[1])
        follows = abs(now - last_s - period) <= period / 2 and last is not None and _goes_on(requests, last, tick)
        if frame is None or not follows:
            yield frames, unknown
            frames, unknown = [], 0
        if frame is None:
            unknown += 1
        else:
            frames.append(frame)
        last_s, last = now, tick
    yield frames, unknown


def _goes_on(requests: Requests, last: Mapping[str, Any], tick: Mapping[str, Any]) -> bool:
    """Whether the goal is the one of the tick before, or streamed after it."""
    goals = [int(of.get("goal_number", 0)) for of in (last, tick)]
    if goals[0] == goals[1]:
        return True
    given = [requests[goal][0] if goal in requests else np.nan for goal in goals]
    return not last.get("reached", False) and given[1] - given[0] < _STREAMED_S


def _frame(tick: Mapping[str, Any], features: Sequence[Feature], request: list[float]) -> Frame | None:
    """One tick as the features have it; None where a number of it is not known."""
    own = {"observation.state": tick["joint_position"], "observation.goal": request, "action": tick["command"]}
    values = []
    for feature in features:
        value = own.get(feature.name)
        if value is None:
            value = tick[feature.name.removeprefix("observation.")]
        row = np.array([number(x) for x in value])
        if len(row) != len(feature.labels) or not np.isfinite(row).all():
            return None
        values.append(row)
    return tuple(values)


def _statistics(values: np.ndarray) -> dict[str, list[float] | list[int]]:
    """What normalisation wants to know of a column `[F, size]`."""
    found: dict[str, list[float] | list[int]] = {
        "min": values.min(0).tolist(),
        "max": values.max(0).tolist(),
        "mean": values.mean(0, dtype=np.float64).tolist(),
        "std": values.std(0, dtype=np.float64).tolist(),
        "count": [len(values)],
    }
    for share, row in zip(_QUANTILES, np.quantile(values, _QUANTILES, axis=0), strict=True):
        found[f"q{round(100 * share):02d}"] = row.tolist()
    return found


def _columns(episodes: Episodes) -> Iterator[dict[str, np.ndarray]]:
    """Every column of each episode, LeRobot's own included."""
    begin = 0
    for which, arrays in enumerate(episodes.arrays):
        frames = np.arange(len(arrays["action"]))
        own = (frames * episodes.contract.timing.control_dt_s, frames, 0 * frames + which, frames + begin, 0 * frames)
        columns = zip(_OWN.items(), own, strict=True)
        yield {**arrays, **{name: column.astype(kind) for (name, kind), column in columns}}
        begin += len(frames)


def _write(folder: Path, episodes: Episodes) -> None:
    """Raises `OSError`."""
    pa, parquet = _pyarrow()
    columns = list(_columns(episodes))
    whole = {name: np.concatenate([episode[name] for episode in columns]) for name in columns[0]}
    data, rows, tasks = (folder / path for path in (f"data/{_FILE}", f"meta/episodes/{_FILE}", "meta/tasks.parquet"))
    for path in (data, rows, tasks):
        path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({name: _arrow(pa, column) for name, column in whole.items()}), data)
    parquet.write_table(pa.Table.from_pylist(list(_rows(episodes.contract.task, columns))), rows)
    parquet.write_table(_tasks(pa, episodes.contract.task), tasks)
    statistics = {name: _statistics(column.reshape(len(column), -1)) for name, column in whole.items()}
    for name, values in (("stats", statistics), ("info", _info(episodes, frames=len(whole["index"])))):
        (folder / f"meta/{name}.json").write_text(json.dumps(values, indent=4))


def _arrow(pa: Any, column: np.ndarray) -> pa.Array:
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])


def _rows(task: str, columns: Sequence[Mapping[str, np.ndarray]]) -> Iterator[dict[str, Any]]:
    """What the format keeps of each episode."""
    for which, arrays in enumerate(columns):
        index = arrays["index"]
        row: dict[str, Any] = {"episode_index": which, "tasks": [task], "length": len(index)}
        row |= {"data/chunk_index": 0, "data/file_index": 0}
        row |= {"dataset_from_index": int(index[0]), "dataset_to_index": int(index[-1]) + 1}
        for name, column in arrays.items():
            values = _statistics(column.reshape(len(column), -1))
            row |= {f"stats/{name}/{statistic}": value for statistic, value in values.items()}
        yield row | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}


def _tasks(pa: Any, task: str) -> pa.Table:
    """The only task; its name is the index that pandas finds."""
    table = pa.table({"task_index": [0], "task": [task]})
    columns = [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"},
        {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object"},
    ]
    return table.replace_schema_metadata({"pandas": json.dumps({"index_columns": ["task"], "columns": columns})})


def _info(episodes: Episodes, *, frames: int) -> dict[str, Any]:
    rate = 1 / episodes.contract.timing.control_dt_s
    features: dict[str, Any] = {
        feature.name: {"dtype": "float32", "shape": [len(feature.labels)], "names": list(feature.labels)}
        for feature in episodes.features
    }
    count = len(episodes.arrays)
    return {
        "codebase_version": FORMAT,
        "robot_type": episodes.contract.robot.name,
        "total_episodes": count,
        "total_frames": frames,
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": round(rate) if abs(rate - round(rate)) < 1e-6 * rate else rate,
        "splits": {"train": f"0:{count}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": features | {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in _OWN.items()},
    }


def _pyarrow() -> tuple[Any, Any]:
    """Raises `ShoalError` where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ShoalError("datasets need pyarrow: pip install 'shoal[data]'.") from error
    return pyarrow, pyarrow.parquet
