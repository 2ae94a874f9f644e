"""The room with pages: the ranked worklist and each study's story, read from the store, for people and as JSON."""
