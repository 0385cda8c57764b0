// SPDX-License-Identifier: BSD-2-Clause
#include "sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Nobody's: outside of what distributions, systemd and containers give out, so that no other
 * process has it and could signal ours. */
#define WORKER_ID 2147483000
#define LISTENER_ID 2147483001	/* not the worker's: they could signal each other */
#define RESOLVER_ID 2147483002

static int compare_ints(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

int sandbox_close_others(int *keep, size_t count)
{
	unsigned int from = 3;

	qsort(keep, count, sizeof(*keep), compare_ints);
	for (size_t i = 0; i < count; i++) {
		if (keep[i] < (int)from)
			continue;
		if (keep[i] > (int)from && close_range(from, (unsigned int)keep[i] - 1, 0))
			return -errno;
		from = (unsigned int)keep[i] + 1;
	}
	return close_range(from, ~0u, 0) ? -errno : 0;
}

static int no_dumps(void)
{
	const struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_DUMPABLE, 0))
		return -errno;
	return 0;
}

/* What is executed gets no others either, whatever its file has. */
static int bound_capabilities(const unsigned int *keep, size_t count)
{
	for (unsigned int cap = 0; cap <= CAP_LAST_CAP; cap++) {
		bool kept = false;

		for (size_t i = 0; i < count; i++)
			kept |= keep[i] == cap;
		/* Unknown to this kernel, or not ours to drop: then no_new_privs alone stands for
		 * it. */
		if (!kept && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EINVAL &&
		    errno != EPERM)
			return -errno;
	}
	return 0;
}

static int keep_capabilities(const unsigned int *keep, size_t count)
{
	int err = no_dumps();

	if (!err)
		err = bound_capabilities(keep, count);
	if (err)
		return err;
	capng_clear(CAPNG_SELECT_CAPS);
	for (size_t i = 0; i < count; i++)
		if (capng_update(CAPNG_ADD, (capng_type_t)(CAPNG_EFFECTIVE | CAPNG_PERMITTED),
				 keep[i]))
			return -EPERM;
	if (capng_apply(CAPNG_SELECT_CAPS))
		return -EPERM;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

int sandbox_supervisor(void)
{
	static const unsigned int keep[] = { CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF,    CAP_IPC_LOCK,
					     CAP_KILL,	    CAP_SETUID,	 CAP_SETGID, CAP_SETPCAP };

	return keep_capabilities(keep, sizeof(keep) / sizeof(keep[0]));
}

static int drop_identity(unsigned int id)
{
	if (setgroups(0, NULL) || setresgid(id, id, id) || setresuid(id, id, id))
		return -errno;
	return 0;
}

static int drop_capabilities(unsigned int id)
{
	int err;

	/* Bounding set first, while CAP_SETPCAP is still there. */
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EINVAL)
			return -errno;
	err = drop_identity(id);
	if (err)
		return err;
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(CAPNG_SELECT_CAPS))
		return -EPERM;
	return capng_have_capabilities(CAPNG_SELECT_CAPS) == CAPNG_NONE ? 0 : -EPERM;
}

/* What every process needs: memory (but none that can be executed), locks, time, and its end. */
static int allow_basics(scmp_filter_ctx filter)
{
	static const int basics[] = {
		SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(close), SCMP_SYS(poll), SCMP_SYS(ppoll),
		SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(brk), SCMP_SYS(munmap),
		SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(clock_gettime),
		SCMP_SYS(getrandom), SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall),
		SCMP_SYS(exit), SCMP_SYS(exit_group),
	};
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(basics) / sizeof(basics[0]); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, basics[i], 0);
	return err ? err : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
					    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

