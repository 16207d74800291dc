"""Where the boxes, labels and arrows of a netlist's picture stand: layer by layer, as in Sugiyama, Tagawa and Toda 1981.

Boxes stand in even layers, the labels of arrows in the odd ones between them. An arrow over several layers has a bend in
each. Arrows that go back run in lanes under everything else. Lengths are in inches; y points down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from statistics import fmean as mean
from typing import NamedTuple

#: Arrow before and behind a label, distance of labels, of arrows at a box, margin, line of text.
STUB, GAP, PORT, MARGIN, LINE = 0.25, 0.14, 0.14, 0.25, 0.16
#: Sizes of text in points.
LARGE, SMALL = 10.0, 8.5


@dataclass(eq=False)
class Node:
    """A box, the label of an arrow, or a bend of one: layer, size, text, middle, and what it is joined to."""

    layer: int
    width: float = 0.0
    height: float = 0.1
    text: str = ""
    x: float = 0.0
    y: float = 0.0
    beside: list[Node] = field(default_factory=list)

    def side(self, way: int) -> float:
        """Return the x of its right side, way 1, or of its left, way -1."""
        return self.x + way * self.width / 2

    def end(self, way: int) -> float:
        """Return the y of its foot, way 1, or of its top, way -1."""
        return self.y + way * self.height / 2


class Layout(NamedTuple):
    """Boxes by name; arrows that go forward and arrows that go back, each as the nodes that it passes, box to box."""

    boxes: dict[str, Node]
    chains: list[list[Node]]
    backs: list[list[Node]]

    @property
    def nodes(self) -> list[Node]:
        """All boxes, labels and bends."""
        return [*self.boxes.values(), *(node for chain in (*self.chains, *self.backs) for node in chain[1:-1])]


def lay_out(texts: Mapping[str, str], waves: Mapping[str, int], arrows: Sequence[tuple[str, str, str]]) -> Layout:
    """Return places for boxes with ``texts``, left to right by their ``waves``, and for arrows (source, target, label)."""
    columns = sorted(set(waves.values()))
    boxes = {name: _text(2 * columns.index(waves[name]), text, 0.3) for name, text in texts.items()}
    widths = {
        layer: max(box.width for box in boxes.values() if box.layer == layer) for layer in range(0, 2 * len(columns), 2)
    }
    for box in boxes.values():
        box.width = widths[box.layer]
    labels: Counter[int] = Counter()
    chains: list[list[Node]] = []
    backs: list[list[Node]] = []
    for source, target, text in arrows:
        a, b = boxes[source], boxes[target]
        between = range(a.layer + 1, b.layer)
        shown = min(between[::2], key=labels.__getitem__, default=-1)  # the gap that has the fewest labels
        labels[shown] += bool(text)
        way = [_text(layer, text) if layer == shown else Node(layer, widths.get(layer, 0.0)) for layer in between]
        (chains if between else backs).append([a, *(way or [_text(-1, text)]), b])
    for chain in chains:
        for node, other in pairwise(chain):
            times = 1 if node is chain[0] or other is chain[-1] else 4  # long arrows are drawn straight
            node.beside += [other] * times
            other.beside += [node] * times
    _settle(Layout(boxes, chains, []).nodes)
    _lay_back(Layout(boxes, chains, backs))
    return Layout(boxes, chains, backs)


def _settle(nodes: Sequence[Node]) -> None:
    """Stack the nodes of each layer, then move each as near to the height of its neighbours as there is room."""
    layers = [[node for node in nodes if node.layer == layer] for layer in range(1 + max(node.layer for node in nodes))]
    x: float = MARGIN
    for number, layer in enumerate(layers):
        wide, stub = max(node.width for node in layer), STUB * (number % 2)
        x += wide / 2 + stub
        for k, node in enumerate(layer):
            node.x, node.y = x, k - (len(layer) - 1) / 2
            node.width = node.width if node.text else wide  # arrows are level where labels stand
        x += wide / 2 + stub
    for layer in 40 * [*layers, *layers[::-1]]:
        wishes = {node: mean(other.y for other in node.beside) if node.beside else node.y for node in layer}
        layer.sort(key=wishes.__getitem__)
        places = _apart([wishes[node] for node in layer], [node.height + GAP for node in layer])
        for node, place in zip(layer, places, strict=True):
            node.y = place


def _apart(wishes: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Return places in a row, for things of these ``sizes``, that lie closest to rising ``wishes`` by least squares."""
    steps = [(before + after) / 2 for before, after in pairwise(sizes)]
    offsets = list(accumulate(steps, initial=0.0))
    pools: list[list[float]] = []  # isotonic regression: neighbours that want to change places share their mean
    for wish, offset in zip(wishes, offsets, strict=True):
        pools.append([wish - offset])
        while len(pools) > 1 and mean(pools[-2]) > mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    places = [mean(pool) for pool in pools for _ in pool]
    return [place + offset for place, offset in zip(places, offsets, strict=True)]


