"""Shadow agreement: what a new version says of studies that the version in its place has read too."""
