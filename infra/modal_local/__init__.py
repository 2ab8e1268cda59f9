"""A control plane on this machine that speaks Modal's protocol to the unmodified SDK and command line.

In a shell, for `modal deploy`, `modal run`, `modal secret create`, `modal app stop` and any program with the SDK:

    python -m infra.modal_local --state-dir var/modal      # prints the environment to give them

In a test:

    async with ModalLocal() as plane:
        await anyio.run_process(["modal", "deploy", "app.py"], env=os.environ | plane.environment)
        plane.fault_api.set(Faults(refuse_spawns="RESOURCE_EXHAUSTED"))

A container is a process: the SDK's own entry point, on this Python with its installed packages, but with no more of
the project than the image's mounts bring. Images are not built, GPUs are not looked for, and a file that is mounted
outside /root is not at its absolute path. Functions may call functions, and share ephemeral dicts. There is no map,
no web endpoint, no schedule, no volume, queue, named dict or sandbox: what is missing answers UNIMPLEMENTED with its
name.

`plane.fault_api` breaks things from Python, and over HTTP at `plane.control_url` with the token's secret as bearer:
GET and PUT /faults (the switches of `Faults`, all of them at once), and POST /calls/{call id}/{crash, preempt, lose
or expire}. A crashed run is run again, a preempted one goes on beside its successor, where no cancellation reaches
it; a lost output never shows; an expired one raises OutputExpiredError.
"""

from infra.modal_local.faults import Faults
from infra.modal_local.server import ModalLocal

__all__ = ["Faults", "ModalLocal"]
