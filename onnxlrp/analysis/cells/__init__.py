"""What the cells of recurrent networks do along a text: their values, their gates, the properties that they track."""
