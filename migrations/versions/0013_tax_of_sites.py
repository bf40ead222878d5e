"""The tax in a site's prices, which was the same for all.

The column is added in place: a table that others refer to cannot be made anew on SQLite once it has rows. Its default
is for code that does not know it yet, and for the sites that are there.
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    whole = "INTEGER" if op.get_bind().dialect.name == "sqlite" else "BIGINT"
    op.execute(
        f"ALTER TABLE sites ADD COLUMN tax_rate_basis_points {whole} DEFAULT '2300' NOT NULL "
        "CONSTRAINT ck_sites_tax_rate CHECK (tax_rate_basis_points BETWEEN 0 AND 10000)"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE sites DROP COLUMN tax_rate_basis_points")
