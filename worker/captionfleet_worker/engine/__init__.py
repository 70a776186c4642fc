"""The engine: the child process that holds one loaded model and captions batches of pictures.

It alone imports torch and transformers. The agent's side of it is `engine_process.py`.
"""
