"""Values of the field, frozen: what Matins speaks about, without network, disk or heavy libraries."""
