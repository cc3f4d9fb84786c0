"""What the paper claims, each as a measurable check; C1–C10 are claims 1–10 of the notes, section 8."""
