"""Models to diagnose: public architectures in small, healthy and with faults."""

from .architectures import ARCHITECTURES as ARCHITECTURES
from .architectures import WITH_ZEROS as WITH_ZEROS
from .faults import FAULTS as FAULTS
from .faults import Fault as Fault
from .faults import changed as changed
