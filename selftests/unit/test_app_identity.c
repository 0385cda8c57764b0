// SPDX-License-Identifier: BSD-2-Clause
/*
 * Who a process is: the digests, and what /proc says. SipHash-2-4 is checked by its authors' vector, as
 * far as a digest is one (the last word of a digest has the octet 8, and the name's length in place of
 * the message's), and by OpenSSL's for messages of more words.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "bpf/app_digest.h"
#include "lib/app_identity.h"
#include "lib/bytes.h"
#include "lib/mountinfo.h"

static const uint64_t seed[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
static const __u64 hash_key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };

/* ---- SipHash -------------------------------------------------------------------------------- */

/* The ninth message of the reference implementation, 00 01 ... 08, is one word and the octet 8. */
static void test_reference_vector(void **state)
{
	struct app_digest digest;

	(void)state;
	digest_begin(&digest, hash_key, 0x0706050403020100);
	digest.len = 9;
	assert_int_equal(digest_end(&digest), 0x9e0082df0ba9e4b0);
}

static uint64_t openssl_siphash(const uint8_t *message, size_t len)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(mac);
	size_t size = 8;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_construct_end(),
	};
	uint8_t key[16], out[8];
	uint64_t value;

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	assert_int_equal(EVP_MAC_init(ctx, key, sizeof(key), params), 1);
	assert_int_equal(EVP_MAC_update(ctx, message, len), 1);
	assert_int_equal(EVP_MAC_final(ctx, out, &size, sizeof(out)), 1);
	EVP_MAC_CTX_free(ctx);
	EVP_MAC_free(mac);
	memcpy(&value, out, sizeof(value));
	return le64toh(value);
}

/* Names of every number of words; of the last one, the octets behind the name's are zeros. */
static void test_more_words(void **state)
{
	uint8_t message[8 + 8 * DIGEST_PIECE + 1] __attribute__((aligned(8)));

	(void)state;
	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)(i * 7 + 1);
	for (size_t words = 0; words <= DIGEST_PIECE; words++) {
		size_t len = 8 + words * 8, piece;
		uint8_t next = message[len];
		struct app_digest digest;
		uint64_t parent;

		memcpy(&parent, message, sizeof(parent));
		digest_begin(&digest, hash_key, le64toh(parent));
		for (size_t at = 8; at < len; at += piece) {
			piece = len - at < DIGEST_PIECE ? len - at : DIGEST_PIECE;
			/* One octet of the last word is enough. */
			digest_piece(&digest, message + at, piece - (piece < DIGEST_PIECE ? 7 : 0));
		}
		digest.len = len + 1;
		message[len] = 8;
		assert_int_equal(digest_end(&digest), openssl_siphash(message, len + 1));
		message[len] = next;
	}
}

/* ---- cgroups -------------------------------------------------------------------------------- */

static struct app_identity cgroup(const char *path)
{
	struct app_identity who = { .exe = 1, .uid = 2 };

	assert_int_equal(app_identity_cgroup(&who, path, seed), 0);
	assert_int_equal(who.exe, 1);
	assert_int_equal(who.uid, 2);
	return who;
}

static void test_cgroup_levels(void **state)
{
	struct app_identity deep = cgroup("/a/b/c"), prefix = cgroup("/a/b"), other = cgroup("/b/b/c");

	(void)state;
	assert_memory_equal(deep.cgroup, prefix.cgroup, 2 * sizeof(deep.cgroup[0]));
	assert_int_not_equal(deep.cgroup[2], 0);
	assert_int_equal(deep.cgroup[3], 0);
	assert_int_equal(prefix.cgroup[2], 0);
	for (int i = 0; i < 3; i++)
		assert_int_not_equal(deep.cgroup[i], other.cgroup[i]);
	deep = cgroup("/a//b/");
	assert_memory_equal(deep.cgroup, prefix.cgroup, sizeof(deep.cgroup));
	assert_int_equal(cgroup("/").cgroup[0], 0);
	assert_int_not_equal(cgroup("/ab").cgroup[0], cgroup("/a/b").cgroup[1]);
}

/* Where names of 31 to 33 octets differ in the last one only, and zeros behind a name count. */
static void test_cgroup_name_ends(void **state)
{
	uint64_t seen[258];

	(void)state;
	for (size_t len = 1; len <= DIGEST_NAME_MAX; len++) {
		char path[260] = "/";

		memset(path + 1, 'x', len);
		path[len + 1] = '\0';
		seen[len] = cgroup(path).cgroup[0];
		for (size_t i = 1; i < len; i++)
			assert_int_not_equal(seen[i], seen[len]);
		path[len] = 'y';
		assert_int_not_equal(cgroup(path).cgroup[0], seen[len]);
	}
}

