"""The report as pages to be read: its sections in order, as HTML and as Markdown."""
