"""The first tables"""

import sqlalchemy as sa
from alembic import op

revision = "v0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    "images",
    "installation",
    "jobs",
    "known_captions",
    "known_revisions",
    "model_locks",
    "columns",
    "job_images",
    "tasks",
    "attempts",
)


def upgrade() -> None:
    _images()
    _installation()
    _jobs()
    _known_captions()
    _known_revisions()
    _model_locks()
    _columns()
    _job_images()
    _tasks()
    _attempts()


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)


def _images() -> None:
    op.create_table(
        "images",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("picture_sha256", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_images")),
    )


def _installation() -> None:
    op.create_table(
        "installation",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("priority", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("rejected", sa.JSON(), nullable=False),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("request_digest", sa.String(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_jobs_idempotency_key")),
    )


def _known_captions() -> None:
    op.create_table(
        "known_captions",
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("caption", sa.String(), nullable=False),
        sa.Column("finish", sa.String(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("tokens", sa.Integer(), nullable=True),
        sa.Column("revision", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_known_captions")),
    )


def _known_revisions() -> None:
    op.create_table(
        "known_revisions",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("revision", sa.String(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("model", "fingerprint", name=op.f("pk_known_revisions")),
    )


def _model_locks() -> None:
    op.create_table(
        "model_locks",
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("releases", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_model_locks")),
    )


def _columns() -> None:
    op.create_table(
        "columns",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("prompt_name", sa.String(), nullable=False),
        sa.Column("prompt", sa.String(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_columns_job_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_columns")),
    )
    op.create_index(op.f("ix_columns_job"), "columns", ["job"], unique=False)


def _job_images() -> None:
    op.create_table(
        "job_images",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("image", sa.String(), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["image"], ["images.id"], name=op.f("fk_job_images_image_images")),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_job_images_job_jobs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_images")),
        sa.UniqueConstraint("job", "position", name=op.f("uq_job_images_job_position")),
    )
    op.create_index(op.f("ix_job_images_image"), "job_images", ["image"], unique=False)


def _tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("column", sa.String(), nullable=False),
        sa.Column("job_image", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("picture_sha256", sa.String(), nullable=False),
        sa.Column("picture_size", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("caption", sa.String(), nullable=True),
        sa.Column("finish", sa.String(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("tokens", sa.Integer(), nullable=True),
        sa.Column("revision", sa.String(), nullable=True),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("starred", sa.Boolean(), nullable=False),
        sa.Column("queued_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job"], ["jobs.id"], name=op.f("fk_tasks_job_jobs"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["job_image"],
            ["job_images.id"],
            name=op.f("fk_tasks_job_image_job_images"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("job_image", "column", name=op.f("uq_tasks_job_image_column")),
    )
    _task_indexes()


def _task_indexes() -> None:
    op.create_index(
        op.f("ix_tasks_job_changed_id"), "tasks", ["job", "changed", "id"], unique=False
    )
    op.create_index(op.f("ix_tasks_job_id"), "tasks", ["job", "id"], unique=False)
    op.create_index(
        op.f("ix_tasks_job_state_model"), "tasks", ["job", "state", "model"], unique=False
    )
    op.create_index(
        op.f("ix_tasks_state_model_lane_priority_id"),
        "tasks",
        ["state", "model", "lane", "priority", "id"],
        unique=False,
    )


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("lane", sa.String(), nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.Column("seen_running", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task"], ["tasks.id"], name=op.f("fk_attempts_task_tasks"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_attempts")),
    )
    op.create_index(
        op.f("ix_attempts_ended_confirmed"), "attempts", ["ended", "confirmed"], unique=False
    )
    op.create_index(op.f("ix_attempts_task"), "attempts", ["task"], unique=False)
