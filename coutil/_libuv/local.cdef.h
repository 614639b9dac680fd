/* Unix sockets, descriptors that travel through them, and streams on descriptors that exist already. */

#define UV_ENAMETOOLONG ...
#define CO_SUN_PATH ... /* bytes of a path, at most; an abstract name may have one more */
#define CO_FD_OTHER ...    /* kinds of descriptors */
#define CO_FD_IPV4 ...
#define CO_FD_IPV6 ...
#define CO_FD_LOCAL ...
#define CO_FD_FIFO ...
#define CO_FD_TERMINAL ...
#define CO_FD_FILE ...
#define CO_FD_LISTENS ...  /* a bit that is added */

int co_local_new(co_loop *loop, uint32_t slot, uint32_t generation, int share);
int co_local_bind(co_loop *loop, uint32_t slot, const char *name, size_t size);
int co_local_name(co_loop *loop, uint32_t slot, int peer, char *into, size_t room);
int co_local_permit(co_loop *loop, uint32_t slot, int readable, int writable);
int co_local_connect(co_loop *loop, uint32_t slot, uint32_t request, uint32_t generation, const char *name, size_t size);
int co_local_accept(co_loop *loop, uint32_t listener, uint32_t slot, uint32_t generation, int share);
int co_share_send(co_loop *loop, uint32_t slot, uint32_t request, uint32_t generation, const char *data, size_t size,
                  uint32_t passed);
int co_share_take(co_loop *loop, uint32_t slot, int count);
int co_kind(int fd);
int co_adopt(co_loop *loop, uint32_t slot, uint32_t generation, int fd, int kind, int share);
