"""Files, folders and their names, through libuv's thread pool: no call stops the loop unless `blocking` is true."""
