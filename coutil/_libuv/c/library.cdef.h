/* Dynamic libraries, and the names of libuv's errors. */

char *uv_strerror_r(int code, char *buffer, size_t size);
char *uv_err_name_r(int code, char *buffer, size_t size);
int uv_translate_sys_error(int number);

#define UV_UNKNOWN ...
#define UV_ENOENT ...
#define UV_ENOTSUP ...
typedef struct { ...; } uv_lib_t;
int uv_dlopen(const char *filename, uv_lib_t *library);
void uv_dlclose(uv_lib_t *library);
int uv_dlsym(uv_lib_t *library, const char *name, void **address);
const char *uv_dlerror(const uv_lib_t *library);
