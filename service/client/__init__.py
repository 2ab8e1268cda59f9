"""A client of the public API. It knows the service by its wire contract alone; whatever fails is a `Trouble`."""

from service.client.api import Client as Client
from service.client.contract import Export as Export
from service.client.contract import Page as Page
from service.client.contract import Timeline as Timeline
from service.client.troubles import Refused as Refused
from service.client.troubles import Trouble as Trouble
from service.client.troubles import Unreachable as Unreachable
from service.client.unfinished import usual_folder as usual_folder
