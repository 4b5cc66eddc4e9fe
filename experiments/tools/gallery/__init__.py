"""What finished runs of the papers' sizes leave in the repository: docs/gallery."""

from .publish import publish_gallery as publish_gallery
