"""One module an engine: `NAME`, `available` and `build` (see `node.imaging.engines.Engine`)."""
