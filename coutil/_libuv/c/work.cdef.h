/* Python functions in the thread pool. */

extern "Python+C" void co_work_call(uint64_t token);
void uv_sleep(unsigned int milliseconds);