def _lay_back(layout: Layout) -> None:
    """Put the labels of arrows that go back into lanes under everything else: short ones first, loops in one layer last."""
    foot = max(node.end(1) for node in layout._replace(backs=[]).nodes)
    columns = {box.layer: box for box in layout.boxes.values()}
    taken: list[tuple[float, float, int]] = []  # left, right, lane
    for source, label, target in sorted(layout.backs, key=lambda back: (back[0].x == back[2].x, back[0].x - back[2].x)):
        before = source if source.layer == target.layer else columns[source.layer - 2]
        label.x = source.x if before is source else (before.side(1) + source.side(-1)) / 2  # where no arrow goes down
        left, right = min(label.side(-1), target.side(-1) - STUB), max(label.side(1), source.side(1) + STUB)
        lane = 1 + max((other for start, end, other in taken if start < right and left < end), default=-1)
        taken.append((left, right, lane))
        label.y = foot + GAP + (lane + 0.5) * (label.height + GAP)


def ports(chains: Sequence[Sequence[Node]], end: int, beside: int) -> list[float]:
    """Return the y at which each arrow touches the box at its ``end``: as close as possible to the node ``beside`` it."""
    found = dict.fromkeys(range(len(chains)), 0.0)
    for box in {chain[end] for chain in chains}:
        order = sorted((number for number in found if chains[number][end] is box), key=lambda k: chains[k][beside].y)
        most = box.height / 3
        wishes = [box.y + min(max(chains[number][beside].y - box.y, -most), most) for number in order]
        found |= zip(order, _apart(wishes, [min(PORT, 2 * most / len(order))] * len(order)), strict=True)
    return list(found.values())


def corners(back: Sequence[Node], layout: Layout) -> list[tuple[float, float]]:
    """Return the corners of an arrow that goes back: down from a box to its label's lane, and up to the other box."""
    found: list[list[tuple[float, float]]] = []
    for end, side in ((0, 1), (-1, -1)):
        box, lane = back[end], back[1].y
        ends = [(way[-1 - at].x - box.x, at == 0, way[1].y) for way in layout.backs for at in (0, -1) if box is way[at]]
        own = (back[-1 - end].x - box.x, end == 0, lane)
        share = (1 + sorted(ends).index(own)) / (1 + len(ends))  # ends stand side by side in the order of where they lead
        if any(other.layer == box.layer and other.y > box.y for other in layout.boxes.values()):
            x, y = box.side(side) + STUB * (share - (side < 0)), box.y + box.height / 3  # pass beside the boxes below
            found.append([(box.side(side), y), (x, y), (x, lane)])
        else:
            x = box.side(-1) + share * box.width
            found.append([(x, box.end(1)), (x, lane)])
    return [*found[0], *found[1][::-1]]


def extent(text: str, size: float) -> tuple[float, float]:
    """Return width and height of lines of text."""
    from matplotlib.textpath import TextPath

    lines = text.split("\n")
    wide = max(TextPath((0, 0), line, size=size).get_extents().width if line.strip() else 0.0 for line in lines)
    return wide / 72, LINE * len(lines)


def _text(layer: int, text: str, margin: float = 0.16) -> Node:
    wide, high = extent(text, SMALL)
    return Node(layer, wide + margin, high + 0.8 * margin, text) if text else Node(layer)
