"""What a report means: findings, the gravest and most explanatory first."""

from ._judge import findings_of as findings_of
from ._kinds import KINDS as KINDS
from ._kinds import Finding as Finding
