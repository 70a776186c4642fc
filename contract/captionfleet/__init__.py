"""The public package: what models, pools, messages and names mean to every program of the fleet.

Importing it is cheap on purpose (no broker, no pydantic): custom model code does so too.
"""

from captionfleet.custom import CustomModel

__all__ = ["CustomModel"]
