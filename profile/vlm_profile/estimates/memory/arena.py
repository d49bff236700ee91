"""How ONNX Runtime's allocator lays tensors into memory, and what of that memory is touched.

A best-fit allocator with regions that double (onnxruntime/core/framework/bfc_arena.cc), and the planner that, from the
second inference on, puts all tensors of an input's shape into one block (mem_pattern_planner.h). A tensor that fits no
gap opens a new region or lengthens the block, so that both hold more than ever lives at once.
"""

from collections.abc import Iterable
from dataclasses import dataclass

LEAST_BYTES = 256  # kMinAllocationSize
FIRST_REGION_BYTES = 2**20  # DEFAULT_INITIAL_CHUNK_SIZE_BYTES
MOST_WASTED_BYTES = 2**27  # DEFAULT_MAX_DEAD_BYTES_PER_CHUNK

Event = tuple[int, int]  # a tensor's number; its bytes where it is born, 0 where it dies


@dataclass
class _Chunk:
    region: int
    begin: int
    size: int
    used: bool = False


class Arena:
    """The allocator, without the memory."""

    def __init__(self) -> None:
        self._regions: list[list[_Chunk]] = []
        self._touched: list[list[tuple[int, int]]] = []
        self._next_bytes = FIRST_REGION_BYTES
        self._held: dict[int, _Chunk] = {}

    def replay(self, events: Iterable[Event]) -> None:
        for tensor, size in events:
            if size:
                self._take(tensor, size)
            else:
                self._give_back(tensor)

    def touched_bytes(self) -> int:
        """Of all regions, what tensors have lain in: pages that no one writes to take no memory."""
        return sum(_covered(spans) for spans in self._touched)

    def _take(self, tensor: int, size: int) -> None:
        wanted = -(-size // LEAST_BYTES) * LEAST_BYTES
        chunk = self._best(wanted) or self._extended(wanted)
        if chunk.size >= 2 * wanted or chunk.size - wanted >= MOST_WASTED_BYTES:
            self._split(chunk, wanted)
        chunk.used = True
        self._held[tensor] = chunk
        self._touched[chunk.region].append((chunk.begin, chunk.begin + size))

    def _best(self, wanted: int) -> _Chunk | None:
        free = (chunk for region in self._regions for chunk in region if not chunk.used and chunk.size >= wanted)
        return min(free, key=lambda chunk: chunk.size, default=None)

    def _extended(self, wanted: int) -> _Chunk:
        grew = wanted > self._next_bytes
        while wanted > self._next_bytes:
            self._next_bytes *= 2
        chunk = _Chunk(len(self._regions), 0, self._next_bytes)
        if not grew:
            self._next_bytes *= 2
        self._regions.append([chunk])
        self._touched.append([])
        return chunk

    def _split(self, chunk: _Chunk, wanted: int) -> None:
        region = self._regions[chunk.region]
        rest = _Chunk(chunk.region, chunk.begin + wanted, chunk.size - wanted)
        region.insert(region.index(chunk) + 1, rest)
        chunk.size = wanted

    def _give_back(self, tensor: int) -> None:
        """Free chunks that touch become one."""
        chunk = self._held.pop(tensor)
        chunk.used = False
        merged: list[_Chunk] = []
        for each in self._regions[chunk.region]:
            if merged and not merged[-1].used and not each.used:
                merged[-1].size += each.size
            else:
                merged.append(each)
        self._regions[chunk.region] = merged


def planned_bytes(events: Iterable[Event]) -> int:
    """Of the one block for all tensors: each goes into the gap that it fills best, else behind the last."""
    blocks: list[tuple[int, int, int]] = []  # begin, end, tensor; in their order
    most = 0
    for tensor, size in events:
        if not size:
            blocks = [block for block in blocks if block[2] != tensor]
            continue
        begin = _best_gap(blocks, size)
        most = max(most, begin + size)
        blocks = sorted([*blocks, (begin, begin + size, tensor)])
    return most


def live_bytes(events: Iterable[Event]) -> int:
    """The most that lives at once."""
    sizes: dict[int, int] = {}
    now = most = 0
    for tensor, size in events:
        now += size or -sizes[tensor]
        sizes[tensor] = size
        most = max(most, now)
    return most


def _best_gap(blocks: list[tuple[int, int, int]], size: int) -> int:
    best, waste, at = (blocks[-1][1] if blocks else 0), None, 0
    for begin, end, _ in blocks:
        if begin - at >= size and (waste is None or begin - at - size < waste):
            best, waste = at, begin - at - size
        at = end
    return best


def _covered(spans: list[tuple[int, int]]) -> int:
    total = at = 0
    for begin, end in sorted(spans):
        total += max(0, end - max(begin, at))
        at = max(at, end)
    return total
