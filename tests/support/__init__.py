"""What tests share: builders of projects, wheels, and plans; runs of commands; fake plugins and backends."""
