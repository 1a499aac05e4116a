"""Pictures of numbers: colours, heatmaps, figures and sheets, by Pillow."""
