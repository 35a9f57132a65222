"""Write variants.json, the simple API, and pages for a folder of wheels."""
