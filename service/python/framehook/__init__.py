"""Client of the public API; errors are `ClientError`s.

It knows the service by its HTTP contract only.
"""

from framehook.api import Client as Client
from framehook.errors import ClientError as ClientError
from framehook.errors import RequestRejected as RequestRejected
from framehook.errors import Unreachable as Unreachable
from framehook.models import Export as Export
from framehook.models import Page as Page
from framehook.models import Timeline as Timeline
from framehook.resume_state import default_folder as default_folder
