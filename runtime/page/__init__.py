"""The robot in a browser: `runtime serve --page` or `runtime page`.

A process of its own that is a client like any other, so that neither a crash nor a hundred browsers reach the control
loop:

    browsers ── websocket ──► page ── socket ──► gateway ── shared memory ──► control loop
                                └──── stop ────────────────────────────────────────▲

`web` lets browsers in, and stops the robot for any of them; `telemetry` watches the robot, `commands` asks for what one
of the browsers wants; `scene` draws, `panel` and `readouts` are what one browser shows, `app` puts them together and
`runtime.server.page_supervisor` keeps the process alive beside a server. Everybody sees the robot and
may press the emergency stop; one browser at a time has control.
"""
