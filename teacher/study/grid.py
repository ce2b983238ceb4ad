"""Which runs a study is made of."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from sim2real.errors import ShoalError, problems
from teacher.config import Config, Count, TeacherConfig

Kind = Literal["depth", "width", "batch", "actor-critic"]


class StudyConfig(Config):
    """One study; `study.yaml` in its folder holds it."""

    kind: Kind
    grid: Annotated[tuple[Count, ...], Field(min_length=1)]
    """Depths (`depth`, `actor-critic`), widths (`width`) or batch sizes (`batch`)."""
    depths: tuple[Count, ...] = ()
    """`batch` only: depths of actor and critic to cross with the batch sizes; the base's own depth if none is given."""
    seeds: Count = 1
    base: TeacherConfig = TeacherConfig()
    """Everything else of every run."""

    @model_validator(mode="after")
    def _depths_only_for_batch(self) -> Self:
        if self.depths and self.kind != "batch":
            raise ValueError(f"depths: only a batch study crosses its grid with depths; this one is {self.kind!r}")
        if self.base.network.depth == "auto":
            raise ValueError("base: --depth auto chooses the depth of a run, and a study chooses those of its cells")
        for name, values in (("grid", self.grid), ("depths", self.depths)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name}: {values} names a value twice")
        return self


class Cell(NamedTuple):
    """One run of a study."""

    name: str
    """Its folder."""
    values: dict[str, int]
    """What the cell stands for: `actor_depth`, `critic_depth`, `width`, `batch_size`, `seed`."""
    config: TeacherConfig


def cells(study: StudyConfig) -> list[Cell]:
    """All runs, cheap ones first; raises `ShoalError` when one of them is not possible."""
    base = study.base
    made = []
    for first, second in _points(study):
        network, learner = base.network, base.learner
        match study.kind:
            case "depth":
                changes, batch_size = {"actor_depth": first, "critic_depth": first}, learner.batch_size
            case "width":
                changes, batch_size = {"width": first}, learner.batch_size
            case "batch":
                changes, batch_size = {"actor_depth": second, "critic_depth": second}, first
            case "actor-critic":
                changes, batch_size = {"actor_depth": first, "critic_depth": second}, learner.batch_size
        values = {name: getattr(network, name) for name in ("actor_depth", "critic_depth", "width")}
        values |= changes | {"batch_size": batch_size}
        for number in range(study.seeds):
            seed = base.seed + number
            made.append(_cell(study, values | {"seed": seed}))
    return made


def _points(study: StudyConfig) -> list[tuple[int, int]]:
    grid = sorted(study.grid)
    match study.kind:
        case "batch":
            return list(product(grid, sorted(study.depths) or [study.base.network.actor_depth]))
        case "actor-critic":
            return sorted(product(grid, grid), key=sum)
        case _:
            return [(value, value) for value in grid]


def _cell(study: StudyConfig, values: dict[str, int]) -> Cell:
    data = study.base.model_dump()
    data["network"] |= {name: values[name] for name in ("actor_depth", "critic_depth", "width")}
    data["learner"]["batch_size"], data["seed"] = values["batch_size"], values["seed"]
    name = "a{actor_depth}_c{critic_depth}_w{width}_b{batch_size}_s{seed}".format_map(values)
    try:
        return Cell(name, values, TeacherConfig.model_validate(data))
    except ValidationError as error:
        raise ShoalError(f"study: cell {name}: {problems(error)}.") from error
