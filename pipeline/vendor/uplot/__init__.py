"""uPlot 1.6.32 (MIT, Leon Sorokin): charts for the dashboard and the reports."""
