"""Who may sit on a board or in a team: experts, from files that may change while we run."""
