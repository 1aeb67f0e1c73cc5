"""Everything that can be asked of the clinical store."""

from vigia_reference.clinical.care import Care
from vigia_reference.clinical.detections import Detections
from vigia_reference.clinical.maintenance import Maintenance


class Operations(Detections, Care, Maintenance):
    """All operations, each described once for all drivers; the stores carry them out."""
