"""The vocabulary of tasks and contracts: readings, features, actions, goals, resets and terminations.

Each kind is one class that says all about itself; both simulation backends, noise and delay, the exported graph, the
runtime, recordings and the page ask it. A term of another package is found by `module:Class`, or by the entry-point
group `shoal.terms`.
"""

from sim2real.terms import joints, motion, poses
from sim2real.terms.actions import Action
from sim2real.terms.feature import Feature
from sim2real.terms.goals import Goal, Part, Settings
from sim2real.terms.layout import Layout
from sim2real.terms.reading import KNOWN_TO_CONTROLLERS, Reading, Source, Stage
from sim2real.terms.reset import Reset, Start
from sim2real.terms.scene import Scene, Simulated
from sim2real.terms.term import Term, any_of, find_kind, read_term, shipped
from sim2real.terms.termination import Termination

__all__ = [
    "KNOWN_TO_CONTROLLERS",
    "Action",
    "Feature",
    "Goal",
    "Layout",
    "Part",
    "Reading",
    "Reset",
    "Scene",
    "Settings",
    "Simulated",
    "Source",
    "Stage",
    "Start",
    "Term",
    "Termination",
    "any_of",
    "find_kind",
    "joints",
    "motion",
    "poses",
    "read_term",
    "shipped",
]
