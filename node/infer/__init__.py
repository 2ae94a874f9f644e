"""The infer room: a parent without torch claims studies, one warm child process a model reads them."""
