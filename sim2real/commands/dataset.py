"""`sim2real dataset`: recordings as a dataset that learning libraries read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from sim2real.commands.outputs import OutputPath
from sim2real.contract import require_same_interface
from sim2real.errors import ShoalError
from sim2real.logs.lerobot import read_episodes, write_dataset
from sim2real.logs.recording import read_recording

Recordings = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(name="recording", metavar="RECORDING ...")]


def dataset(recordings: Recordings, *, output: OutputPath) -> None:
    """Write recordings of one robot as a dataset of LeRobot's format (3.0): Parquet, one episode a goal.

    Args:
        recordings: of runtime serve or runtime play, made for one task.
        output: the dataset's folder, which must not exist.
    """
    if not recordings:
        raise ShoalError("dataset: give at least one recording.")
    if twice := sorted(
        {str(path) for path in recordings if [*map(Path.resolve, recordings)].count(path.resolve()) > 1}
    ):
        raise ShoalError(f"dataset: {', '.join(twice)}: the same recording was given more than once.")
    read = [read_recording(path) for path in recordings]
    for recording in read:
        if recording.note:
            print(f"note: {recording.note}", file=sys.stderr)
    for path, recording in zip(recordings[1:], read[1:], strict=True):
        require_same_interface(recording.contract, read[0].contract, left_name=str(path), right_name=str(recordings[0]))
    episodes = read_episodes(read)
    write_dataset(output, episodes)
    frames = sum(len(arrays["action"]) for arrays in episodes.arrays)
    if episodes.left_out:
        print(f"note: {episodes.left_out} ticks were left out, in which some number is not known.", file=sys.stderr)
    print(f"written: {output}, {len(episodes.arrays)} episodes, {frames} frames")
