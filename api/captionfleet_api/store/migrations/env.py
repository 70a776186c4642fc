"""Run by alembic: applies the steps on the connection that store/migrate.py opened."""

from alembic import context

from captionfleet_api.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the transaction is the caller's
)
context.run_migrations()
