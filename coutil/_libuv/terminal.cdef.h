/* Modes and sizes of terminals. */

#define CO_NORMAL ...
#define CO_RAW ...
#define CO_BINARY ...

int co_terminal_mode(co_loop *loop, uint32_t slot, int mode);
int co_terminal_size(co_loop *loop, uint32_t slot, int *width, int *height);
int co_resizes_new(co_loop *loop, uint32_t slot, uint32_t generation);
void co_terminals_restore(void);
