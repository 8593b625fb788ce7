import pytest
import torch
from torch import Tensor

from tunesmith.engine import head

VOCABULARY = 50


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Hidden rows, weight, bias, and targets, of which several share a row, in no order."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(7, 8, generator=generator)
    weight = torch.randn(VOCABULARY, 8, generator=generator)
    bias = torch.randn(VOCABULARY, generator=generator)
    target_rows = torch.tensor([3, 0, 3, 1, 6, 2, 5, 4, 3, 0])
    targets = torch.tensor([4, 7, 9, 1, 0, 2, 49, 3, 4, 7])
    return hidden, weight, bias, target_rows, targets


@pytest.mark.parametrize(
    ("chunk_rows", "block_logits"), [(1, 1), (2, 30), (3, VOCABULARY), (1000, 1), (1000, 10_000)]
)
def test_it_is_log_softmax_and_its_gradient(
    inputs: tuple[Tensor, ...], chunk_rows: int, block_logits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "_CHUNK_ROWS", chunk_rows)
    monkeypatch.setattr(head, "_BLOCK_LOGITS", block_logits)
    hidden, weight, bias, target_rows, targets = inputs
    upstream = torch.linspace(-1, 2, len(targets))  # each target weighs differently, as in DPO
    gradients = []
    values = []
    for compute in (head.target_logprobs, plain):
        hidden = hidden.detach().requires_grad_()
        logprobs, is_correct = compute(hidden, weight, bias, target_rows, targets)
        logprobs.backward(upstream)
        assert hidden.grad is not None
        gradients.append(hidden.grad)
        values.append((logprobs.detach(), is_correct))
    assert (gradients[0] - gradients[1]).norm() / gradients[1].norm() < 1e-6
    assert torch.allclose(values[0][0], values[1][0], rtol=1e-6, atol=1e-6)
    assert torch.equal(values[0][1], values[1][1])


def test_a_row_that_is_no_targets_has_no_gradient(inputs: tuple[Tensor, ...]) -> None:
    """Whatever was in memory before, which here is no number."""
    hidden, weight, bias, target_rows, targets = inputs
    kept = target_rows != 6
    hidden = hidden.requires_grad_()
    for _ in range(20):
        [torch.full((size,), float("nan")) for size in range(1, 64)]
        logprobs, _ = head.target_logprobs(hidden, weight, bias, target_rows[kept], targets[kept])
        [gradient] = torch.autograd.grad(logprobs.sum(), [hidden])
        assert gradient.isfinite().all()
        assert not gradient[6].any()
        assert gradient[:6].any(1).all()


def plain(
    hidden: Tensor, weight: Tensor, bias: Tensor, target_rows: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    logprobs = torch.log_softmax(torch.nn.functional.linear(hidden, weight, bias), dim=-1)
    return logprobs[target_rows, targets], logprobs.argmax(-1)[target_rows] == targets


def test_of_equal_logits_the_first_token_is_the_most_likely() -> None:
    hidden, weight = torch.zeros(2, 4), torch.ones(5, 4)
    _, is_correct = head.target_logprobs(
        hidden, weight, None, torch.tensor([0, 1]), torch.tensor([0, 3])
    )
    assert is_correct.tolist() == [True, False]


@pytest.mark.parametrize("block_logits", [1, 400, 10_000])
def test_the_most_likely_of_many_equal_logits_is_the_first_whatever_the_block(
    block_logits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "_BLOCK_LOGITS", block_logits)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(0, 3, (VOCABULARY, 1), generator=generator).float()
    target_rows = torch.arange(3).repeat_interleave(VOCABULARY)  # each token is one of each row
    targets = torch.arange(VOCABULARY).repeat(3)
    hidden = torch.tensor([[1.0], [0.0], [-1.0]])
    _, is_correct = head.target_logprobs(hidden, weight, None, target_rows, targets)
    best = torch.stack([weight.argmax(), torch.tensor(0), weight.argmin()])
    assert is_correct.nonzero().flatten().tolist() == [
        row * VOCABULARY + int(token) for row, token in enumerate(best)
    ]


def test_the_gradient_of_a_nearly_certain_target_is_exact() -> None:
    """One minus its probability is 1e-8, less than fp32 tells from 0."""
    weight = torch.tensor([[18.4, 0.0], [0.0, 1.0], [0.0, -0.5]])
    gradients = []
    for dtype in (torch.float32, torch.float64):
        hidden = torch.tensor([[1.0, 0.3]], dtype=dtype).requires_grad_()
        if dtype == torch.float32:
            logprobs, _ = head.target_logprobs(
                hidden, weight, None, torch.tensor([0]), torch.tensor([0])
            )
        else:
            logprobs = torch.log_softmax(hidden @ weight.double().t(), -1)[:, 0]
        logprobs.sum().backward()
        assert hidden.grad is not None
        gradients.append(hidden.grad.double())
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-5, atol=0)
