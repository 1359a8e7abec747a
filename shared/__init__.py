"""What both sides share: settings, errors, utterances, time, files, shards and the index; imports no other package."""
