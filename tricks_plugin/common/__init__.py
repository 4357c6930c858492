"""What several rooms and both trainers share: neutral ground that knows no trick."""
