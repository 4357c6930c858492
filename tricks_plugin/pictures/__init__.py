"""Pictures of what trains: schedules as curves, samples as sheets; knows no trainer."""
