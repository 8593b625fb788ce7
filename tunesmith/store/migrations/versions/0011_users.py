"""Users, whose roles bound their keys; keys that are revoked; organizations that are suspended.

Keys with the scope `admin` were the operator's until now: they keep what they could do.
"""

from collections.abc import Callable

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

keys = sa.table("keys", sa.column("seq"), sa.column("scopes", sa.JSON()))


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_users_organization_id")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_users")),
        sa.UniqueConstraint("id", name=op.f("uq_users_id")),
        sa.UniqueConstraint(
            "organization_id", "email", name=op.f("uq_users_organization_id_email")
        ),
    )
    # Not in a batch: SQLite would make the tables anew, and the rows that hang on them forbid it.
    op.add_column("organizations", sa.Column("suspended_at", sa.BigInteger(), nullable=True))
    op.add_column("keys", sa.Column("user_id", sa.Uuid(), nullable=True))
    op.add_column("keys", sa.Column("revoked_at", sa.BigInteger(), nullable=True))
    op.add_column("keys", sa.Column("last_used_at", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_keys_user_id"), "keys", ["user_id"])
    _change_scopes("admin", lambda scopes: [*scopes, "operator"])


def downgrade() -> None:
    _change_scopes("operator", lambda scopes: [s for s in scopes if s != "operator"] or ["admin"])
    op.execute("DELETE FROM keys WHERE revoked_at IS NOT NULL")
    op.drop_index(op.f("ix_keys_user_id"), table_name="keys")
    for column in ("last_used_at", "revoked_at", "user_id"):
        op.drop_column("keys", column)
    op.drop_column("organizations", "suspended_at")
    op.drop_table("users")


def _change_scopes(having: str, change: Callable[[list[str]], list[str]]) -> None:
    connection = op.get_bind()
    for row in connection.execute(sa.select(keys)).mappings().all():
        if having in row["scopes"]:
            where = sa.update(keys).where(keys.c.seq == row["seq"])
            connection.execute(where.values(scopes=sorted(set(change(row["scopes"])))))
