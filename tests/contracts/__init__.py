"""What every operator, model and detector must keep to, whoever wrote it."""
