/* Streams whose open file description other processes use, too. */

int co_stream_share(co_loop *loop, uint32_t slot);
