"""A model that captions every picture with torch's number of threads in its engine."""

_CODE = """
import torch
from captionfleet import CustomModel


class Threads(CustomModel):
    def load(self):
        pass

    def infer(self, image, prompt):
        return str(torch.get_num_threads())
"""
THREADS = {
    "custom": {
        "entrypoint": "threads:Threads", "files": [{"path": "threads.py", "content": _CODE}]
    }
}  # fmt: skip
