"""A client of the public API. It knows the service by its wire contract alone; whatever fails is a `Trouble`."""

from service.client.api import Client as Client
from service.client.errors import Refused as Refused
from service.client.errors import Trouble as Trouble
from service.client.errors import Unreachable as Unreachable
from service.client.models import Export as Export
from service.client.models import Page as Page
from service.client.models import Timeline as Timeline
from service.client.resume_state import usual_folder as usual_folder
