import pytest

from tests.factories import NOW, organization
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.jobs import JobStatus
from tunesmith.domain.webhooks import MAX_URL_LENGTH, WebhookEndpoint, check_url, new_signing_secret


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hooks",
        "http://hooks.example.com:8080/a?b=c#d",
        "https://xn--bcher-kva.example/",
        "HTTPS://EXAMPLE.COM",
        "https://my_host.internal-zone.example./",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]:8443/",
        "https://example.com:65535/",
        "http://localhost/",  # what it resolves to is checked when it is called
    ],
)
def test_urls_that_may_be_called_are_taken(url: str) -> None:
    check_url(url, allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "javascript:alert(1)",
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://@example.com/",
        "https://good.example\\@evil.example/",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:port/",
        "https://exa mple.com/",
        "https://example.com/\r\nX-Injected: 1",
        "https://example.com/\x00",
        "https://example.com/\udc80",
        "https://bücher.example/",
        "https://a..b/",
        "https://%31%32%37.0.0.1/",
        "https://[::1",
        "https://[v1.x]/",
        "https://" + "a" * MAX_URL_LENGTH,
    ],
)
@pytest.mark.parametrize("allow_private", [False, True])
def test_urls_that_make_no_sense_are_refused(url: str, allow_private: bool) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_url(url, allow_private=allow_private)
    assert caught.value.param == "url"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/", "http://[::1]/", "http://169.254.169.254/latest/meta-data"]
)
def test_private_addresses_are_refused_unless_the_operator_allows_them(url: str) -> None:
    with pytest.raises(InvalidRequest, match="not one of the public internet"):
        check_url(url, allow_private=False)
    check_url(url, allow_private=True)


def test_a_secret_does_not_show_in_logs_of_its_endpoint() -> None:
    owner, secret = organization(), new_signing_secret()
    endpoint = WebhookEndpoint(
        id=owner.id,
        organization_id=owner.id,
        url="https://example.com/",
        outcomes=frozenset(JobStatus),
        secret=secret,
        created_at=NOW,
    )
    assert secret not in repr(endpoint)
