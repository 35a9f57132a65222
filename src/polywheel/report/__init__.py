"""Reports of runs as pages, summaries, and files for other tools. docs/report.md describes the document."""
