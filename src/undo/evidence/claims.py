"""All claims, in the order of the evidence page."""

from undo.evidence import ours, paper

CLAIMS = [*paper.CLAIMS, *ours.CLAIMS]
