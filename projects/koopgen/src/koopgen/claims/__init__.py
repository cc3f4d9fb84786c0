"""What the paper claims, each as a measurable check; K1–K7 are claims 1–7 of the notes, section 8."""
