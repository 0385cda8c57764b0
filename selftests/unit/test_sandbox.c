// SPDX-License-Identifier: BSD-2-Clause
/* What is left to who keeps the watch over names, and to who asks for them. As root; each case in a
 * process of its own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/sandbox.h"

#define CANNOT_TRY 77

/* A process that holds something at an address, and what is done about it. */
struct other {
	pid_t pid;
	char secret[16];
	char copy[16];
};

static struct other *other;

static int outcome(long result)
{
	return result < 0 ? errno : 0;
}

static int try_ptrace(void)
{
	return outcome(ptrace(PTRACE_ATTACH, other->pid, NULL, NULL));
}

static int try_vm(void)
{
	struct iovec to = { other->copy, sizeof(other->copy) };
	struct iovec from = { other->secret, sizeof(other->secret) };

	return outcome(process_vm_readv(other->pid, &to, 1, &from, 1, 0));
}

static int open_memory(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)other->pid);
	return open(path, O_RDWR | O_CLOEXEC);
}

static int try_pread(void)
{
	return outcome(pread(open_memory(), other->copy, sizeof(other->copy),
			     (off_t)(uintptr_t)other->secret));
}

static int try_pwrite(void)
{
	return outcome(pwrite(open_memory(), other->copy, sizeof(other->copy),
			      (off_t)(uintptr_t)other->secret));
}

static int try_preadv(void)
{
	struct iovec to = { other->copy, sizeof(other->copy) };

	return outcome(preadv(open_memory(), &to, 1, (off_t)(uintptr_t)other->secret));
}

static int try_seek(void)
{
	return outcome(lseek(open_memory(), (off_t)(uintptr_t)other->secret, SEEK_SET));
}

static int try_step(void)
{
	return outcome(lseek(open_memory(), 1 << 30, SEEK_CUR));
}

static int try_step_back(void)
{
	return outcome(lseek(open_memory(), INT64_MIN, SEEK_CUR));
}

static int try_unshare(void)
{
	return outcome(unshare(CLONE_NEWNS));
}

static int try_mount(void)
{
	return outcome(mount("none", "/nowhere", "tmpfs", 0, NULL));
}

/* What it is for. */

static int do_duplicate(void)
{
	int pidfd = (int)syscall(SYS_pidfd_open, other->pid, 0);

	return outcome(syscall(SYS_pidfd_getfd, pidfd, 0, 0));
}

static int do_maps(void)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4,
				.max_entries = 1 };

	return outcome(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
}

static int do_read(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char text[16];

	if (pread(fd, text, sizeof(text), 64) != sizeof(text) || lseek(fd, 32, SEEK_SET) != 32 ||
	    lseek(fd, 0, SEEK_CUR) != 32 || lseek(fd, 0, SEEK_END) < 64)
		return errno;
	return 0;
}

static int do_become_nobody(void)
{
	return sandbox_resolver() ? EPERM : 0;
}

/* Of the resolver. */

static int try_interfaces(void)
{
	struct ifreq request = { .ifr_name = "lo" };

	return outcome(ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCGIFINDEX, &request));
}

static int try_raw(void)
{
	return outcome(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}

static int try_write(void)
{
	return outcome(open("/dev/null", O_WRONLY | O_CLOEXEC));
}

static int try_execute(void)
{
	return outcome(execl("/bin/true", "true", NULL));
}

static int do_ask_what_is_there(void)
{
	int waiting;

	return outcome(ioctl(socket(AF_INET, SOCK_DGRAM, 0), FIONREAD, &waiting));
}

/* Nothing is left to what is executed that is not left to itself. */
static int is_bounded(void)
{
	if (prctl(PR_CAPBSET_READ, CAP_SYS_MODULE, 0, 0, 0) ||
	    prctl(PR_CAPBSET_READ, CAP_CHOWN, 0, 0, 0))
		return EINVAL;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : EINVAL;
}

static int in_a_process(int (*what)(void), int (*sandbox)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(sandbox && sandbox() ? CANNOT_TRY : what());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int set_up(void **state)
{
	(void)state;
	other = calloc(1, sizeof(*other));
	if (!other)
		return -1;
	other->pid = fork();
	if (!other->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return other->pid > 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	kill(other->pid, SIGKILL);
	waitpid(other->pid, NULL, 0);
	free(other);
	return 0;
}

static void assert_refused(int (*const *tries)(void), size_t count, int (*sandbox)(void))
{
	for (size_t i = 0; i < count; i++) {
		if (in_a_process(tries[i], NULL) == EPERM)
			print_message("try %zu shows nothing: it may not be done here anyway\n", i);
		if (in_a_process(tries[i], sandbox) != EPERM)
			fail_msg("try %zu: %d", i, in_a_process(tries[i], sandbox));
	}
}

static void assert_done(int (*const *deeds)(void), size_t count, int (*sandbox)(void))
{
	for (size_t i = 0; i < count; i++)
		if (in_a_process(deeds[i], sandbox))
			fail_msg("deed %zu: %d", i, in_a_process(deeds[i], sandbox));
}

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static void test_what_the_watch_may_not(void **state)
{
	static int (*const tries[])(void) = {
		try_ptrace, try_vm, try_pread, try_pwrite, try_preadv, try_seek, try_step,
		try_step_back, try_unshare, try_mount,
	};

	(void)state;
	if (geteuid())
		skip();
	assert_refused(tries, LENGTH(tries), sandbox_watch_keeper);
}

static void test_what_the_watch_may(void **state)
{
	static int (*const deeds[])(void) = {
		do_duplicate, do_maps, do_read, do_become_nobody, is_bounded,
	};

	(void)state;
	if (geteuid())
		skip();
	assert_done(deeds, LENGTH(deeds), sandbox_watch_keeper);
}

static void test_the_resolver(void **state)
{
	static int (*const tries[])(void) = { try_interfaces, try_raw, try_write, try_execute };
	static int (*const deeds[])(void) = { do_ask_what_is_there };

	(void)state;
	assert_refused(tries, LENGTH(tries), sandbox_resolver);
	assert_done(deeds, LENGTH(deeds), sandbox_resolver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_the_watch_may_not),
		cmocka_unit_test(test_what_the_watch_may),
		cmocka_unit_test(test_the_resolver),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
