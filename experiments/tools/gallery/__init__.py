"""What finished runs of the papers' sizes leave in the repository: docs/gallery."""

from .pages import counted as counted
from .publish import publish_gallery as publish_gallery
from .record import read as read
