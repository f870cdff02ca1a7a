"""Knowledge distillation: the teachers' network, and the labels that they give to the training pictures."""
