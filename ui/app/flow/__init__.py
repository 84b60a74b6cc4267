"""What the app has others do: commands of the engine and packet rings, each a process of its own; and what to have them do."""