static void test_unit(void **state)
{
	struct app_identity who = cgroup("/system.slice/vsftpd.service/child.service");
	struct app_identity user = cgroup("/user.slice/user-7.slice/user@7.service/app.slice/vsftpd.service");

	(void)state;
	assert_int_equal(who.unit, app_digest_unit("vsftpd.service", seed));
	assert_int_equal(who.unit_level, 2);
	/* Below a unit a user may make cgroups of any name. */
	assert_int_equal(user.unit, app_digest_unit("user@7.service", seed));
	assert_int_equal(user.unit_level, 3);
	assert_int_equal(cgroup("/init.scope").unit_level, 1);
	assert_int_equal(cgroup("/a.slice/b.slice").unit, 0);
	assert_int_equal(cgroup("/.slice").unit, app_digest_unit(".slice", seed));
	assert_int_equal(cgroup("/").unit, 0);
	assert_int_not_equal(cgroup("/x.service").unit, cgroup("/x.service").cgroup[0]);
}

static void test_cgroup_refused(void **state)
{
	struct app_identity who = { 0 };
	char path[DIGEST_NAME_MAX + 3] = "/";

	(void)state;
	assert_int_equal(app_identity_cgroup(&who, "a", seed), -EINVAL);
	assert_int_equal(app_identity_cgroup(&who, "", seed), -EINVAL);
	assert_int_equal(app_identity_cgroup(&who, "/a/../b", seed), -EINVAL);
	assert_int_equal(app_identity_cgroup(&who, "/a/.", seed), -EINVAL);
	assert_int_equal(app_identity_cgroup(&who, "/1/2/3/4/5/6/7/8", seed), 0);
	assert_int_equal(app_identity_cgroup(&who, "/1/2/3/4/5/6/7/8/9", seed), -E2BIG);
	memset(path + 1, 'x', DIGEST_NAME_MAX + 1);
	assert_int_equal(app_identity_cgroup(&who, path, seed), -EINVAL);
}

/* ---- executables ---------------------------------------------------------------------------- */

struct place {
	char directory[64], program[128], link[128];
};

static int make_place(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	strcpy(place->directory, "/tmp/test_app_identity.XXXXXX");
	assert_non_null(mkdtemp(place->directory));
	snprintf(place->program, sizeof(place->program), "%s/program", place->directory);
	snprintf(place->link, sizeof(place->link), "%s/link", place->directory);
	*state = place;
	return 0;
}

static int remove_place(void **state)
{
	struct place *place = *state;

	unlink(place->link);
	unlink(place->program);
	rmdir(place->directory);
	free(place);
	return 0;
}

static void copy_program(const char *to)
{
	int in = open("/bin/sleep", O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0700);
	char data[65536];
	ssize_t len;

	assert_true(in >= 0 && out >= 0);
	while ((len = read(in, data, sizeof(data))) > 0)
		assert_int_equal(write(out, data, (size_t)len), len);
	close(in);
	close(out);
}

