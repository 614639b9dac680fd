/* Modes and sizes of terminals, and the way back: whatever ends the process, short of SIGKILL, restores each terminal.
 *
 * libuv remembers the settings per handle and restores one terminal at most; a terminal has several handles (input and
 * output), and settings of its own. So they are remembered per device here.
 */

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include "terminal.h"

#define CO_TERMINALS 16 /* that can be in another mode at the same time */

typedef struct {
    volatile sig_atomic_t used; /* set last: a signal handler may look at any time */
    pid_t process;              /* a child of a fork must not restore what is its parent's */
    int fd;                     /* of our own */
    dev_t device;
    struct termios original;
    co_handle *setter; /* restored when this is closed */
} co_changed;

static co_changed changed[CO_TERMINALS];
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;

/* Signals that end the process; the first ones are left alone if the program handles or ignores them. */
static const int deadly[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXCPU, SIGALRM, SIGUSR1, SIGUSR2,
                             SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
#define CO_DEADLY ((int)(sizeof deadly / sizeof *deadly))
#define CO_POLITE 8
static struct sigaction before[CO_DEADLY];
static int watching;

/* Safe in a signal handler. A process in the background would be stopped for it, unless SIGTTOU is blocked. */
static int apply(int fd, const struct termios *settings) {
    sigset_t set, old;
    int code;
    sigemptyset(&set);
    sigaddset(&set, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    do
        code = tcsetattr(fd, TCSANOW, settings);
    while (code && errno == EINTR);
    code = code ? uv_translate_sys_error(errno) : 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return code;
}

/* Restore all; safe in a signal handler. */
void co_terminals_restore(void) {
    int found = errno;
    pid_t process = getpid();
    for (int i = 0; i < CO_TERMINALS; i++)
        if (changed[i].used && changed[i].process == process) apply(changed[i].fd, &changed[i].original);
    errno = found;
}

static void on_death(int number) {
    co_terminals_restore();
    for (int i = 0; i < CO_DEADLY; i++)
        if (deadly[i] == number) sigaction(number, &before[i], NULL);
    raise(number); /* delivered when we return */
}

static void watch(void) {
    if (watching) return;
    watching = 1;
    for (int i = 0; i < CO_DEADLY; i++) {
        struct sigaction now;
        if (sigaction(deadly[i], NULL, &now) || now.sa_handler == SIG_IGN) continue;
        if (i < CO_POLITE && now.sa_handler != SIG_DFL) continue;
        if (now.sa_handler == on_death) continue; /* other code has put it back */
        before[i] = now;
        now.sa_handler = on_death;
        now.sa_flags = SA_ONSTACK;
        sigemptyset(&now.sa_mask);
        sigaction(deadly[i], &now, NULL);
    }
}

static void unwatch(void) {
    for (int i = 0; i < CO_TERMINALS; i++)
        if (changed[i].used) return;
    if (!watching) return;
    watching = 0;
    for (int i = 0; i < CO_DEADLY; i++) {
        struct sigaction now;
        if (!sigaction(deadly[i], NULL, &now) && now.sa_handler == on_death) sigaction(deadly[i], &before[i], NULL);
    }
}

static co_changed *changed_of(dev_t device, int used) {
    for (int i = 0; i < CO_TERMINALS; i++)
        if (changed[i].used == used && (!used || changed[i].device == device)) return &changed[i];
    return NULL;
}

static int back(co_changed *one) {
    int code = apply(one->fd, &one->original);
    one->used = 0;
    close(one->fd);
    unwatch();
    return code;
}

/* Before a terminal is closed. */
static void restore(co_handle *tty) {
    pthread_mutex_lock(&changing);
    for (int i = 0; i < CO_TERMINALS; i++)
        if (changed[i].used && changed[i].setter == tty) back(&changed[i]);
    pthread_mutex_unlock(&changing);
}

static int make_entry(int fd, dev_t device, co_changed **made) {
    co_changed *one = *made = changed_of(device, 0);
    if (!one) return UV_ENFILE;
    if (tcgetattr(fd, &one->original)) return uv_translate_sys_error(errno);
    one->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (one->fd < 0) return uv_translate_sys_error(errno);
    one->device = device;
    return 0;
}

/* What the modes change; the first as in libuv. */
static struct termios settings_of(const struct termios *original, int mode) {
    struct termios settings = *original;
    if (mode == CO_BINARY) cfmakeraw(&settings);
    if (mode == CO_RAW) {
        settings.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
        settings.c_oflag |= ONLCR;
        settings.c_cflag |= CS8;
        settings.c_lflag &= ~(tcflag_t)(ECHO | ICANON | IEXTEN | ISIG);
    }
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
    return settings;
}

static int change(co_handle *tty, int fd, dev_t device, int mode) {
    co_changed *one = changed_of(device, 1);
    if (mode == CO_NORMAL) return one ? back(one) : 0;
    if (!one) {
        int code = make_entry(fd, device, &one);
        if (code) return code;
    }
    struct termios settings = settings_of(&one->original, mode);
    one->process = getpid();
    one->setter = tty;
    one->used = 1;
    tty->before_close = restore;
    watch();
    int code;
    do /* in the background this stops the process, as it should */
        code = tcsetattr(fd, TCSANOW, &settings);
    while (code && errno == EINTR);
    return code ? uv_translate_sys_error(errno) : 0;
}

/* Set the mode of a terminal, of all its handles. What was sent before is not waited for. */
int co_terminal_mode(co_loop *loop, uint32_t slot, int mode) {
    struct stat file;
    OF_TYPE(tty, UV_TTY, loop, slot);
    int fd = co_uv_fd(&tty->u.stream);
    if (fstat(fd, &file)) return uv_translate_sys_error(errno);
    pthread_mutex_lock(&changing);
    int code = change(tty, fd, file.st_rdev, mode);
    pthread_mutex_unlock(&changing);
    return code;
}

int co_terminal_size(co_loop *loop, uint32_t slot, int *width, int *height) {
    OF_TYPE(tty, UV_TTY, loop, slot);
    return uv_tty_get_winsize(&tty->u.tty, width, height);
}
