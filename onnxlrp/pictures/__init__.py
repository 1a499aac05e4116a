"""What is drawn: numbers as colours, figures and sheets. Pillow only."""