/* The basics and what is listed; anything else: `otherwise`. */
static scmp_filter_ctx new_filter(uint32_t otherwise, const int *allowed, size_t count)
{
	scmp_filter_ctx filter = seccomp_init(otherwise);
	int err = filter ? allow_basics(filter) : -ENOMEM;

	for (size_t i = 0; !err && i < count; i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	if (!err)
		return filter;
	seccomp_release(filter);
	errno = -err;
	return NULL;
}

static int load_filter(scmp_filter_ctx filter)
{
	int err = filter ? seccomp_load(filter) : -errno;

	seccomp_release(filter);
	return err;
}

/* Nothing of root's, for good. */
static int become_nobody(unsigned int id)
{
	int err = drop_capabilities(id);

	if (!err)
		err = no_dumps(); /* changing identity had reset it */
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = -errno;
	/* Changing identity clears this too. */
	if (!err && prctl(PR_SET_PDEATHSIG, SIGKILL))
		err = -errno;
	return err;
}

int sandbox_worker(void)
{
	static const int allowed[] = { SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(sched_yield) };
	int err = become_nobody(WORKER_ID);

	return err ? err : load_filter(new_filter(SCMP_ACT_KILL_PROCESS, allowed,
						  sizeof(allowed) / sizeof(allowed[0])));
}

int sandbox_listener(void)
{
	static const int allowed[] = {
		SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
		SCMP_SYS(epoll_pwait), SCMP_SYS(sendmsg), SCMP_SYS(setsockopt),
		SCMP_SYS(getsockopt), SCMP_SYS(getsockname), SCMP_SYS(shutdown), SCMP_SYS(fcntl),
	};
	int err = become_nobody(LISTENER_ID);

	return err ? err : load_filter(new_filter(SCMP_ACT_KILL_PROCESS, allowed,
						  sizeof(allowed) / sizeof(allowed[0])));
}

/* Files only for reading. */
static int allow_open(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
				SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY));
}

/* Sockets of IP, without raw ones, and local ones: of systemd-resolved, nscd. Of ioctl() only how
 * much there is to read. */
static int allow_resolver_sockets(scmp_filter_ctx filter)
{
	static const struct {
		int family, type;
	} sockets[] = {
		{ AF_INET, SOCK_DGRAM }, { AF_INET, SOCK_STREAM }, { AF_INET6, SOCK_DGRAM },
		{ AF_INET6, SOCK_STREAM }, { AF_UNIX, SOCK_STREAM },
	};
	const unsigned int kind = ~(unsigned int)(SOCK_CLOEXEC | SOCK_NONBLOCK);
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(sockets) / sizeof(sockets[0]); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
				       SCMP_A0(SCMP_CMP_EQ, (unsigned int)sockets[i].family),
				       SCMP_A1(SCMP_CMP_MASKED_EQ, kind,
					       (unsigned int)sockets[i].type));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
				       SCMP_A1(SCMP_CMP_EQ, FIONREAD));
	return err ? err : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
					    SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

int sandbox_resolver(void)
{
	static const int allowed[] = {
		SCMP_SYS(connect), SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg), SCMP_SYS(recvmsg),
		SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(setsockopt), SCMP_SYS(getsockopt),
		SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(fcntl),
		SCMP_SYS(fstat), SCMP_SYS(stat), SCMP_SYS(newfstatat), SCMP_SYS(access),
		SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(lseek), SCMP_SYS(pread64),
		SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(geteuid), SCMP_SYS(getuid),
		SCMP_SYS(uname), SCMP_SYS(gettimeofday), SCMP_SYS(time),
		SCMP_SYS(clock_nanosleep), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction),
	};
	scmp_filter_ctx filter;
	int err;

	if (!geteuid())
		err = become_nobody(RESOLVER_ID);
	else
		err = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : no_dumps();
	if (err)
		return err;
	filter = new_filter(SCMP_ACT_ERRNO(EPERM), allowed, sizeof(allowed) / sizeof(allowed[0]));
	err = filter ? allow_open(filter) : -errno;
	if (!err)
		err = allow_resolver_sockets(filter);
	if (err) {
		seccomp_release(filter);
		return err;
	}
	return load_filter(filter);
}

/* What reads BPF objects: nothing is made, changed or attached. */
static int allow_reading(scmp_filter_ctx filter)
{
	static const unsigned int commands[] = {
		BPF_MAP_LOOKUP_ELEM, BPF_MAP_GET_NEXT_KEY, BPF_MAP_LOOKUP_BATCH, BPF_OBJ_GET,
		BPF_OBJ_GET_INFO_BY_FD, BPF_MAP_GET_FD_BY_ID, BPF_PROG_GET_FD_BY_ID,
	};
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(commands) / sizeof(commands[0]); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(bpf), 1,
				       SCMP_A0(SCMP_CMP_EQ, commands[i]));
	return err ? err : allow_open(filter);
}

int sandbox_reader(void)
{
	/* The supervisors' sockets, rtnetlink, interfaces' names; what paths are. */
	static const int allowed[] = {
		SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(sendmsg),
		SCMP_SYS(recvmsg), SCMP_SYS(setsockopt), SCMP_SYS(getsockopt),
		SCMP_SYS(getsockname), SCMP_SYS(ioctl), SCMP_SYS(fcntl), SCMP_SYS(fstat),
		SCMP_SYS(fstatfs), SCMP_SYS(stat), SCMP_SYS(newfstatat), SCMP_SYS(access),
		SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(lseek), SCMP_SYS(getpid),
		SCMP_SYS(sysinfo),
		SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(wait4),
	};
	static const unsigned int keep[] = { CAP_SYS_ADMIN };
	scmp_filter_ctx filter;
	int err = keep_capabilities(keep, 1);

	if (err)
		return err;
	filter = new_filter(SCMP_ACT_ERRNO(EPERM), allowed, sizeof(allowed) / sizeof(allowed[0]));
	err = filter ? allow_reading(filter) : -errno;
	if (err) {
		seccomp_release(filter);
		return err;
	}
	return load_filter(filter);
}

