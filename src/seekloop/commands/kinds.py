"""Kinds of the runs that our commands leave."""

from seekloop.learning.kind import LEARNING
from seekloop.protocol.kinds import FEEDBACK, INSTANCES, REGIONS, SEARCHES, SESSIONS, WORDS

KINDS = {kind.command: kind for kind in (SEARCHES, LEARNING, INSTANCES, FEEDBACK, REGIONS, WORDS, SESSIONS)}
