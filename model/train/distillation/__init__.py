"""Knowledge distillation: the teachers' network, and what a student learns from them."""
