"""The Grafana dashboards: one file each, written to dashboards/*.json by `generate`."""
