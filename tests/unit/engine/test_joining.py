import torch

from tunesmith.engine.examples import Example
from tunesmith.engine.joining import joined, joined_routes, split
from tunesmith.engine.lora import Route
from tunesmith.engine.loss import Predicted
from tunesmith.engine.packing import PackedBatch, pack, pack_singly
from tunesmith.engine.trie import MIN_SHARED_TOKENS


def batch(first_id: int, num_rows: int, num_shared: int) -> PackedBatch:
    shared = [first_id + n for n in range(num_shared)]
    rows = []
    for row in range(num_rows):
        token_ids = [*shared, first_id + 100 + row, 7, 8 + row]
        rows.append(Example(token_ids, [False] * (num_shared + 1) + [True] * 2))
    [packed] = pack(rows, 10_000)
    return packed


A = batch(200, 3, MIN_SHARED_TOKENS)
B = batch(500, 2, 5)


def read_back(stream: PackedBatch) -> list[tuple[list[int], list[int]]]:
    """Of each segment: all tokens that it sees at its end, and their positions."""
    found = []
    for segment in stream.segments:
        parts = [segment]
        while parts[0].prefix is not None:
            parts.insert(0, parts[0].prefix)
        places = [place for part in parts for place in range(part.start, part.end)]
        tokens = [stream.token_ids[place] for place in places]
        found.append((tokens, [stream.position_ids[place] for place in places]))
    return found


def targets(stream: PackedBatch) -> list[tuple[int, int]]:
    """The token that each target is predicted from, and the target."""
    rows = [stream.token_ids[stream.logit_positions[row]] for row in stream.target_rows]
    return list(zip(rows, stream.targets, strict=True))


def test_a_stream_holds_what_its_batches_hold() -> None:
    stream = joined([A, B])
    assert read_back(stream) == read_back(A) + read_back(B)
    assert targets(stream) == targets(A) + targets(B)
    assert stream.rows == A.rows + B.rows
    assert stream.num_targets == A.num_targets + B.num_targets
    assert len(set(stream.logit_positions)) == len(stream.logit_positions)


def test_a_batch_alone_stays_itself() -> None:
    assert joined([A]) is A
    [single] = pack_singly(A.rows[:1])
    assert joined([single]) is single
    size = len(A.token_ids)
    assert joined_routes([A], [Route(adapter_id="a")]) == [
        Route(adapter_id="a", tokens=slice(0, size))
    ]
    assert joined_routes([A], [None]) == []
    [separate] = pack_singly(A.rows[:1])
    assert joined_routes([separate], [Route(adapter_id="a")]) == [Route(adapter_id="a")]


def test_routes_lead_to_where_the_batches_stand() -> None:
    dropout = torch.Generator()
    routes = [Route(adapter_id="a", dropout=dropout), None, Route(adapter_id="b")]
    size = len(A.token_ids), len(B.token_ids)
    assert joined_routes([A, B, A], routes) == [
        Route(adapter_id="a", tokens=slice(0, size[0]), dropout=dropout),
        Route(adapter_id="b", tokens=slice(sum(size), sum(size) + size[0])),
    ]


def test_predictions_are_handed_back() -> None:
    count = len(A.targets) + len(B.targets)
    told = Predicted(torch.arange(count), torch.arange(count) % 2 == 0)
    of_a, of_b = split(told, [A, B])
    assert of_a.logprobs.tolist() == list(range(len(A.targets)))
    assert of_b.logprobs.tolist() == list(range(len(A.targets), count))
    assert of_b.is_correct.tolist() == told.is_correct[len(A.targets) :].tolist()
