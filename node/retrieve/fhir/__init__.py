"""History asked of FHIR R4 servers: each question in a process that can be killed, its answer read with suspicion."""
