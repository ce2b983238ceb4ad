"""What runs until it is told to end: `runtime serve`, `page`, `policy-server`, `simulate`, `ros2`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.options import PolicyServerOptions, Ros2Options, ServeOptions


@dataclass(frozen=True)
class Serve(ServeOptions):
    """Drive a robot with a policy file and take goal poses from clients."""

    def run(self) -> int:
        """Exit status 0 after a clean end, whatever ended it."""
        from runtime.server.control_process import serve

        serve(self)
        return 0


@dataclass(frozen=True)
class Page:
    """Show a running server's robot in a browser, with a goal to drag; runtime serve --page does so beside a server."""

    address: str | None = None
    """Socket path, unix:///path or tcp://127.0.0.1:PORT."""
    port: int = 8080
    """To serve the page on."""
    host: str = "127.0.0.1"
    """Interface to serve it on; beyond loopback, the page asks for a code that is printed here."""
    code: bool = False
    """Ask for the code on the loopback interface, too, where other people have accounts on this machine."""
    mjcf: Path | None = None
    """The robot's MJCF, where it does not ship with Shoal."""

    def run(self) -> int:
        """Serves until a signal asks for the end."""
        from runtime.page.app import serve_page
        from runtime.page.config import PageConfig
        from runtime.process.signals import EndingSignals
        from runtime.protocol.address import default_address, require_port

        require_port(self.port, option="--port")
        address = self.address or str(default_address())
        config = PageConfig(address=address, host=self.host, port=self.port, mjcf=self.mjcf, ask_code=self.code)
        with EndingSignals() as ending:
            serve_page(config, ending)
        return 0


@dataclass(frozen=True)
class ServePolicy(PolicyServerOptions):
    """Answer readings with commands, for people who keep their own control loop."""

    def run(self) -> int:
        """Exit status 0 after a signal that asks for the end."""
        from runtime.policy_server.serve import serve

        serve(self)
        return 0


@dataclass(frozen=True)
class Simulate:
    """Simulate a policy's robot in this process, for runtime serve --robot wire --host ADDRESS, or --robot unitree, in
    another.
    """

    model: Path
    """The policy file: its contract says which robot."""
    protocol: Literal["shoal", "unitree"] = "shoal"
    """Messages of Shoal's own over a socket, for --robot wire; or those of a quadruped of Unitree's over DDS, for
    --robot unitree."""
    address: str | None = None
    """With --protocol shoal: HOST:PORT of the loopback interface, or the path of a Unix socket; 127.0.0.1:7400 if not
    given."""
    mjcf: Path | None = None
    """Simulate this MJCF instead of the one that ships with Shoal; it must compile to the contract's digest."""
    speed: float = 1.0
    """With --protocol shoal: simulated seconds per second."""
    robot_config: Path | None = None
    """With --protocol unitree: the same YAML as for runtime serve."""

    def run(self) -> int:
        """Exit status 0 after a signal that asks for the end."""
        if self.protocol == "unitree":
            return self._unitree()
        from runtime.drivers.wire_simulation import simulate

        self._require(robot_config=None)
        simulate(self.model, self.address or "127.0.0.1:7400", mjcf=self.mjcf, speed=self.speed)
        return 0

    def _unitree(self) -> int:
        from sim2real.errors import ShoalError

        self._require(address=None, speed=1.0)
        try:
            from runtime.unitree.simulation import simulate
        except ImportError as error:
            raise ShoalError(
                f"--protocol unitree needs the cyclonedds package: pip install 'shoal[unitree]' ({error})."
            ) from error
        simulate(self.model, mjcf=self.mjcf, config=self.robot_config)
        return 0

    def _require(self, **left_out: object) -> None:
        """Raise `ShoalError` for options of the other protocol."""
        from sim2real.errors import ShoalError

        given = [f"--{name.replace('_', '-')}" for name, unset in left_out.items() if getattr(self, name) != unset]
        if given:
            raise ShoalError(f"simulate: {', '.join(given)} is not for --protocol {self.protocol}; leave it out.")


@dataclass(frozen=True)
class Ros2(Ros2Options):
    """Bridge a running server to ROS 2 topics over DDS; needs no ROS installation, respects ROS_DOMAIN_ID."""

    def run(self) -> int:
        """Exit status 0 after a signal that asks for the end."""
        from sim2real.errors import ShoalError

        try:
            from runtime.ros2.bridge import run
        except ImportError as error:
            raise ShoalError(f"ros2 needs the cyclonedds package: pip install 'shoal[ros2]' ({error}).") from error
        run(self)
        return 0
