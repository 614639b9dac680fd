"""Files, folders and their names, through libuv's thread pool: nothing here stops the loop unless asked to."""
