"""The robot in a browser: `runtime serve --page` or `runtime page`.

A process of its own that is a client of the gateway like any other, so that neither a crash nor a hundred browsers
reach the control loop:

    browsers ── websocket ──► page ── socket ──► gateway ── shared memory ──► control loop

`link` talks to the server, `scene` draws, `panel` is what one browser shows, `control` says which browser may drive,
`app` puts them together and `keeper` keeps the process alive beside a gateway. Everybody sees the robot and may press
the emergency stop; one browser at a time has control.
"""
