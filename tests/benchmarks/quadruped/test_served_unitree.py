from __future__ import annotations

from benchmarks.quadruped.served_unitree import Falls


def test_a_fall_is_counted_once_and_only_of_a_robot_that_stood() -> None:
    falls = Falls()
    falls.see(0.10, 0.0)  # it lies on its belly
    falls.see(0.20, 5.0)  # it stands up
    assert falls.count == 0
    for height_m, leans_deg in ((0.28, 1.0), (0.22, 10.0), (0.12, 20.0), (0.05, 80.0), (0.05, 80.0)):
        falls.see(height_m, leans_deg)
    assert falls.count == 1
    falls.see(0.28, 1.0)
    falls.see(0.28, 61.0)
    assert falls.count == 2
    assert falls.leaned_deg == 61.0


def test_what_stands_low_or_leans_has_not_fallen() -> None:
    falls = Falls()
    for height_m, leans_deg in ((0.28, 0.0), (0.15, 59.0)):
        falls.see(height_m, leans_deg)
    assert falls.count == 0
    assert falls.lowest_m == 0.15
