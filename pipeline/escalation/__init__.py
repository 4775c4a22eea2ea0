"""WHO answers: doubts, thresholds, tiers, calibration."""
