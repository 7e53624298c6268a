"""What students are worth: labelled sets, metrics, comparison, report. The job is `evaluate`."""
