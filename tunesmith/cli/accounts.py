"""Organizations, users and keys, for the operator of a data folder."""

from typing import Annotated, Any

import typer

from tunesmith.cli.admin import ask
from tunesmith.cli.options import AsJson, DataDir, print_json
from tunesmith.cli.output import Console, Table
from tunesmith.domain.accounts import USER_SCOPES, Role, Scope

orgs = typer.Typer(help="Organizations: the tenants of this installation.", no_args_is_help=True)
users = typer.Typer(help="The people of an organization.", no_args_is_help=True)
keys = typer.Typer(help="API keys.", no_args_is_help=True)

Org = Annotated[
    str | None,
    typer.Option("--org", help="Slug or id of the organization; by default the operator's own."),
]
Scopes = Annotated[
    str, typer.Option("--scopes", help=f"Comma-separated: {', '.join(Scope)}; or `user`, `all`.")
]


@orgs.command("create")
def create_organization(
    slug: Annotated[str, typer.Argument(help="Its short name, part of the names of its models.")],
    name: Annotated[str | None, typer.Option("--name", help="By default its slug.")] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Add an organization, and print its id."""
    made = ask(data_dir, "POST", "/organizations", {"slug": slug, "name": name or slug})
    _show_made(made, as_json)


@orgs.command("list")
def list_organizations(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show all organizations."""
    found = ask(data_dir, "GET", "/organizations")
    _show(found, as_json, "id", "slug", "name", "created_at", "suspended_at")


@orgs.command("show")
def show_organization(reference: str, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show an organization, by slug or id."""
    found = ask(data_dir, "GET", f"/organizations/{reference}")
    _show([found], as_json, "id", "slug", "name", "created_at", "suspended_at")


@orgs.command("update")
def update_organization(
    reference: str,
    name: Annotated[str | None, typer.Option("--name", help="Its new name.")] = None,
    suspended: Annotated[
        bool | None,
        typer.Option("--suspend/--resume", help="Whether its keys open nothing."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Rename an organization, suspend it, or let it go on."""
    changes = {"name": name, "suspended": suspended}
    ask(data_dir, "PATCH", f"/organizations/{reference}", _given(changes))


@users.command("create")
def create_user(
    email: str,
    name: Annotated[str | None, typer.Option("--name", help="By default the e-mail.")] = None,
    role: Annotated[Role, typer.Option("--role", help="What their keys may do at most.")] = (
        Role.MEMBER
    ),
    org: Org = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Add a user, and print their id."""
    body = {"email": email, "name": name or email, "role": role}
    _show_made(ask(data_dir, "POST", "/users", body, organization=org), as_json)


@users.command("list")
def list_users(org: Org = None, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show all users of an organization."""
    found = ask(data_dir, "GET", "/users", organization=org)
    _show(found, as_json, "id", "email", "name", "role", "created_at")


@users.command("show")
def show_user(
    user_id: str, org: Org = None, as_json: AsJson = False, data_dir: DataDir = None
) -> None:
    """Show a user."""
    found = ask(data_dir, "GET", f"/users/{user_id}", organization=org)
    _show([found], as_json, "id", "email", "name", "role", "created_at")


@users.command("update")
def update_user(
    user_id: str,
    name: Annotated[str | None, typer.Option("--name", help="Their new name.")] = None,
    role: Annotated[Role | None, typer.Option("--role", help="Their new role.")] = None,
    org: Org = None,
    data_dir: DataDir = None,
) -> None:
    """Give a user another name or role; the role holds for the keys that they have, too."""
    changes = _given({"name": name, "role": role})
    ask(data_dir, "PATCH", f"/users/{user_id}", changes, organization=org)


@users.command("delete")
def delete_user(user_id: str, org: Org = None, data_dir: DataDir = None) -> None:
    """Remove a user, and revoke their keys."""
    ask(data_dir, "DELETE", f"/users/{user_id}", organization=org)


@keys.command("create")
def create_key(
    scopes: Scopes = "user",
    name: Annotated[str, typer.Option("--name", help="What the key is for.")] = "key",
    email: Annotated[
        str | None,
        typer.Option("--email", help="Its owner's, for clients that send one beside the key."),
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="E-mail or id of the user whom it is for.")
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", help="Such as 2027-01-31T00:00:00Z.")
    ] = None,
    org: Org = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, alone, on standard output. It cannot be shown again."""
    body = {
        "name": name,
        "scopes": _scopes(scopes),
        "email": email,
        "user": user,
        "expires_at": expires_at,
    }
    typer.echo(ask(data_dir, "POST", "/keys", body, organization=org)["key"])


@keys.command("list")
def list_keys(
    revoked: Annotated[
        bool, typer.Option("--revoked", help="Those that were revoked, too.")
    ] = False,
    org: Org = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show an organization's keys, by their first characters."""
    path = "/keys?revoked=true" if revoked else "/keys"
    _show_keys(ask(data_dir, "GET", path, organization=org), as_json)


@keys.command("show")
def show_key(
    key_id: str, org: Org = None, as_json: AsJson = False, data_dir: DataDir = None
) -> None:
    """Show a key, by its first characters."""
    _show_keys([ask(data_dir, "GET", f"/keys/{key_id}", organization=org)], as_json)


@keys.command("update")
def update_key(
    key_id: str,
    name: Annotated[str | None, typer.Option("--name", help="What the key is for.")] = None,
    scopes: Annotated[str | None, typer.Option("--scopes", help="Its new scopes.")] = None,
    expires_at: Annotated[str | None, typer.Option("--expires-at", help="Its new end.")] = None,
    org: Org = None,
    data_dir: DataDir = None,
) -> None:
    """Give a key another name, other scopes or another end."""
    wanted = None if scopes is None else _scopes(scopes)
    changes = _given({"name": name, "scopes": wanted, "expires_at": expires_at})
    ask(data_dir, "PATCH", f"/keys/{key_id}", changes, organization=org)


@keys.command("rotate")
def rotate_key(
    key_id: str,
    overlap: Annotated[
        int, typer.Option("--overlap", help="For how many seconds the old one still opens.")
    ] = 0,
    org: Org = None,
    data_dir: DataDir = None,
) -> None:
    """Make another key in a key's place and print it, alone, on standard output."""
    body = {"overlap_seconds": overlap}
    made = ask(data_dir, "POST", f"/keys/{key_id}/rotate", body, organization=org)
    typer.echo(made["key"])


@keys.command("revoke")
def revoke_key(key_id: str, org: Org = None, data_dir: DataDir = None) -> None:
    """Make a key worthless at once."""
    ask(data_dir, "DELETE", f"/keys/{key_id}", organization=org)


keys.command("delete", hidden=True)(revoke_key)  # its name in the first version


def _scopes(text: str) -> list[str]:
    wanted = {"user": sorted(USER_SCOPES), "all": sorted(Scope)}.get(text, text.split(","))
    return [scope.strip() for scope in wanted]


def _given(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if value is not None}


def _show_made(made: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(made)
    else:
        typer.echo(made["id"])


def _show_keys(found: list[dict[str, Any]], as_json: bool) -> None:
    rows = [
        {**key, "key": f"{key['visible_prefix']}…", "scopes": " ".join(key["scopes"])}
        for key in found
    ]
    columns = ("id", "name", "key", "scopes", "email", "expires_at", "last_used_at", "revoked_at")
    _show(found if as_json else rows, as_json, *columns)


def _show(found: list[dict[str, Any]], as_json: bool, *columns: str) -> None:
    if as_json:
        print_json(found)
        return
    table = Table(*(column.removesuffix("_at").replace("_", " ") for column in columns))
    for row in found:
        table.add_row(*("" if row[column] is None else str(row[column]) for column in columns))
    Console().print(table)
