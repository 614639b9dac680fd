/* Python functions in the thread pool. */

extern "Python" void co_work_call(uint64_t token);
int co_work(co_loop *loop, uint32_t slot, uint32_t generation, uint64_t token);
int co_work_end(int milliseconds);
void uv_sleep(unsigned int milliseconds);
