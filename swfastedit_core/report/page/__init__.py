"""The page of a report, and the templates of all pages."""
