"""Between which devices a measurement may be carried over, and between which never."""

from vlm_profile.estimates.processors import has_precision, reference_of
from vlm_targets.catalogue import Hardware


def why_not_kin(source: Hardware, target: Hardware, precision: str) -> str:
    """Why figures of `source` say nothing of `target`, as the end of a sentence; empty where they do.

    A card's times at batch 1 are launches and caches that no board has; and two devices of one architecture may compute
    a precision on different units: a T4 has the tensor cores that a GTX 1660 Ti lacks.
    """
    if source.kind != target.kind:
        return f"one is a {source.kind.upper()}, the other a {target.kind.upper()}"
    if source.architecture != target.architecture:
        return f"{source.architecture} is not {target.architecture}"
    if source.shared_memory != target.shared_memory:
        return "one is a card with a memory of its own, the other a board"
    if not all(has_precision(each, precision) for each in (source, target)):
        return f"one of them computes no {precision.upper()}"
    units = [reference_of(each, precision).unit for each in (source, target)]
    return "" if units[0] == units[1] else f"{precision} is computed by {units[0]} there, by {units[1]} here"
