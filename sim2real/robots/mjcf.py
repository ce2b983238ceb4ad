"""Reading and compiling an MJCF; what is wrong with a file is said with the element, its value and what to do.

MuJoCo stops at the first problem. Of the usual ones (files that are not there, bodies without mass) all are named at
once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mujoco
import numpy as np

from sim2real.errors import ShoalError, raise_all

_LEAST = 1e-12
"""kg and kg m²; MuJoCo's own bound is a thousandth of that."""
_CURES = {
    "invalid q": "give the keyframe as many numbers, or remove it",
    "invalid ctrl": "give the keyframe as many numbers, or remove it",
    "free joint can only be used on top level": "put the body right into <worldbody>, or give it other joints",
    "'mujocoinclude'": "it is a part of other models; give the file that includes it",
    "Unrecognized XML model type": "give an MJCF, whose outermost element is <mujoco>, or a URDF, whose is <robot>",
    "ParseXML": "look at the file",
    "XML parse error": "look at the file",
}
"""What to do, by words of MuJoCo's."""
_USUAL = "mend this in the MJCF"


def read_mjcf(path: Path) -> mujoco.MjSpec:
    """The MJCF at `path`, not compiled yet; a `ShoalError` says what is wrong with it."""
    if not path.is_file():
        raise ShoalError(f"robot.mjcf: no file at {path}; give a path relative to the task file or an absolute one.")
    try:
        return mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        raise _cannot_compile(path, error) from error


def compiled(spec: mujoco.MjSpec, path: Path) -> mujoco.MjModel:
    """The model of what was read from `path`; a `ShoalError` says what is wrong with it."""
    try:
        model = spec.compile()
        # Whoever asks for a name later on gets a text.
        model.names.decode()
    except ValueError as error:
        raise_all(list(_lacking(spec, path)), what=f"robot.mjcf: MuJoCo cannot compile {path}")
        raise _cannot_compile(path, error) from error
    return model


def load_mjcf(path: Path) -> mujoco.MjModel:
    """Compile the MJCF at `path` as it is; a `ShoalError` says what is wrong with it."""
    return compiled(read_mjcf(path), path)


def _cannot_compile(path: Path, error: ValueError) -> ShoalError:
    if isinstance(error, UnicodeDecodeError):
        return ShoalError(
            f"robot.mjcf: {path} has a name that is not UTF-8 (byte 0x{error.object[error.start]:02x}); save the file "
            "as UTF-8."
        )
    said = " ".join(str(error).split()).removeprefix("Error: ")
    cure = next((cure for words, cure in _CURES.items() if words in said), _USUAL)
    return ShoalError(f"robot.mjcf: MuJoCo cannot compile {path}: {said}; {cure}.")


def _lacking(spec: mujoco.MjSpec, path: Path) -> Iterator[str]:
    """Every file that is not there, and every moving body without mass, in sentences; none where it is neither."""
    named = [("mesh", mesh, spec.meshdir, [mesh.file]) for mesh in spec.meshes]
    named += [("hfield", field, spec.meshdir, [field.file]) for field in spec.hfields]
    named += [("texture", look, spec.texturedir, [look.file, *look.cubefiles]) for look in spec.textures]
    missing = False
    for element, named_element, folder, files in named:
        for file in filter(None, files):
            place = path.parent / folder / (Path(file).name if spec.strippath else file)
            if not place.is_file():
                missing = True
                yield f"{element} {named_element.name!r}: no file at {place}; put it there"
    if not missing:
        yield from (
            f"body {name!r} moves and has no mass; give it a geom with mass, or <inertial>" for name in _massless(spec)
        )


def _massless(spec: mujoco.MjSpec) -> list[str]:
    """Names of bodies that joints move and that weigh nothing, with what is fixed to them."""
    bounded = spec.copy()
    bounded.compiler.boundmass = bounded.compiler.boundinertia = _LEAST / 100
    try:
        model = bounded.compile()
    except ValueError:
        return []
    found = []
    for body in np.flatnonzero(model.body_jntnum):
        fixed = model.body_weldid == body
        if model.body_mass[fixed].sum() < _LEAST or model.body_inertia[fixed].sum() < _LEAST:
            found.append(model.body(int(body)).name or f"number {body}")
    return found
