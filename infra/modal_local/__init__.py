"""A Modal emulator: a local control plane for the unmodified Modal SDK and command line.

In a shell, for `modal deploy`, `modal run`, `modal secret create`, `modal app stop` and any program with the SDK:

    python -m infra.modal_local --state-dir var/modal      # prints the environment variables for them

In a test:

    async with ModalLocal() as plane:
        await anyio.run_process(["modal", "deploy", "app.py"], env=os.environ | plane.environment)
        plane.fault_api.set(Faults(refuse_spawns="RESOURCE_EXHAUSTED"))

A container is a process that runs the SDK's entry point on this Python with its installed packages; of the project it
sees only the mounts of its image. Images are not built, GPUs are ignored, and a file that is mounted outside /root is
not at its absolute path. Functions may call functions and share ephemeral Dicts. Map, web endpoints, schedules,
volumes, queues, named Dicts and sandboxes are missing: their methods fail with UNIMPLEMENTED and their name.

`plane.fault_api` injects faults from Python, and over HTTP at `plane.control_url` with the token's secret as bearer:
GET and PUT /faults (all fields of `Faults`), and POST /calls/{call id}/{crash, preempt, lose or expire}. A crashed run
is repeated. A preempted run continues in parallel to its repetition, and no cancellation reaches it. A lost output
never appears; an expired one raises OutputExpiredError.
"""

from infra.modal_local.faults import Faults
from infra.modal_local.server import ModalLocal

__all__ = ["Faults", "ModalLocal"]