/* Started once execve() has closed the pipe. */
static pid_t start(const char *program)
{
	int ends[2];
	char octet;
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		execl(program, program, "60", NULL);
		_exit(127);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &octet, 1), 0);
	close(ends[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static uint64_t exe(const char *path)
{
	struct app_identity who = { .unit = 5 };

	assert_int_equal(app_identity_exe(&who, path, seed), 0);
	assert_int_equal(who.unit, 5);
	assert_int_not_equal(who.exe, 0);
	return who.exe;
}

static uint64_t exe_of(pid_t pid, const char *path)
{
	struct app_facts *facts = calloc(1, sizeof(*facts));
	struct app_identity who;

	assert_int_equal(app_identity_pid(&who, pid, seed, facts), 0);
	assert_string_equal(facts->exe, path);
	free(facts);
	return who.exe;
}

/* What is compared is a path, whatever is behind it: before, during and after a package's upgrade. */
static void test_exe_stays_itself(void **state)
{
	const struct place *place = *state;
	uint64_t before = exe(place->program);
	pid_t pid;

	copy_program(place->program);
	assert_int_equal(exe(place->program), before);
	pid = start(place->program);
	assert_int_equal(exe_of(pid, place->program), before);
	assert_int_equal(unlink(place->program), 0);
	assert_int_equal(exe_of(pid, place->program), before);
	copy_program(place->program);
	assert_int_equal(exe(place->program), before);
	assert_int_equal(exe_of(pid, place->program), before);
	end(pid);
}

static void test_exe_by_another_name(void **state)
{
	const struct place *place = *state;
	char deleted[160];

	copy_program(place->program);
	assert_int_equal(symlink(place->program, place->link), 0);
	assert_int_equal(exe(place->link), exe(place->program));
	assert_int_equal(unlink(place->link), 0);
	assert_int_equal(link(place->program, place->link), 0);
	assert_int_not_equal(exe(place->link), exe(place->program));
	snprintf(deleted, sizeof(deleted), "%s (deleted)", place->program);
	assert_int_equal(rename(place->program, deleted), 0);
	assert_int_not_equal(exe(deleted), exe(place->program));
	{
		pid_t pid = start(deleted);

		assert_int_equal(exe_of(pid, deleted), exe(deleted));
		assert_int_equal(unlink(deleted), 0);
		end(pid);
	}
}

/* The hooks go up so far only. */
static void test_exe_too_deep(void **state)
{
	const struct place *place = *state;
	struct app_identity who = { 0 };
	char path[4096], *end;
	int depth = 2, made = 0;

	strcpy(path, place->directory);
	end = path + strlen(path);
	for (; depth + made < DIGEST_DEPTH_MAX - 1; made++) {
		strcat(path, "/d");
		assert_int_equal(mkdir(path, 0700), 0);
	}
	strcat(path, "/x");
	assert_int_equal(app_identity_exe(&who, path, seed), -E2BIG);
	*strrchr(path, '/') = '\0';
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(app_identity_exe(&who, path, seed), 0);
	while (--made && strrchr(path, '/') > end) {
		*strrchr(path, '/') = '\0';
		assert_int_equal(rmdir(path), 0);
	}
}

static void test_exe_refused(void **state)
{
	const struct place *place = *state;
	struct app_identity who = { 0 };
	char path[256];

	assert_int_equal(app_identity_exe(&who, "bin/sh", seed), -EINVAL);
	assert_int_equal(app_identity_exe(&who, place->directory, seed), -EISDIR);
	assert_int_equal(app_identity_exe(&who, "/dev/null", seed), -EACCES);
	snprintf(path, sizeof(path), "%s/none/program", place->directory);
	assert_int_equal(app_identity_exe(&who, path, seed), -ENOENT);
	assert_int_equal(symlink(path, place->link), 0);
	assert_int_equal(app_identity_exe(&who, place->link, seed), -ENOENT);
	assert_int_equal(who.exe, 0);
}

static void test_own_process(void **state)
{
	struct app_identity who, again;
	char path[4096] = "";

	(void)state;
	assert_true(readlink("/proc/self/exe", path, sizeof(path) - 1) > 0);
	assert_int_equal(app_identity_pid(&who, getpid(), seed, NULL), 0);
	assert_int_equal(who.exe, exe(path));
	assert_int_equal(who.uid, getuid());
	assert_int_equal(who.gid, getgid());
	assert_int_equal(app_identity_pid(&again, getpid(), seed, NULL), 0);
	assert_memory_equal(&who, &again, sizeof(who));
	assert_int_equal(app_identity_pid(&again, 0x3fffffff, seed, NULL), -ESRCH);
}

/* ---- /proc/PID/mountinfo -------------------------------------------------------------------- */

static void test_mount_lines(void **state)
{
	struct mount_entry mount;

	(void)state;
	assert_true(mountinfo_line("36 35 98:12 /mnt\\0401 /a\\134b\\011c rw,noatime shared:2 master:1 - ext4 /dev/x rw\n",
				   &mount));
	assert_int_equal(mount.id, 36);
	assert_int_equal(mount.major, 98);
	assert_int_equal(mount.minor, 12);
	assert_string_equal(mount.root, "/mnt 1");
	assert_string_equal(mount.point, "/a\\b\tc");
	assert_string_equal(mount.type, "ext4");
	assert_true(mountinfo_line("1 0 0:1 / / rw - cgroup2 none rw", &mount));
	assert_string_equal(mount.type, "cgroup2");
	assert_false(mountinfo_line("", &mount));
	assert_false(mountinfo_line("36 35 98:0 / /a rw,noatime ext4 /dev/x rw", &mount));
	assert_false(mountinfo_line("36 35 98:0 /", &mount));
	assert_false(mountinfo_line("x 35 98:0 / / rw - ext4 /dev/x rw", &mount));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reference_vector),
		cmocka_unit_test(test_more_words),
		cmocka_unit_test(test_cgroup_levels),
		cmocka_unit_test(test_cgroup_name_ends),
		cmocka_unit_test(test_unit),
		cmocka_unit_test(test_cgroup_refused),
		cmocka_unit_test_setup_teardown(test_exe_stays_itself, make_place, remove_place),
		cmocka_unit_test_setup_teardown(test_exe_by_another_name, make_place, remove_place),
		cmocka_unit_test_setup_teardown(test_exe_too_deep, make_place, remove_place),
		cmocka_unit_test_setup_teardown(test_exe_refused, make_place, remove_place),
		cmocka_unit_test(test_own_process),
		cmocka_unit_test(test_mount_lines),
	};

	return cmocka_run_group_tests_name("app_identity", tests, NULL, NULL);
}
