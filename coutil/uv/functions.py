"""The table of libuv's functions: the names of each here, and whether a call of it waits.

Rule: every public function of libuv has one row, also those that are not exposed. The reference is generated from the
rows, and tests compare them with the code.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from .._libuv import lib

__all__ = ["BLOCKING_KIND", "EXTENSIONS", "SECTIONS", "Function", "functions", "has"]

BLOCKING_KIND = {
    "N": "returns at once",
    "S": "suspends the calling coroutine",
    "F": "tries first, suspends the calling coroutine for the rest",
    "H": "starts events: calls of a handler, or of the methods that wait for one",
    "B": "blocks the thread",
    "X": "not exposed",
}


class Function(NamedTuple):
    """A function of libuv.

    name: without "uv_". methods: the class or method here (several: separated by blanks). how: a key of
    `BLOCKING_KIND`.
    flat: the plain functions of `coutil.uv` (separated by blanks). since: the version that introduced it; "": 1.44.2 or
    older.
    """

    name: str
    methods: str
    blocking_kind: str
    remark: str
    function_names: str
    since: str


def _(name: str, methods: str, how: str, remark: str = "", flat: str | None = None, since: str = "") -> Function:
    return Function(name, methods, how, remark, flat if flat is not None else "" if how == "X" else name, since)


SECTIONS: dict[str, tuple[Function, ...]] = {
    "Version and library": (
        _("version", "", "N", "of the library in use, as one number; also as a tuple, and of the headers"),
        _("version_string", "", "N", '"-dev" at its end: not a release'),
        _("library_shutdown", "", "X", "the end of the process does it"),
        _("replace_allocator", "", "X", "would have to be called before any other function, for the whole process"),
    ),
    "Loops": (
        _("default_loop", "", "N", "one for each thread; libuv's own default loop is never used"),
        _("loop_init", "Loop", "N", "", "new_loop"),
        _("loop_close", "Loop.close", "N", "EBUSY while a handle is open; force=True closes all handles"),
        _("loop_new", "", "X", "deprecated by libuv"),
        _("loop_delete", "", "X", "deprecated by libuv"),
        _("loop_size", "", "X", "memory is allocated in C"),
        _("loop_alive", "Loop.alive", "N", "also counts coroutines that are ready"),
        _("loop_configure", "Loop.configure", "N", "before the first run"),
        _("loop_fork", "Loop.fork", "N", "in a child process, before anything else; until then, calls raise Forked"),
        _("run", "Loop.run Loop.mode", "B", "runs the loop, and the coroutines that are ready in it", "run loop_mode"),
        _("stop", "Loop.stop", "N", "in the loop's thread only"),
        _("update_time", "Loop.update_time", "N"),
        _("now", "Loop.now", "N", "milliseconds, cached"),
        _("backend_fd", "Loop.backend_fd", "N", "None on platforms without one"),
        _("backend_timeout", "Loop.backend_timeout", "N", "milliseconds; 0 if a coroutine is ready"),
        _("walk", "Loop.walk", "N", "also returns a list"),
        _("print_all_handles", "Loop.print_all_handles", "N", "to sys.stderr, or a file object"),
        _("print_active_handles", "Loop.print_active_handles", "N", "as print_all_handles"),
        _("loop_get_data", "", "X", "use attributes of the object"),
        _("loop_set_data", "", "X", "as loop_get_data"),
    ),
    "Errors": (
        _("translate_sys_error", "", "N", "libuv's code for an errno"),
        _("strerror", "", "N"),
        _("strerror_r", "", "N", "used by strerror", "strerror"),
        _("err_name", "", "N", "the reverse: uv.errno.ECONNREFUSED; as a dictionary: uv.errname"),
        _("err_name_r", "", "N", "used by err_name", "err_name"),
    ),
    "Handles": (
        _("handle_size", "", "X", "memory is allocated in C"),
        _("handle_get_type", "Handle.type", "N", "libuv's name of the type"),
        _("handle_type_name", "Handle.type", "N", "", "handle_get_type"),
        _("handle_get_data", "", "X", "use attributes of the object"),
        _("handle_get_loop", "Handle.loop", "N", "an attribute", ""),
        _("handle_set_data", "", "X", "as handle_get_data"),
        _("is_active", "Handle.active", "N"),
        _("is_closing", "Handle.closing Handle.closed", "N", "closed: libuv has finished with it"),
        _("close", "Handle.close Handle.close_soon", "S", "close_soon does not wait", "close close_soon"),
        _("ref", "Handle.ref", "N"),
        _("unref", "Handle.unref", "N"),
        _("has_ref", "Handle.has_ref", "N"),
        _("send_buffer_size", "Handle.send_buffer_size", "N", "Linux doubles the value"),
        _("recv_buffer_size", "Handle.recv_buffer_size", "N", "as send_buffer_size"),
        _("fileno", "Handle.fileno", "N", "the handle remains its owner"),
    ),
    "Requests": (
        _("req_size", "", "X", "memory is allocated in C"),
        _("req_get_data", "", "X", "use attributes of the object"),
        _("req_set_data", "", "X", "as req_get_data"),
        _("req_get_type", "Request.type", "N", "of the requests made by …_nowait"),
        _("req_type_name", "Request.type", "N", "", ""),
        _("cancel", "Request.cancel", "N", "EBUSY: it runs; a coroutine that gives its call up also cancels it"),
        _("buf_init", "", "X", "use bytes or buffers"),
    ),
    "Timers": (
        _("timer_init", "Timer", "N", "", "new_timer"),
        _("timer_start", "Timer.start", "H", "whole milliseconds, counted from the call"),
        _("timer_stop", "Timer.stop", "N", "also drops an expiry whose handler was not called yet"),
        _("timer_again", "Timer.again", "N", "EINVAL: never started; counted from the call"),
        _("timer_set_repeat", "Timer.repeat", "N", "takes effect after the next expiry"),
        _("timer_get_repeat", "Timer.repeat", "N"),
        _("timer_get_due_in", "Timer.due_in", "N", "by the loop's cached time"),
    ),
    "Prepare, check and idle handles": (
        _("prepare_init", "Prepare", "N", "", "new_prepare"),
        _("prepare_start", "Prepare.start", "H", "the handler runs before the loop waits"),
        _("prepare_stop", "Prepare.stop", "N"),
        _("check_init", "Check", "N", "", "new_check"),
        _("check_start", "Check.start", "H", "the handler runs after the loop has waited"),
        _("check_stop", "Check.stop", "N"),
        _("idle_init", "Idle", "N", "", "new_idle"),
        _("idle_start", "Idle.start", "H", "the loop does not wait at all"),
        _("idle_stop", "Idle.stop", "N"),
    ),
    "Async handles": (
        _("async_init", "Async", "N", "active from its creation", "new_async"),
        _("async_send", "Async.send", "N", "in any thread; several may become one event"),
    ),
    "Signals": (
        _("signal_init", "Signal", "N", "", "new_signal"),
        _("signal_start", "Signal.start", "H", "in place of Python's handler for this signal"),
        _("signal_start_oneshot", "Signal.start_oneshot", "H", "stops after the first"),
        _("signal_stop", "Signal.stop", "N", "restores Python's handler"),
    ),
    "Polling descriptors": (
        _("poll_init", "Poll", "N", "EPERM: a file; EEXIST: polled already", "new_poll"),
        _("poll_init_socket", "Poll", "N", "the same on Unix", "new_socket_poll"),
        _("poll_start", "Poll.start Poll.wait", "H", "wait suspends", "poll_start poll_wait"),
        _("poll_stop", "Poll.stop", "N", "the descriptor may be closed afterwards"),
    ),
    "Streams": (
        _("stream_get_write_queue_size", "Stream.write_queue_size", "N", "bytes"),
        _("listen", "Stream.listen", "H"),
        _("accept", "Stream.accept", "F", "flat: N, takes a pending connection; the method waits for one"),
        _("read_start", "Stream.read_start Stream.read Stream.read_into", "H", "read and read_into suspend"),
        _("read_stop", "Stream.read_stop", "N"),
        _("write", "Stream.write Stream.write_nowait", "F", "write_nowait returns a request"),
        _("write2", "Pipe.write2", "F", "sends a handle with the data"),
        _("try_write", "Stream.try_write", "N", "returns how many bytes were taken"),
        _("try_write2", "Pipe.try_write2", "N", "sends a handle with the data"),
        _("is_readable", "Stream.readable", "N"),
        _("is_writable", "Stream.writable", "N"),
        _("stream_set_blocking", "Stream.set_blocking", "N", "writes of this handle still suspend only the coroutine"),
        _("shutdown", "Stream.shutdown", "S"),
    ),
    "TCP": (
        _("tcp_init", "TCP", "N", "", "new_tcp"),
        _("tcp_init_ex", "TCP", "N", "with a family: creates the socket at once", "new_tcp"),
        _("tcp_open", "TCP.open", "N", "takes ownership of a socket"),
        _("tcp_nodelay", "TCP.nodelay", "N"),
        _("tcp_keepalive", "TCP.keepalive", "N", "seconds"),
        _("tcp_keepalive_ex", "TCP.keepalive", "N", "with interval and count", since="1.52.0"),
        _("tcp_simultaneous_accepts", "TCP.simultaneous_accepts", "N", "for Windows"),
        _("tcp_bind", "TCP.bind", "N", "EADDRINUSE is raised later, by listen or connect"),
        _("tcp_getsockname", "TCP.getsockname", "N"),
        _("tcp_getpeername", "TCP.getpeername", "N"),
        _("tcp_close_reset", "TCP.close_reset", "S", "if it fails, the handle remains open"),
        _("tcp_connect", "TCP.connect", "S", "numeric addresses only"),
        _("socketpair", "", "N", "two descriptors"),
    ),
    "Pipes": (
        _("pipe_init", "Pipe", "N", "", "new_pipe"),
        _("pipe_open", "Pipe.open", "N", "takes ownership of a descriptor"),
        _("pipe_bind", "Pipe.bind", "N", "EACCES: also if the folder does not exist"),
        _("pipe_bind2", "Pipe.bind", "N", "abstract names; emulated with an older libuv", since="1.46.0"),
        _("pipe_connect", "Pipe.connect", "S"),
        _("pipe_connect2", "Pipe.connect", "S", "abstract names; emulated with an older libuv", since="1.46.0"),
        _("pipe_getsockname", "Pipe.getsockname", "N"),
        _("pipe_getpeername", "Pipe.getpeername", "N"),
        _("pipe_pending_instances", "Pipe.pending_instances", "N", "for Windows"),
        _("pipe_pending_count", "Pipe.pending_count", "N", "handles received and not accepted yet"),
        _("pipe_pending_type", "Pipe.pending_type Pipe.accept_pending", "N", "accept_pending returns the handle"),
        _("pipe_chmod", "Pipe.chmod", "B", "for a moment: it changes a file"),
        _("pipe", "", "N", "two descriptors"),
    ),
    "Terminals": (
        _("tty_init", "TTY", "N", "opens the device again if possible; the caller keeps the descriptor", "new_tty"),
        _("tty_set_mode", "TTY.set_mode", "N", "may block until pending output is written"),
        _("tty_reset_mode", "", "N", "also done at the end of the process"),
        _("tty_get_winsize", "TTY.winsize", "N", "columns, rows"),
        _("tty_set_vterm_state", "", "N", "for Windows"),
        _("tty_get_vterm_state", "", "N", "for Windows; ENOTSUP elsewhere"),
        _("guess_handle", "", "N", "the type of a descriptor"),
    ),
    "UDP": (
        _("udp_init", "UDP", "N", "", "new_udp"),
        _("udp_init_ex", "UDP", "N", "with a family, or several messages at once", "new_udp"),
        _("udp_open", "UDP.open", "N", "takes ownership of a socket"),
        _("udp_open_ex", "UDP.open_ex", "N", "with options; set before opening with an older libuv", since="1.52.0"),
        _("udp_bind", "UDP.bind", "N"),
        _("udp_connect", "UDP.connect UDP.disconnect", "N", "no handshake", "udp_connect udp_disconnect"),
        _("udp_getpeername", "UDP.getpeername", "N"),
        _("udp_getsockname", "UDP.getsockname", "N"),
        _("udp_set_membership", "UDP.set_membership", "N", "also binds"),
        _("udp_set_source_membership", "UDP.set_source_membership", "N"),
        _("udp_set_multicast_loop", "UDP.multicast_loop", "N"),
        _("udp_set_multicast_ttl", "UDP.multicast_ttl", "N"),
        _("udp_set_multicast_interface", "UDP.multicast_interface", "N"),
        _("udp_set_broadcast", "UDP.broadcast", "N"),
        _("udp_set_ttl", "UDP.ttl", "N"),
        _("udp_send", "UDP.send", "F"),
        _("udp_try_send", "UDP.try_send", "N", "None: would block"),
        _("udp_try_send2", "UDP.try_send_many", "N", "with sendmmsg(2) on every libuv", since="1.50.0"),
        _("udp_recv_start", "UDP.recv_start UDP.recv", "H", "recv suspends", "udp_recv_start udp_recv"),
        _("udp_using_recvmmsg", "UDP.using_recvmmsg", "N"),
        _("udp_recv_stop", "UDP.recv_stop", "N"),
        _("udp_get_send_queue_size", "UDP.send_queue_size", "N", "bytes"),
        _("udp_get_send_queue_count", "UDP.send_queue_count", "N"),
    ),
    "Processes": (
        _("spawn", "Process", "B", "until the program is loaded"),
        _("process_kill", "Process.kill", "N", "ESRCH: it has ended"),
        _("process_get_pid", "Process.pid", "N"),
        _("kill", "", "N", "signal 0: only whether it exists"),
        _("disable_stdio_inheritance", "", "N", "marks descriptors close-on-exec"),
    ),
    "File system events": (
        _("fs_event_init", "FSEvent", "N", "", "new_fs_event"),
        _("fs_event_start", "FSEvent.start", "H"),
        _("fs_event_stop", "FSEvent.stop", "N"),
        _("fs_event_getpath", "FSEvent.path", "N"),
        _("fs_poll_init", "FSPoll", "N", "", "new_fs_poll"),
        _("fs_poll_start", "FSPoll.start", "H", "calls stat(2) at an interval in milliseconds"),
        _("fs_poll_stop", "FSPoll.stop", "N"),
        _("fs_poll_getpath", "FSPoll.path", "N"),
    ),
    "File system calls (flat: the loop is the first argument; None: blocks the thread)": (
        _("fs_get_type", "", "X", "results are plain values"),
        _("fs_get_result", "", "X", "as fs_get_type"),
        _("fs_get_system_error", "", "X", "as fs_get_type"),
        _("fs_get_ptr", "", "X", "as fs_get_type"),
        _("fs_get_path", "", "X", "in exceptions: filename"),
        _("fs_get_statbuf", "", "X", "as fs_get_type"),
        _("fs_req_cleanup", "", "X", "done by every call"),
        _("fs_close", "Loop.fs.close", "S"),
        _("fs_open", "Loop.fs.open", "S", "a call that is given up closes the file"),
        _("fs_read", "Loop.fs.read Loop.fs.readinto", "S", "", "fs_read fs_readinto"),
        _("fs_unlink", "Loop.fs.unlink", "S"),
        _("fs_write", "Loop.fs.write", "S", "returns the number of bytes, perhaps fewer than given"),
        _("fs_copyfile", "Loop.fs.copyfile", "S"),
        _("fs_mkdir", "Loop.fs.mkdir", "S"),
        _("fs_mkdtemp", "Loop.fs.mkdtemp", "S"),
        _("fs_mkstemp", "Loop.fs.mkstemp", "S", "descriptor and path"),
        _("fs_rmdir", "Loop.fs.rmdir", "S"),
        _("fs_scandir", "Loop.fs.scandir", "S", "a list of names and types"),
        _("fs_scandir_next", "", "X", "fs_scandir returns the whole list"),
        _("fs_opendir", "Loop.fs.opendir", "S"),
        _("fs_readdir", "Dir.read", "S", "one call at a time"),
        _("fs_closedir", "Dir.close", "S"),
        _("fs_stat", "Loop.fs.stat", "S"),
        _("fs_fstat", "Loop.fs.fstat", "S"),
        _("fs_rename", "Loop.fs.rename", "S"),
        _("fs_fsync", "Loop.fs.fsync", "S"),
        _("fs_fdatasync", "Loop.fs.fdatasync", "S"),
        _("fs_ftruncate", "Loop.fs.ftruncate", "S"),
        _("fs_sendfile", "Loop.fs.sendfile", "S", "returns the number of bytes, perhaps fewer than asked for"),
        _("fs_access", "Loop.fs.access", "S", "returns a bool"),
        _("fs_chmod", "Loop.fs.chmod", "S"),
        _("fs_utime", "Loop.fs.utime", "S"),
        _("fs_futime", "Loop.fs.futime", "S"),
        _("fs_lutime", "Loop.fs.lutime", "S"),
        _("fs_lstat", "Loop.fs.lstat", "S"),
        _("fs_link", "Loop.fs.link", "S"),
        _("fs_symlink", "Loop.fs.symlink", "S"),
        _("fs_readlink", "Loop.fs.readlink", "S"),
        _("fs_realpath", "Loop.fs.realpath", "S"),
        _("fs_fchmod", "Loop.fs.fchmod", "S"),
        _("fs_chown", "Loop.fs.chown", "S"),
        _("fs_fchown", "Loop.fs.fchown", "S"),
        _("fs_lchown", "Loop.fs.lchown", "S"),
        _("fs_statfs", "Loop.fs.statfs", "S"),
    ),
    "Names and addresses": (
        _("getaddrinfo", "Loop.getaddrinfo", "S", "as socket.getaddrinfo"),
        _("freeaddrinfo", "", "X", "done by every call"),
        _("getnameinfo", "Loop.getnameinfo", "S"),
        _("ip4_addr", "", "N", "returns a sockaddr_in in bytes"),
        _("ip6_addr", "", "N", "returns a sockaddr_in6 in bytes; accepts zones (fe80::1%eth0)"),
        _("ip4_name", "", "X", "use ip_name"),
        _("ip6_name", "", "X", "use ip_name"),
        _("ip_name", "", "N", "takes a sockaddr in bytes"),
        _("inet_ntop", "", "N"),
        _("inet_pton", "", "N"),
        _("if_indextoname", "", "N"),
        _("if_indextoiid", "", "N", "the name again, on Unix"),
    ),
    "Thread pool and random bytes": (
        _("queue_work", "Loop.queue_work Loop.queue_work_nowait", "S", "calls a function in a thread of the pool"),
        _("random", "Loop.random Loop.random_nowait", "S", "flat: without a loop, blocks the thread"),
    ),
    "Process and machine": (
        _("setup_args", "", "X", "titles have separate memory: the arguments of the interpreter do not change"),
        _("get_process_title", "", "N", "the title that was set, else the path of the interpreter"),
        _("set_process_title", "", "N", "Linux shows it as the name of the calling thread"),
        _("resident_set_memory", "", "N", "bytes"),
        _("uptime", "", "N", "seconds"),
        _("get_osfhandle", "", "N", "the descriptor itself, on Unix"),
        _("open_osfhandle", "", "N", "as get_osfhandle"),
        _("getrusage", "", "N"),
        _("getrusage_thread", "", "N", "through Python's resource with an older libuv", since="1.50.0"),
        _("os_homedir", "", "N"),
        _("os_tmpdir", "", "N"),
        _("os_get_passwd", "", "N"),
        _("os_free_passwd", "", "X", "done by every call"),
        _("os_get_passwd2", "", "N", "with a user id; through Python's pwd", "os_get_passwd", "1.45.0"),
        _("os_get_group", "", "N", "through Python's grp with an older libuv", since="1.45.0"),
        _("os_free_group", "", "X", "done by every call", since="1.45.0"),
        _("os_getpid", "", "N"),
        _("os_getppid", "", "N"),
        _("os_getpriority", "", "N"),
        _("os_setpriority", "", "N"),
        _("available_parallelism", "", "N"),
        _("cpu_info", "", "B", "for a moment: it reads files"),
        _("free_cpu_info", "", "X", "done by every call"),
        _("cpumask_size", "", "N", "ENOSYS with an older libuv", since="1.45.0"),
        _("interface_addresses", "", "B", "for a moment"),
        _("free_interface_addresses", "", "X", "done by every call"),
        _("os_environ", "", "N", "the environment of the process, not the copy in os.environ"),
        _("os_free_environ", "", "X", "done by every call"),
        _("os_getenv", "", "N", "None: not set"),
        _("os_setenv", "", "N", "os.environ does not change"),
        _("os_unsetenv", "", "N", "as os_setenv"),
        _("os_gethostname", "", "N"),
        _("os_uname", "", "N"),
        _("exepath", "", "N"),
        _("cwd", "", "N"),
        _("chdir", "", "N", "of all threads"),
        _("get_free_memory", "", "N", "bytes"),
        _("get_total_memory", "", "N", "bytes"),
        _("get_constrained_memory", "", "N", "bytes; 0 or 2**64 - 1: no limit"),
        _("get_available_memory", "", "N", "bytes; free memory up to the limit with an older libuv", since="1.45.0"),
        _("loadavg", "", "N", "of 1, 5 and 15 minutes"),
        _("clock_gettime", "", "N", "through Python's time with an older libuv", since="1.45.0"),
        _("hrtime", "", "N", "nanoseconds"),
        _("gettimeofday", "", "N", "seconds, microseconds"),
        _("sleep", "Loop.sleep", "B", "the method suspends the calling coroutine instead", "sleep_blocking"),
    ),
    "Metrics": (
        _("metrics_info", "Loop.metrics", "N", "ENOSYS with an older libuv", since="1.45.0"),
        _("metrics_idle_time", "Loop.metrics_idle_time", "N", "nanoseconds; in any thread"),
    ),
    "Dynamic libraries": (
        _("dlopen", "Lib", "B", "for a moment: it reads files"),
        _("dlclose", "Lib.close", "N"),
        _("dlsym", "Lib.sym", "N", "returns the address"),
        _("dlerror", "", "X", "exceptions have its text"),
    ),
    "Threads": (
        _("thread_create", "Thread", "N", "", "new_thread"),
        _("thread_create_ex", "Thread", "N", "with the size of its stack", "new_thread"),
        _("thread_join", "Thread.join", "B"),
        _("thread_detach", "Thread.detach", "N", "ENOSYS with an older libuv", since="1.50.0"),
        _("thread_self", "", "N"),
        _("thread_equal", "Thread.__eq__", "N"),
        _("thread_setaffinity", "Thread.set_affinity", "N", "ENOSYS with an older libuv", since="1.45.0"),
        _("thread_getaffinity", "Thread.get_affinity", "N", "ENOSYS with an older libuv", since="1.45.0"),
        _("thread_getcpu", "", "N", "ENOSYS with an older libuv", since="1.45.0"),
        _("thread_getpriority", "Thread.get_priority", "N", "ENOSYS with an older libuv", since="1.48.0"),
        _("thread_setpriority", "Thread.set_priority", "N", "ENOSYS with an older libuv", since="1.48.0"),
        _("thread_setname", "", "N", "of the calling thread; ENOSYS with an older libuv", since="1.50.0"),
        _("thread_getname", "Thread.name", "N", "ENOSYS with an older libuv", since="1.50.0"),
    ),
    "Synchronisation of threads (coroutines have coutil.sync and coutil.mutex)": (
        _("mutex_init", "Mutex", "N", "", "new_mutex"),
        _("mutex_init_recursive", "Mutex", "N", "recursive=True", "new_mutex"),
        _("mutex_destroy", "Mutex.__del__", "N", "not while it is locked", ""),
        _("mutex_lock", "Mutex.lock", "B", "Deadlock: the thread has locked it already"),
        _("mutex_trylock", "Mutex.trylock", "N"),
        _("mutex_unlock", "Mutex.unlock", "N", "RuntimeError: the thread has not locked it"),
        _("rwlock_init", "RWLock", "N", "", "new_rwlock"),
        _("rwlock_destroy", "RWLock.__del__", "N", "not while it is locked", ""),
        _("rwlock_rdlock", "RWLock.rdlock", "B"),
        _("rwlock_tryrdlock", "RWLock.tryrdlock", "N"),
        _("rwlock_rdunlock", "RWLock.rdunlock", "N"),
        _("rwlock_wrlock", "RWLock.wrlock", "B"),
        _("rwlock_trywrlock", "RWLock.trywrlock", "N"),
        _("rwlock_wrunlock", "RWLock.wrunlock", "N"),
        _("sem_init", "Sem", "N", "", "new_sem"),
        _("sem_destroy", "Sem.__del__", "N", "", ""),
        _("sem_post", "Sem.post", "N"),
        _("sem_wait", "Sem.wait", "B"),
        _("sem_trywait", "Sem.trywait", "N"),
        _("cond_init", "Cond", "N", "", "new_cond"),
        _("cond_destroy", "Cond.__del__", "N", "", ""),
        _("cond_signal", "Cond.signal", "N"),
        _("cond_broadcast", "Cond.broadcast", "N"),
        _("cond_wait", "Cond.wait", "B", "spurious wake-ups are possible"),
        _("cond_timedwait", "Cond.wait", "B", "nanoseconds; False: timed out"),
        _("barrier_init", "Barrier", "N", "", "new_barrier"),
        _("barrier_destroy", "Barrier.__del__", "N", "", ""),
        _("barrier_wait", "Barrier.wait", "B", "True in one of the threads"),
        _("once", "", "X", "a module of Python is run once"),
        _("key_create", "", "X", "use threading.local"),
        _("key_delete", "", "X", "as key_create"),
        _("key_get", "", "X", "as key_create"),
        _("key_set", "", "X", "as key_create"),
    ),
    "UTF-16 and WTF-8 (Python's codecs do the work)": (
        _("utf16_length_as_wtf8", "", "N", "bytes", since="1.49.0"),
        _("utf16_to_wtf8", "", "N", since="1.49.0"),
        _("wtf8_length_as_utf16", "", "N", "units of two bytes", since="1.49.0"),
        _("wtf8_to_utf16", "", "N", since="1.49.0"),
    ),
}

EXTENSIONS = {
    "current_loop": "the loop that the caller runs in",
    "has": "whether libuv has a function",
}


@cache
def functions() -> dict[str, Function]:
    """Return the rows of the table by name."""
    return {row.name: row for rows in SECTIONS.values() for row in rows}


def has(name: str) -> bool:
    """Return whether the libuv that coutil was built against has a function.

    name: without "uv_" ("udp_try_send2"). If libuv lacks the function, coutil does the work by other means or raises
    `UVError` ENOSYS; see the remark in the table. Raises TypeError, ValueError (no known version of libuv has it).
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, not {name!r}")
    row = functions().get(name)
    if row is None:
        raise ValueError(f"libuv has no function {name!r}")
    major, minor, patch = map(int, (row.since or "0.0.0").split("."))
    return bool((major << 16 | minor << 8 | patch) <= lib.UV_VERSION_HEX)
