"""Names on the broker. One fleet = one prefix, so that installations can share a broker."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Names:
    """All exchanges and queues of one fleet (DESIGN: names and rights on the broker)."""

    fleet: str

    @property
    def tasks(self) -> str:
        """Direct exchange; routing keys model_key() and suspect_key()."""
        return f"captionfleet.{self.fleet}.tasks"

    @property
    def results(self) -> str:
        """Direct exchange; routing key = a task's reply_to = name of an api's results queue."""
        return f"captionfleet.{self.fleet}.results"

    @property
    def heartbeats(self) -> str:
        """Fanout exchange."""
        return f"captionfleet.{self.fleet}.heartbeats"

    @property
    def demand(self) -> str:
        """Fanout exchange."""
        return f"captionfleet.{self.fleet}.demand"

    @property
    def cancellations(self) -> str:
        """Fanout exchange."""
        return f"captionfleet.{self.fleet}.cancellations"

    @property
    def assignments(self) -> str:
        """Direct exchange; routing key worker_key()."""
        return f"captionfleet.{self.fleet}.assignments"

    @property
    def queue_record(self) -> str:
        """Queue with one message: the model queues that the operator declared."""
        return f"captionfleet.{self.fleet}.queues"

    def model_queue(self, model: str) -> str:
        return f"{self.tasks}.model.{model}"

    def suspect_queue(self, model: str) -> str:
        return f"{self.tasks}.suspect.{model}"

    def results_queue(self, installation: str) -> str:
        return f"{self.results}.{installation}"

    def listen_queue(self, exchange: str, role: str, nonce: str) -> str:
        """Exclusive queue of one listener on a fanout exchange."""
        return f"{exchange}.listen.{role}.{nonce}"

    def worker_queue(self, pool: str, worker: str, nonce: str) -> str:
        """Exclusive queue for a worker's assignments; a new nonce per connection."""
        return f"{self.assignments}.worker.{pool}.{worker}.{nonce}"

    @staticmethod
    def model_key(model: str) -> str:
        return f"model.{model}"

    @staticmethod
    def suspect_key(model: str) -> str:
        return f"suspect.{model}"

    @staticmethod
    def worker_key(pool: str, worker: str) -> str:
        return f"{pool}.{worker}"
