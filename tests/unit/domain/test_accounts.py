from dataclasses import replace

import pytest

from tests.factories import NOW, key, organization
from tunesmith.domain.accounts import (
    USER_SCOPES,
    Role,
    Scope,
    digest_of,
    new_secret,
    visible_prefix_of,
)


def test_a_new_secret_is_recognisable_and_never_the_same() -> None:
    first, second = new_secret(), new_secret()
    assert first.startswith("ts_")
    assert first != second
    assert len(first) > 40


def test_a_keys_digest_does_not_hold_its_secret() -> None:
    secret = new_secret()
    assert secret not in repr(key(organization(), secret))
    assert digest_of(secret) == key(organization(), secret).digest


@pytest.mark.parametrize(
    ("secret", "shown"), [("ts_" + "x" * 40, "ts_xxxxx"), ("short-secret", "sh"), ("", "")]
)
def test_little_of_a_secret_is_shown(secret: str, shown: str) -> None:
    assert visible_prefix_of(secret) == shown


@pytest.mark.parametrize("scope", Scope)
def test_an_operator_may_do_everything(scope: Scope) -> None:
    assert key(organization(), scopes=frozenset({Scope.OPERATOR})).allows(scope)


@pytest.mark.parametrize("scope", Scope)
def test_an_admin_may_do_what_stays_in_the_organization(scope: Scope) -> None:
    admin = key(organization(), scopes=frozenset({Scope.ADMIN}))
    assert admin.allows(scope) == (scope not in (Scope.OPERATOR, Scope.WORKER))


@pytest.mark.parametrize(
    ("role", "scope", "may"),
    [
        (Role.OWNER, Scope.ADMIN, True),
        (Role.MEMBER, Scope.ADMIN, False),
        (Role.MEMBER, Scope.JOBS_WRITE, True),
        (Role.READER, Scope.JOBS_WRITE, False),
        (Role.READER, Scope.JOBS_READ, True),
    ],
)
def test_a_role_bounds_a_key_whatever_its_scopes(role: Role, scope: Scope, may: bool) -> None:
    its = key(organization(), scopes=frozenset({Scope.ADMIN}))
    assert replace(its, user_id=its.id, role=role).allows(scope) == may


def test_a_key_whose_user_is_gone_is_dead() -> None:
    its = key(organization())
    assert its.is_alive(NOW)
    assert not replace(its, user_id=its.id).is_alive(NOW)


def test_a_key_may_do_what_it_is_for_and_no_more() -> None:
    reader = key(organization(), scopes=frozenset({Scope.JOBS_READ}))
    assert reader.allows(Scope.JOBS_READ)
    assert not reader.allows(Scope.JOBS_WRITE)


def test_users_are_neither_workers_nor_admins() -> None:
    assert {Scope.WORKER, Scope.ADMIN}.isdisjoint(USER_SCOPES)
