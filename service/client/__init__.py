"""Client of the public API; errors are `ClientError`s.

It knows the service by its HTTP contract only.
"""

from service.client.api import Client as Client
from service.client.errors import ClientError as ClientError
from service.client.errors import RequestRejected as RequestRejected
from service.client.errors import Unreachable as Unreachable
from service.client.models import Export as Export
from service.client.models import Page as Page
from service.client.models import Timeline as Timeline
from service.client.resume_state import default_folder as default_folder
