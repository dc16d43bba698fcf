"""What a command says while it works: progress and remarks for people, the journal for programs."""
