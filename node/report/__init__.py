"""The report room: findings become DICOM objects. The only place that knows highdicom."""
