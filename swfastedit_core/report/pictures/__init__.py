"""Pictures of a scan and its lesions."""
