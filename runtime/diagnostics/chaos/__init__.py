"""Faults on purpose, against the real loop, core and server with a simulated robot; see `docs/safety.md`.

for outcome in run_scenarios(Path("student.onnx")):
    print(outcome.scenario.name, outcome.passed, outcome.problems)
"""
