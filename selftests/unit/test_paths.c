// SPDX-License-Identifier: BSD-2-Clause
/* Where an attachment keeps its things, and which names can have one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/paths.h"

/* <dir> as the documentation states it. */
static void expected_dir(const char *ifname, char *out, size_t out_len)
{
	struct stat own, init;

	assert_int_equal(stat("/proc/self/ns/net", &own), 0);
	if (!stat("/proc/1/ns/net", &init) && own.st_ino == init.st_ino)
		snprintf(out, out_len, "%s", ifname);
	else
		snprintf(out, out_len, "%s@%llu", ifname, (unsigned long long)own.st_ino);
}

static void assert_paths(const char *ifname, const char *as)
{
	char dir[64], whole[160];
	struct paths paths;

	expected_dir(as, dir, sizeof(dir));
	assert_int_equal(paths_init(&paths, ifname), 0);
	assert_string_equal(paths.dir, dir);
	snprintf(whole, sizeof(whole), "/sys/fs/bpf/ipsecbpf/%s", dir);
	assert_string_equal(paths.pins, whole);
	snprintf(whole, sizeof(whole), "/run/ipsecbpf/%s.sock", dir);
	assert_string_equal(paths.socket, whole);
	snprintf(whole, sizeof(whole), "/run/ipsecbpf/%s.lock", dir);
	assert_string_equal(paths.lock, whole);
}

static void test_names(void **state)
{
	static const char *const bad[] = {
		"", ".", "..", ".eth0", "a/b", "../x", "a b", "a\tb", "a\nb", "a:b", "a@b",
		"sixteen-letters-",
	};
	struct paths paths;

	(void)state;
	assert_paths("eth0", "eth0");
	assert_paths("eth0.5.6", "eth0:5:6");
	assert_paths("fifteen-letters", "fifteen-letters");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(paths_init(&paths, bad[i]), -EINVAL);
}

static void test_other_namespace(void **state)
{
	int status;
	pid_t child;

	(void)state;
	child = fork();
	if (!child) {
		struct paths paths;

		/* Without a user namespace, /proc/1 can be compared with. */
		if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
			_exit(77);
		_exit(paths_init(&paths, "eth0") || strncmp(paths.dir, "eth0@", 5) ||
		      strspn(paths.dir + 5, "0123456789") != strlen(paths.dir + 5));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		print_message("no namespaces for this user\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void assert_mode(const char *path, mode_t mode)
{
	struct stat info;

	assert_int_equal(stat(path, &info), 0);
	assert_true(S_ISDIR(info.st_mode));
	assert_int_equal(info.st_mode & 07777, mode);
}

static void test_mkdir(void **state)
{
	char base[] = "/tmp/test_paths.XXXXXX", path[64], longest[300];
	int fd;

	(void)state;
	assert_non_null(mkdtemp(base));
	snprintf(path, sizeof(path), "%s/a/b/c", base);
	assert_int_equal(paths_mkdir(path, 0700), 0);
	assert_mode(path, 0700);
	snprintf(path, sizeof(path), "%s/a", base);
	assert_mode(path, 0700);
	/* What exists is left as it is. */
	assert_int_equal(chmod(path, 0750), 0);
	snprintf(path, sizeof(path), "%s/a/b/c", base);
	assert_int_equal(paths_mkdir(path, 0711), 0);
	assert_mode(path, 0700);
	snprintf(path, sizeof(path), "%s/a", base);
	assert_mode(path, 0750);
	/* A file in the way. */
	snprintf(path, sizeof(path), "%s/a/f", base);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/a/f/g", base);
	assert_int_equal(paths_mkdir(path, 0700), -ENOTDIR);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(paths_mkdir(longest, 0700), -ENAMETOOLONG);
	for (const char *const *at = (const char *const[]){ "a/f", "a/b/c", "a/b", "a", "", NULL };
	     *at; at++) {
		snprintf(path, sizeof(path), "%s/%s", base, *at);
		assert_int_equal(remove(path), 0);
	}
}

/* As /proc/self/mounts has it. */
static void test_bpffs(void **state)
{
	FILE *mounts = fopen("/proc/self/mounts", "r");
	char line[512];
	int mounted = 0;

	(void)state;
	assert_non_null(mounts);
	while (fgets(line, sizeof(line), mounts))
		mounted |= strstr(line, " /sys/fs/bpf bpf ") != NULL;
	fclose(mounts);
	assert_int_equal(paths_check_bpffs(), mounted ? 0 : -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_other_namespace),
		cmocka_unit_test(test_mkdir),
		cmocka_unit_test(test_bpffs),
	};

	return cmocka_run_group_tests_name("paths", tests, NULL, NULL);
}
