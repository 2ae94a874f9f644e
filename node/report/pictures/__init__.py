"""What is drawn, printed or listed of slices, and how such objects name their source."""