/* ---- the watch over names ------------------------------------------------------------------- */

/* Where programs' memory lies, unless they are of the kind that is always in the same place. */
#define LOW_END (1ull << 32)

/* No call of these is made in any of its processes. They are what CAP_SYS_ADMIN, CAP_SYS_PTRACE and
 * CAP_DAC_READ_SEARCH would be good for otherwise: other processes, other namespaces, mounts, file
 * systems behind their mounts, the clock. Hooks are not among it: those of sockets may have to be
 * put back (app_hooks.c). */
static int forbid_calls(scmp_filter_ctx filter)
{
	static const int forbidden[] = {
		SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
		SCMP_SYS(kcmp), SCMP_SYS(process_madvise), SCMP_SYS(perf_event_open),
		SCMP_SYS(userfaultfd), SCMP_SYS(setns), SCMP_SYS(unshare), SCMP_SYS(mount),
		SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(move_mount),
		SCMP_SYS(open_tree), SCMP_SYS(fsopen), SCMP_SYS(fsconfig), SCMP_SYS(fsmount),
		SCMP_SYS(fspick), SCMP_SYS(mount_setattr), SCMP_SYS(swapon), SCMP_SYS(swapoff),
		SCMP_SYS(open_by_handle_at), SCMP_SYS(mknod), SCMP_SYS(mknodat), SCMP_SYS(keyctl),
		SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(sethostname),
		SCMP_SYS(setdomainname), SCMP_SYS(settimeofday), SCMP_SYS(clock_settime),
		SCMP_SYS(adjtimex), SCMP_SYS(clock_adjtime), SCMP_SYS(quotactl), SCMP_SYS(syslog),
		/* Other ways to read and write at an offset, or to make calls unseen. */
		SCMP_SYS(preadv), SCMP_SYS(preadv2), SCMP_SYS(pwritev), SCMP_SYS(pwritev2),
		SCMP_SYS(sendfile), SCMP_SYS(splice), SCMP_SYS(copy_file_range),
		SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
	};
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(forbidden) / sizeof(forbidden[0]); i++)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), forbidden[i], 0);
	return err;
}

/* /proc/PID/mem has a process's memory at its addresses as offsets: those cannot be reached. */
static int forbid_offsets(scmp_filter_ctx filter)
{
	int err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(pread64), 1,
				   SCMP_A3(SCMP_CMP_GE, LOW_END));

	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(pwrite64), 1,
				       SCMP_A3(SCMP_CMP_GE, LOW_END));
	if (!err)
		err = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(lseek), 2,
				       SCMP_A1(SCMP_CMP_GE, LOW_END),
				       SCMP_A2(SCMP_CMP_EQ, SEEK_SET));
	/* From where it is by nothing but what it reads: where that leads is not seen here. */
	return err ? err : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(lseek), 2,
					    SCMP_A1(SCMP_CMP_NE, 0),
					    SCMP_A2(SCMP_CMP_EQ, SEEK_CUR));
}

static int filter_watch(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int err = filter ? forbid_calls(filter) : -ENOMEM;

	if (!err)
		err = forbid_offsets(filter);
	if (!err)
		return load_filter(filter);
	seccomp_release(filter);
	return err;
}

int sandbox_watch_keeper(void)
{
	/* Maps within maps by their ids; programs; sockets of other processes; the resolver's end
	 * of it. */
	static const unsigned int keep[] = {
		CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_IPC_LOCK,
		CAP_SYS_RESOURCE, CAP_DAC_READ_SEARCH, CAP_KILL, CAP_SETUID, CAP_SETGID, CAP_SETPCAP,
	};
	unsigned int held[sizeof(keep) / sizeof(keep[0])];
	size_t count = 0;
	int err;

	/* In a container some may be missing: who attached did so without them. */
	if (capng_get_caps_process())
		return -EPERM;
	for (size_t i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
		if (capng_have_capability(CAPNG_PERMITTED, keep[i]))
			held[count++] = keep[i];
	err = keep_capabilities(held, count);
	return err ? err : filter_watch();
}
