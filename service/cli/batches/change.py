"""The commands that end batches: cancel, purge."""

from framehook.settings import DEFAULT_URL
from service.cli.batches.follow import describe_counts, print_batch
from service.cli.batches.read import BatchId
from service.cli.console import to_printable
from service.cli.errors import confirm, print_errors
from service.cli.options import AsJson, Server, Token, Yes, open_client
from service.cli.records import print_removal


def cancel(
    batch_id: BatchId, server: Server = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Cancel all exports of a batch that have not ended."""
    with print_errors(), open_client(server, token) as client:
        batch = client.batches.cancel(batch_id)
        print_batch(batch, f"The batch has ended: {describe_counts(batch)}.", as_json=as_json)


def purge(
    batch_id: BatchId,
    *,
    yes: Yes = False,
    server: Server = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Erase a batch, its exports and their files for good.

    Exports that are active are cancelled first. What is erased cannot be restored. If it is interrupted, run it again.
    """
    with print_errors(), open_client(server, token) as client:
        if not yes:
            confirm(f"Erase the batch {to_printable(batch_id)} and its exports for good?", "--yes")
        client.batches.purge(batch_id)
        print_removal("erased", batch_id, f"The batch {batch_id} is erased.", as_json=as_json)
