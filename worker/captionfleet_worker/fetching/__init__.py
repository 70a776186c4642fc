"""The fetcher: a short-lived child of the agent that brings a model's files from a hub.

It alone asks the network, with the hub's token; engines read what it left in the cache. It
keeps the layout of a Hugging Face cache, so what a person has there is used, and the other way
round. huggingface_hub looks up, and names errors; bytes are fetched here, because its own
downloads start again after a cut, check sizes only, and tell nobody how far they are.
Importing this package's order, cache, uses and eviction loads none of that.
"""
