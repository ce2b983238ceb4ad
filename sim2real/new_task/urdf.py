"""A URDF as a MuJoCo spec: meshes found, links kept apart, the limits that only a URDF states."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import mujoco

from sim2real.errors import ShoalError, first_line, raise_all

_MESHES = (".stl", ".obj", ".msh")
_PARENTS = 3
"""Folders above the URDF in which meshes are looked for: packages lay theirs beside `urdf/`."""


@dataclass(frozen=True)
class JointLimits:
    """What `<limit>` says and MJCF has no place for."""

    velocity: float | None
    effort: float | None


def read_urdf(path: Path) -> tuple[mujoco.MjSpec, dict[str, JointLimits]]:
    """The robot, with a free base where the file says that it floats, and its joints' limits by name.

    Visual meshes are left out; collision meshes that cannot be used are named together in one `ShoalError`.
    """
    try:
        tree = ElementTree.fromstring(_with_prefixes(path.read_bytes()))
    except ElementTree.ParseError as error:
        raise ShoalError(f"{path}: not XML: {error}.") from error
    except OSError as error:
        raise ShoalError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if tree.tag != "robot":
        raise ShoalError(f"{path}: the outermost element is <{tree.tag}>, and a URDF's is <robot>.")
    _without_looks(tree)
    raise_all(_unfinished(tree), what=path.name)
    raise_all([*_resolve_meshes(tree, path), *_wrong_limits(tree), *_half_inertias(tree)], what=path.name)
    root, stated = _root(tree)
    if not root:
        raise ShoalError(
            f"{path.name}: no link is the root, since each is the child of a joint; leave one out of them."
        )
    for extension in tree.findall("mujoco"):
        tree.remove(extension)
    compiler = ElementTree.SubElement(ElementTree.SubElement(tree, "mujoco"), "compiler")
    compiler.attrib |= {
        "fusestatic": "false",
        "strippath": "false",
        "balanceinertia": "true",
        "boundmass": "1e-6",
        "boundinertia": "1e-9",
    }
    try:
        spec = mujoco.MjSpec.from_string(ElementTree.tostring(tree, encoding="unicode"))
        if stated:
            spec.body(root).add_freejoint(name="floating_base")
        spec.compile()
    except ValueError as error:
        raise ShoalError(f"{path}: MuJoCo cannot compile it: {' '.join(str(error).split())}") from error
    return spec, {joint.get("name", ""): _limits(joint) for joint in tree.findall("joint")}


def _with_prefixes(text: bytes) -> bytes:
    """The XML with a name space for every prefix that has none: parsers of URDF don't ask for them."""
    used = set(re.findall(rb"[<\s]([A-Za-z_][\w.-]*):[A-Za-z_]", text))
    missing = sorted(used - set(re.findall(rb"xmlns:([\w.-]+)", text)) - {b"xmlns", b"xml"})
    declared = b"".join(b' xmlns:%b="urn:%b"' % (prefix, prefix) for prefix in missing)
    return re.sub(rb"<robot(?=[\s>])", lambda match: match[0] + declared, text, count=1)


def _unfinished(tree: ElementTree.Element) -> list[str]:
    """Whether it is still a template, in words."""
    parts = [element for part in tree if part.tag in ("link", "joint") for element in part.iter()]
    values = [value for element in parts for value in element.attrib.values() if "${" in value or "$(" in value]
    macros = [element.tag.split("}")[1] for element in tree.iter() if "xacro" in element.tag and "}" in element.tag]
    found = [*dict.fromkeys(f"<xacro:{name}>" for name in macros), *dict.fromkeys(map(repr, values))]
    return [f"it is a xacro file, not a URDF yet (it has {', '.join(found[:3])}); run xacro on it"] if found else []


def _limits(joint: ElementTree.Element) -> JointLimits:
    velocity, effort = (_number(joint, name) for name in ("velocity", "effort"))
    return JointLimits(velocity, effort)


def _number(joint: ElementTree.Element, name: str) -> float | None:
    """What a joint's `<limit>` says, where it limits anything; `ValueError` where it is no number."""
    limit = joint.find("limit")
    value = float((limit.get(name) if limit is not None else None) or 0)
    return value if 0 < value < math.inf else None


def _wrong_limits(tree: ElementTree.Element) -> list[str]:
    """Limits that are no numbers, in words."""
    problems = []
    for joint in tree.findall("joint"):
        for name in ("velocity", "effort"):
            try:
                _number(joint, name)
            except ValueError as error:
                problems.append(f"joint {joint.get('name')!r}: {name} of its limit: {first_line(error)}; give a number")
    return problems


def _half_inertias(tree: ElementTree.Element) -> list[str]:
    """Links whose `<inertial>` does not say all, in words."""
    return [
        f"link {link.get('name')!r}: its <inertial> has no <{part}>; add it, or leave the <inertial> out"
        for link in tree.findall("link")
        for part in ("mass", "inertia")
        if (inertial := link.find("inertial")) is not None and inertial.find(part) is None
    ]


def _without_looks(tree: ElementTree.Element) -> None:
    for link in tree.findall("link"):
        for visual in link.findall("visual"):
            link.remove(visual)


def _resolve_meshes(tree: ElementTree.Element, path: Path) -> list[str]:
    """Make mesh paths absolute; what is wrong with them."""
    problems: dict[str, None] = {}
    for link in tree.findall("link"):
        for mesh in link.iter("mesh"):
            name = mesh.get("filename", "")
            found = _find(name, path.parent)
            if found is None:
                problems[
                    f"link {link.get('name')!r}: no file for the collision mesh {name!r} beside the URDF or up to "
                    f"{_PARENTS} "
                    "folders above; put the meshes there"
                ] = None
            elif found.suffix.lower() not in _MESHES:
                problems[
                    f"link {link.get('name')!r}: MuJoCo cannot read the collision mesh {name!r}; convert it to STL "
                    "or OBJ"
                ] = None
            else:
                mesh.set("filename", str(found))
    return list(problems)


def _find(name: str, folder: Path) -> Path | None:
    """Find a file by the path as written, then by ever shorter ends of it, in the folder and those above."""
    plain = Path(name.split("://", 1)[-1])
    if plain.is_absolute() and plain.is_file():
        return plain
    parts = [part for part in plain.parts if part != "/"]
    for above in [folder, *folder.resolve().parents[:_PARENTS]]:
        for first in range(len(parts)):
            candidate = above.joinpath(*parts[first:])
            if candidate.is_file():
                return candidate.resolve()
    found = sorted(folder.rglob(plain.name)) if plain.name else []
    return found[0].resolve() if found else None


def _root(tree: ElementTree.Element) -> tuple[str, bool]:
    """The first link, and whether the URDF itself lets it float; an empty link that it would float on is taken out."""
    joints = tree.findall("joint")
    children = {_end(joint, "child") for joint in joints}
    root = next((link.get("name", "") for link in tree.findall("link") if link.get("name") not in children), "")
    floats = [joint for joint in joints if joint.get("type") == "floating" and _end(joint, "parent") == root]
    if not floats:
        return root, False
    tree.remove(floats[0])
    for link in tree.findall("link"):
        if link.get("name") == root:
            tree.remove(link)
    return _end(floats[0], "child"), True


def _end(joint: ElementTree.Element, which: str) -> str:
    end = joint.find(which)
    return "" if end is None else end.get("link", "")
