"""What operators do to the database and the files, while the service runs or not: back up, restore, check, mend."""
