"""What a server keeps in its own hands, whatever its driver's code does: signals, the end of calls, the process."""

from __future__ import annotations

import sys
from contextlib import ExitStack, suppress
from typing import Self

from runtime.drivers import base as drivers
from runtime.drivers import calls
from runtime.drivers.base import DriverFailed, DriverOverdue, open_chosen
from runtime.drivers.calls import DriverCalls
from runtime.options import ServeOptions
from runtime.process.exits import exits_are_errors
from runtime.process.signals import HEARD, EndingSignals, KeptHandlers, Patience
from runtime.server.last_resort import LastResort
from sim2real.contract import Contract
from sim2real.errors import ShoalError

NOTICED_WITHIN_S = 1.0
"""After a signal that asks for the end, a driver that lets nothing go on is interrupted."""
TICKS_WITHIN_S = 0.5
"""For each tick that brakes; and for the end of a driver that had to be interrupted before."""
_CLOSED_WITHIN_S, _LAST_RESORT_S = 10.0, 2.0
"""When a driver that does not close is interrupted, and when one that hears no interruption is left to itself."""


class Safeguards:
    """Within the block, the driver called `name` can neither take the signals that end a server nor the process itself
    away, and no call of it lasts for ever once the end is asked for. Only the main thread may enter, when all handlers
    of signals are in place.
    """

    def __init__(self, name: str, signals: EndingSignals) -> None:
        self._name, self.signals = name, signals
        self.patience = Patience(DriverOverdue, within=(drivers.__file__, calls.__file__))
        self.last_resort = LastResort(
            name, seconds=_LAST_RESORT_S, close_s=_CLOSED_WITHIN_S + _LAST_RESORT_S, look=self._put_back
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.patience)
            self._handlers = KeptHandlers(HEARD)
            stack.enter_context(exits_are_errors())
            stack.enter_context(self.last_resort)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def open(self, options: ServeOptions, contract: Contract) -> DriverCalls:
        """The driver that the command line asks for. Raises `ShoalError`."""
        with self.patience.after(self.signals, NOTICED_WITHIN_S):
            driver = _opened(options, contract)
        self.last_resort.driver = driver
        self.look()
        return driver

    def look(self) -> None:
        """Called every so often: take back what code of the driver's has taken, and the signals that it has heard."""
        if self._put_back():
            self.last_resort.listen()
        self.signals.received = self.signals.received or self.last_resort.heard

    def close(self, driver: DriverCalls, failures: list[str]) -> None:
        """Whatever it does, what comes after it has its turn; what it did wrong is added to `failures`."""
        self.last_resort.expect_end()
        self.patience.allow(TICKS_WITHIN_S if driver.overdue else _CLOSED_WITHIN_S)
        try:
            driver.close()
        except DriverFailed as failed:
            failures.append(str(failed))
        self.patience.revoke()

    def _put_back(self) -> bool:
        taken = self._handlers.put_back()
        if taken:
            sys.stderr.write(
                f"signals    the driver {self._name} has taken {', '.join(taken)} for itself; this server has taken "
                f"{'it' if len(taken) == 1 else 'them'} back.\n"
            )
            sys.stderr.flush()
        return bool(taken)


def _opened(options: ServeOptions, contract: Contract) -> DriverCalls:
    if (options.video is not None or options.viewer) and options.robot != "mujoco":
        raise ShoalError(f"--video and --viewer show the driver mujoco only, not {options.robot}.")
    driver = open_chosen(
        options,
        contract,
        recover_reflexes=options.recover_reflexes,
        video=options.video,
        viewer=options.viewer,
    )
    try:
        return DriverCalls(driver)
    except DriverFailed:
        with suppress(Exception):
            driver.close()
        raise
