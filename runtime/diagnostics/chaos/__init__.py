"""Faults on purpose, against the real loop, core and server with a simulated robot; see `docs/safety.md`.

subject = Subject(Policy(Path("student.onnx")))
for scenario in all_scenarios():
    if scenario.concerns(subject.contract):
        print(scenario.name, run_scenario(scenario, subject).problems)
"""
