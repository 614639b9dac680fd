/* Signals. */

int co_signal_start(co_loop *loop, uint32_t slot, uint32_t generation, int number);
int co_signal_stop(co_loop *loop, uint32_t slot);
