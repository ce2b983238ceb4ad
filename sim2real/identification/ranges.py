"""From intervals to the randomisation that they justify, and to sentences about what the log cannot tell.

Each joint gets its own range. What the log says nothing about keeps the distribution of `base`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sim2real.identification.fit import Estimate, Identified
from sim2real.randomisation.config import TERMS, Randomisation
from sim2real.randomisation.distributions import Distribution, Each

UNKNOWN = 0.5
"""An interval wider than this share of its bounds says nothing worth training on."""
_TOGETHER, _LOOSE = 0.95, 0.05
"""Correlation, and deviation in unit coordinates of the looser one, from which two quantities are named together."""

_SCALES = {
    "damping": "damping_scale",
    "friction_loss": "friction_loss_scale",
    "armature": "armature_scale",
    "servo_stiffness": "servo_stiffness_scale",
    "servo_damping": "servo_damping_scale",
}
_ABSOLUTE = {
    "joint_offset": "joint_offset_rad",
    "payload_mass": "payload_mass_kg",
    "action_delay": "action_delay_s",
}


def justified(result: Identified, base: Randomisation) -> tuple[Randomisation, list[str]]:
    """`base` with the terms that the log tells about replaced by uniform ranges, and a sentence for each decision."""
    terms: dict[str, Any] = base.model_dump(include=set(base.active))
    said = []
    for term, estimates in _by_term(result):
        if term is None:
            said.append(
                f"{estimates[0].quantity.kind}: no term randomises it as it was fitted; change the MJCF instead."
            )
            continue
        known = [e for e in estimates if e.share_of_bounds <= UNKNOWN]
        untold = ", ".join(e.quantity.name for e in estimates if e not in known)
        if not known:
            said.append(f"{term}: as before, since the log does not tell {untold}.")
            continue
        ranges = {e.quantity.joint: _range(term, e) for e in known}
        low, high = min(low for low, _ in ranges.values()), max(high for _, high in ranges.values())
        but = f"; as before for what the log does not tell, {untold}" if untold else ""
        said.append(f"{term}: {low:.4g} to {high:.4g}, {_count(known)}{but}.")
        if TERMS[term].per == "joint":
            terms[term] = _each(ranges, base.distribution(term), len(result.problem.contract.joint_names))
        else:
            terms[term] = {"uniform": [low, high]}
    if "joint_position" in result.signals:
        noise = result.noise_std[: len(result.problem.contract.joint_names)]
        terms["joint_position_noise_std_rad"] = {"uniform": [0.0, float(noise.max())]}
        said.append(
            f"joint_position_noise_std_rad: up to {noise.max():.2g} rad, what the fit left of the noisiest joint."
        )
    return Randomisation.model_validate(terms), said


def limits_of_knowledge(result: Identified) -> list[str]:
    """What this log cannot tell, and why, in words; empty when everything is told."""
    said = [
        f"{e.quantity.name}: its interval covers {e.share_of_bounds:.0%} of the bounds, so the log does not tell it."
        for e in result.estimates
        if e.share_of_bounds > UNKNOWN
    ]
    said += [
        f"{e.quantity.name}: the best value {e.value:.4g} {e.quantity.unit} is at its bound; widen the bounds, or "
        "something is missing from the model that this stands in for."
        for e in result.estimates
        if not 1e-3 < e.quantity.unit_value(e.value) < 1 - 1e-3 and e.quantity.value(0) != 0
    ]
    names = [e.quantity.name for e in result.estimates]
    std = np.sqrt(result.covariance.diagonal())
    correlation = result.covariance / np.outer(std, std)
    said += [
        f"only together: {names[a]} and {names[b]} cannot be told apart (correlation {correlation[a, b]:+.2f}); leave "
        "one of them as it is in the model, or play something that excites them apart."
        for a, b in itertools.combinations(range(len(names)), 2)
        if abs(correlation[a, b]) > _TOGETHER and max(std[a], std[b]) > _LOOSE
    ]
    unseen = len(weak_directions(result.information))
    if unseen:
        said.append(f"{unseen} of {len(names)} combinations of these quantities leave no trace within their bounds.")
    if result.correlation_left > 0.3:
        said.append(
            f"the residual is still correlated in time ({result.correlation_left:.2f}) after its noise was modelled: "
            "the model lacks something, and the intervals are too narrow to that extent."
        )
    return said


def weak_directions(information: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Directions `[P]` in unit coordinates of which the log leaves more than half the bounds open, weakest first.

    From the singular values of the whitened Jacobian: one deviation along a direction is 1 / singular value.
    """
    squares, directions = np.linalg.eigh(information)
    spreads = 1 / np.sqrt(np.maximum(squares, 1e-12))
    return [(float(s), directions[:, i]) for i, s in enumerate(spreads) if s > 0.5]


def condition_number(information: np.ndarray) -> float:
    """Condition number of the whitened Jacobian in unit coordinates; infinite where a direction leaves no trace."""
    squares = np.linalg.eigvalsh(information)
    return float(np.sqrt(squares[-1] / squares[0])) if squares[0] > 1e-12 * squares[-1] else float("inf")


def _by_term(result: Identified) -> Iterator[tuple[str | None, list[Estimate]]]:
    """Estimates of one kind, and the term of `Randomisation` that draws it, if there is one."""
    for kind in dict.fromkeys(e.quantity.kind for e in result.estimates):
        estimates = [e for e in result.estimates if e.quantity.kind == kind]
        in_model = [e.quantity.nominal > 0 for e in estimates]
        term = _ABSOLUTE.get(kind) or (_SCALES.get(kind) if all(in_model) else None)
        if kind == "friction_loss" and not any(in_model):
            term = "friction_loss_add_nm"
        yield term, estimates


def _range(term: str, estimate: Estimate) -> tuple[float, float]:
    """An estimate's interval in the term's unit, as far as the term's values make sense."""
    unit = estimate.quantity.nominal if term.endswith("_scale") else 1.0
    return max(estimate.low / unit, TERMS[term].low), min(estimate.high / unit, TERMS[term].high)


def _each(ranges: dict[int, tuple[float, float]], before: Distribution, joints: int) -> dict[str, Any]:
    """The joints' ranges, and what was there before for the others."""
    kept = before.each if isinstance(before, Each) else (before,) * joints
    return {"each": [{"uniform": ranges[i]} if i in ranges else kept[i].model_dump() for i in range(joints)]}


def _count(estimates: Sequence[Estimate]) -> str:
    return f"the intervals of {len(estimates)} joints" if len(estimates) > 1 else "the interval of one quantity"
