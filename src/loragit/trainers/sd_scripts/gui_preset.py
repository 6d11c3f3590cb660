"""stub"""

from collections.abc import Mapping

from loragit.trainers.arguments import Arguments


def arguments(table: Mapping[str, object]) -> Arguments:
    return Arguments({}, tuple(table)[:0])
