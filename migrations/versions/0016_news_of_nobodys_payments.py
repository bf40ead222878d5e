"""Find quickly what names a payment that was nobody's when it came, and may be ours by now."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    is_nobodys = sa.text("status = 'ignored' AND session_public_id IS NULL AND payment_reference IS NOT NULL")
    op.create_index(
        "ix_provider_events_nobodys",
        "provider_events",
        ["received_at"],
        postgresql_where=is_nobodys,
        sqlite_where=is_nobodys,
    )


def downgrade() -> None:
    op.drop_index("ix_provider_events_nobodys", "provider_events")
