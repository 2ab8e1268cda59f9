"""Which of the waiting jobs start next: users in turn, and the jobs of one user by priority and age."""
